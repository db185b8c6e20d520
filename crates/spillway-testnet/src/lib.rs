//! spillway-testnet.
