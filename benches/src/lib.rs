//! spillway-benches.
