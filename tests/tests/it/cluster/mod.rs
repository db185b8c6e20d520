//! Over a network in one process: exact, and without waiting.

mod adoption;
mod batch_edges;
mod batch_sessions;
mod batches;
mod directories;
mod finality;
mod hand_over;
mod hand_over_crashes;
mod interruption;
mod lifetime;
mod limits;
mod partial;
mod quoting;
mod reaping;
mod refunds;
mod resumed_downloads;
mod round_trip;
mod rounds;
mod sessions;
mod side_by_side;
mod sources;
mod spill;
mod steps;
mod strange_archives;
mod verified_uploads;
mod verify;
