//! End to end: real clients, real nodes, and what is on the disks, on the chain and on the nodes
//! afterwards, byte for byte and unit for unit.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod cluster;
mod network;
