//! spillway-client.
