//! What the end-to-end tests play on.
//!
//! [`Cluster`] is a whole network in one process without sockets, files or waiting: real clients
//! and real nodes over the in-memory network, chain and disks, with a [`Member`] for every node
//! whose answers a test may change, and a clock on which every pause is over at once. [`Program`]
//! is the built `spillway`, run as a user runs it.
//!
//! Nothing here asserts anything but that it could be set up.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod cluster;
mod hooked_disk;
mod member;
mod picture;
mod program;
mod seeded;
mod turbo_clock;

pub use cluster::{Charged, Cluster, ClusterOptions, PRICE_PER_MIB, SEGMENT, TOKENS};
pub use hooked_disk::HookedDisk;
pub use member::{Admit, Asked, Member, Tricks};
pub use picture::{Picture, Seen};
pub use program::{Program, Ran};
pub use seeded::{noise, words};
pub use turbo_clock::TurboClock;
