//! The chunk stores: one suite for both, and a model for the one on disk.

mod conformance;
mod model;
