//! Over a network in one process: exact, and without waiting.

mod adoption;
mod batch_sessions;
mod batches;
mod directories;
mod interruption;
mod hand_over;
mod limits;
mod lifetime;
mod partial;
mod quoting;
mod refunds;
mod reaping;
mod round_trip;
mod sessions;
mod sources;
mod spill;
