//! spillway-node.
