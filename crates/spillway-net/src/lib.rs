//! spillway-net.
