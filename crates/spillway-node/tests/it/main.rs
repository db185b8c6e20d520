//! A node judged from outside: every refusal by its exact code, every limit, and what is on the
//! store and asked of the chain afterwards.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod batches;
mod ending;
mod evidence;
mod fake_chain;
mod fake_peers;
mod further;
mod limits;
mod lookups;
mod losses;
mod neighbours;
mod node;
mod offers;
mod puts;
mod quotes;
mod refusals;
mod slow_store;
mod taking_over;
mod wins;
mod world;
