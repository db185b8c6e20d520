use std::path::PathBuf;

use clap::Args;

/// `devnet`.
#[derive(Debug, Args)]
pub(crate) struct Devnet {
    /// How many nodes; an upload needs 5
    #[arg(long, value_name = "N", default_value_t = DEFAULT_NODES)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=MAX_NODES))]
    pub(crate) nodes: u16,
    /// Where nodes keep their chunks; what is made in it is removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// File that says how to reach the network, written when it is ready and removed at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// The Anvil program [default: $SPILLWAY_ANVIL, else anvil in PATH, else tools/node_modules
    /// here or above]
    #[arg(long, value_name = "PATH")]
    pub(crate) anvil: Option<PathBuf>,
}

/// Twice as many as are asked for quotes.
const DEFAULT_NODES: u16 = 20;
/// All run in one process: more run out of file descriptors.
const MAX_NODES: i64 = 200;
