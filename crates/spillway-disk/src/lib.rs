//! spillway-disk.
