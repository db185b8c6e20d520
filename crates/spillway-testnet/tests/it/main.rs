//! A test network as its users have it. These tests need the pinned tools: `cargo xtask setup`.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod batch;
mod life;
mod place;
mod seeds;
mod transfer;
