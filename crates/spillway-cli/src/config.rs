//! Settings: from the flag, else the environment, else the configuration file, else the default.
//!
//! The only place of the whole workspace that reads the environment. Within one level a setting of
//! its own counts more than what `--devnet` of that level says.

mod environment;
mod file;
mod key;
mod layer;
mod places;
mod settings;

pub(crate) use environment::Environment;
pub(crate) use layer::Layer;
pub(crate) use places::Places;
pub(crate) use settings::{Settings, account, peer_address};
