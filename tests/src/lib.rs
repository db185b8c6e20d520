//! spillway-tests.
