//! Over a network in one process: exact, and without waiting.

mod directories;
mod interruption;
mod limits;
mod partial;
mod quoting;
mod round_trip;
mod sessions;
mod sources;
mod spill;
