use clap::{Args, ValueEnum};
use spillway_types::{Atto, TokenRate, Wei, limits::DEFAULT_BATCH_LEAVES};

use super::{parse_atto, parse_leaves, parse_token_rate, parse_wei};

/// How to pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Whichever costs less, tips and gas counted; says which and why
    #[default]
    Auto,
    /// Each chunk by itself, its nodes at once
    Direct,
    /// Any number of chunks at once: a draw decides later which of them pay their nodes
    Batch,
}

/// When batches are paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Commit {
    /// All that are known in one transaction: less gas
    #[default]
    Together,
    /// One is priced, paid and stored before the next is priced: for uploads that take hours. Asks
    /// each time; more gas; what is paid stays paid when a later one fails
    OneByOne,
}

/// What one token is worth.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Payment")]
pub(crate) struct RateArgs {
    /// What one token is worth in coins, a decimal such as 0.0004: with it tokens are compared with
    /// gas
    #[arg(long, value_name = "COINS", value_parser = parse_token_rate)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) token_rate: Option<TokenRate>,
}

/// How an upload is paid.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Payment")]
pub(crate) struct ModeArgs {
    /// How to pay
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: Mode,
    /// How many chunks one batch has, at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH_LEAVES)]
    #[arg(value_parser = parse_leaves)]
    pub(crate) batch_leaves: usize,
    /// When several batches are paid
    #[arg(long, value_enum, default_value_t)]
    pub(crate) commit: Commit,
    #[command(flatten)]
    pub(crate) rate: RateArgs,
}

/// What a command that pays may be told.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Payment")]
pub(crate) struct PaymentArgs {
    /// Fail before paying if storage costs more, tips included, in the token's smallest unit
    #[arg(long, value_name = "ATTO", value_parser = parse_atto)]
    pub(crate) max_cost: Option<Atto>,
    /// Fail before paying if gas costs more, in the coin's smallest unit
    #[arg(long, value_name = "WEI", value_parser = parse_wei)]
    pub(crate) max_gas_cost: Option<Wei>,
    /// Pay without asking; needed where nobody can be asked: without a terminal, and with --json.
    /// `resume` needs it only to pay
    #[arg(short, long)]
    pub(crate) yes: bool,
}
