use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ChainArgs, ManifestArgs, NetworkArgs, parse_capacity};

/// `node`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Store chunks for others and be paid for it, until SIGINT or SIGTERM
    Run(Box<NodeRun>),
}

/// `node run`.
#[derive(Debug, Args)]
pub(crate) struct NodeRun {
    /// Address to listen on, for instance /ip4/0.0.0.0/udp/4001/quic-v1; may be given more than
    /// once
    #[arg(long, value_name = "MULTIADDRESS", value_delimiter = ',', required = true)]
    pub(crate) listen: Vec<String>,
    /// Address at which others reach this node, if it is not one that it listens on; may be given
    /// more than once
    #[arg(long, value_name = "MULTIADDRESS", value_delimiter = ',')]
    pub(crate) external_address: Vec<String>,
    /// Account that is paid
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) reward_address: String,
    /// How much to store, for instance 10GiB or 500GB
    #[arg(long, value_name = "SIZE", value_parser = parse_capacity)]
    pub(crate) capacity: u64,
    /// How many blocks a payment must be deep before it counts
    #[arg(long, value_name = "BLOCKS", default_value_t = DEFAULT_CONFIRMATIONS)]
    pub(crate) confirmations: u16,
    /// Where the node keeps its key and its chunks [default: node/ in the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
}

/// Blocks after which a payment counts: reorganisations of public chains are rarely deeper.
const DEFAULT_CONFIRMATIONS: u16 = 3;
