//! spillway-types.
