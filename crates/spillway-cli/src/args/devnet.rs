use std::{path::PathBuf, time::Duration};

use clap::Args;
use spillway_types::TokenRate;

use super::{parse_duration, parse_token_rate};

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
    #[command(flatten)]
    pub(crate) times: DevnetTimes,
}

/// When batches are drawn and settled. All are whole seconds of the chain's time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batches")]
pub(crate) struct DevnetTimes {
    /// How long there is between two seeds, which draw the winners of batches
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) epoch: Duration,
    /// The shortest upload window that the vault takes
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_duration)]
    pub(crate) min_window: Duration,
    /// The longest upload window that the vault and the nodes take, at least twice the shortest;
    /// uploads take the most of it, up to 24h, and must be paid in it: below 2m there is no time
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_duration)]
    pub(crate) max_window: Duration,
    /// How long after the upload window the seed is public at the earliest
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_duration)]
    pub(crate) draw_delay: Duration,
    /// How long after that draws can be settled, more than an epoch; then what is left can be
    /// refunded
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_duration)]
    pub(crate) claim_window: Duration,
    /// What one token is worth to the nodes in coins, a decimal such as 0.0004; the tips that they
    /// ask for follow from it [default: 1]
    #[arg(long, value_name = "COINS", value_parser = parse_token_rate)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) token_rate: Option<TokenRate>,
}

/// Twice as many as are asked for quotes.
const DEFAULT_NODES: u16 = 20;
/// All run in one process: more run out of file descriptors.
const MAX_NODES: i64 = 200;
