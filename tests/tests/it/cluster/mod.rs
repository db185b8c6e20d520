//! Over a network in one process: exact, and without waiting.

mod adoption;
mod batch_sessions;
mod batches;
mod directories;
mod interruption;
mod limits;
mod partial;
mod quoting;
mod refunds;
mod round_trip;
mod sessions;
mod sources;
mod spill;
