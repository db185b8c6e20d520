//! spillway-seal.
