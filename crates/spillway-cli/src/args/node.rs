use std::path::PathBuf;

use clap::{Args, Subcommand};
use spillway_types::{Atto, TokenRate};

use super::{ChainArgs, ManifestArgs, NetworkArgs, parse_atto, parse_capacity, parse_token_rate};

/// `node`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Store chunks for others and be paid for it, until SIGINT or SIGTERM
    Run(Box<NodeRun>),
    /// List the draws that a node knows to be won by its chunks, also while it runs
    Wins(Box<NodeWins>),
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
    /// What one token is worth in coins, a decimal such as 0.0004: then the tips that the node asks
    /// of batches pay for the gas of settling them [default: it asks for no tips, and without
    /// --max-prize takes no batches, since nobody would be paid for settling them]
    #[arg(long, value_name = "COINS", value_parser = parse_token_rate)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) token_rate: Option<TokenRate>,
    /// The most that one draw of a batch may pay, in the token's smallest unit; 0 for no batches
    /// [default: 10000000000000000000 with a token rate, 0 without]
    #[arg(long, value_name = "ATTO", value_parser = parse_atto)]
    pub(crate) max_prize: Option<Atto>,
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

/// `node wins`.
#[derive(Debug, Args)]
pub(crate) struct NodeWins {
    /// The node's directory [default: node/ in the user's data directory]
    #[arg(long, visible_alias = "dir", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Account that is paid: says what each win pays it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) reward_address: Option<String>,
    /// Ask the chain until when each can be settled, and leave out those that are settled
    #[arg(long)]
    pub(crate) chain: bool,
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    #[command(flatten)]
    pub(crate) on: ChainArgs,
}
