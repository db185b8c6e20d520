//! What the end-to-end tests play on.
//!
//! [`Cluster`] is a whole network in one process without sockets, files or waiting: real clients
//! and real nodes over the in-memory network, chain and disks, and a clock on which every pause is over
//! at once. A [`Playbook`] stands before the nodes of a network of either kind, so that a test can
//! change what they answer and see what they were asked. [`Network`]
//! is the real thing (sockets, Anvil, disks), and [`Program`] the built `spillway` that uses it,
//! run as a user runs it.
//!
//! Nothing here asserts anything but that it could be set up.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod cluster;
mod deal;
mod draws;
mod hooked_disk;
mod member;
mod network;
mod notes;
mod picture;
mod playbook;
mod program;
mod running;
mod seeded;
mod tricks;
mod turbo_clock;
pub mod vault_calls;

pub use cluster::{Charged, Cluster, ClusterOptions, PRICE_PER_MIB, SEGMENT, TOKENS};
pub use deal::{Answers, Deal, send};
pub use draws::Draws;
pub use hooked_disk::HookedDisk;
pub use member::Member;
pub use network::{Balances, Network, at_small_chunks};
pub use notes::Notes;
pub use picture::{Picture, Seen};
pub use playbook::{Asked, Playbook};
pub use program::{Program, Ran};
pub use running::Running;
pub use seeded::{noise, words};
pub use tricks::{Admit, Tricks};
pub use turbo_clock::TurboClock;
