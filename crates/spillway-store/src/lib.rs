//! spillway-store.
