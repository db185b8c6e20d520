//! The network from outside: one suite for the real one and its twin, and hostile peers.

mod conformance;
mod fixture;
mod hostile;
mod lifecycle;
mod stage;
