//! What can be said on the command line.

mod account;
mod amounts;
mod chunk;
mod client;
mod devnet;
mod node;
mod payment;
mod session;
mod transfer;
mod verify;
mod wallet;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use account::{Refund, SeedProof, Settle, Status};
pub(crate) use amounts::{
    parse_atto, parse_capacity, parse_duration, parse_leaves, parse_token_rate, parse_wei,
};
pub(crate) use chunk::{ChunkCommand, ChunkGet, ChunkPut};
pub(crate) use client::{ChainArgs, ClientArgs, DataArgs, KeyArgs, ManifestArgs, NetworkArgs};
pub(crate) use devnet::{Devnet, DevnetTimes};
pub(crate) use node::{NodeCommand, NodeRun, NodeWins};
pub(crate) use payment::{Commit, Mode, ModeArgs, PaymentArgs, RateArgs};
pub(crate) use session::{
    Forget, Resume, SessionCommand, SessionDataMap, SessionExport, SessionImport,
};
pub(crate) use transfer::{Cost, Download, Upload};
pub(crate) use verify::{Verify, VerifyAfterArgs};
pub(crate) use wallet::{AccountArgs, AccountOnChainArgs, Wallet, WalletCommand};

use crate::advice::Given;

/// What stands below the options of `--help`.
const MORE_HELP: &str = "\
Exit codes:
  0    done
  1    failure
  2    usage: the command line or the settings are wrong; nothing was tried
  3    partial upload: some chunks are stored, some are not; `spillway resume` goes on. Of `verify`:
       some chunks have fewer than 3 copies
  5    try again later: the network or the RPC cannot be reached
  10   not found, on the network or as a local file. Of `verify`: a chunk is gone, neither near
       its place nor on this machine
  11   locked by another process
  12   wrong password
  13   not enough funds
  14   over a cost cap
  130  interrupted

Settings are taken from the flag, then the environment, then the configuration file, then the
default. Environment:
  SPILLWAY_PRIVATE_KEY       the account that pays, 0x and 64 hexadecimal digits
  SPILLWAY_PRIVATE_KEY_FILE  a file that holds it
  SPILLWAY_DEVNET            as --devnet
  SPILLWAY_NETWORK           as --network
  SPILLWAY_BOOTSTRAP         as --bootstrap, separated by commas
  SPILLWAY_RPC_URL           as --rpc-url
  SPILLWAY_CHAIN_ID          as --chain-id
  SPILLWAY_VAULT             as --vault
  SPILLWAY_DATA_DIR          as --data-dir, but for `devnet`
  SPILLWAY_MAX_COST          as --max-cost
  SPILLWAY_MAX_GAS_COST      as --max-gas-cost
  SPILLWAY_TOKEN_RATE        as --token-rate, but for `devnet`
  SPILLWAY_ANVIL             as --anvil
  SPILLWAY_CONFIG            as --config
  SPILLWAY_LOG               what is logged, for instance spillway_client=debug
  NO_COLOR                   no colours
Configuration file: the same names in lower case without SPILLWAY_, as TOML; private keys are not
read from it.";

/// Upload files of any size to a decentralised network, paid for once, and download them.
#[derive(Debug, Parser)]
#[command(name = "spillway", version, after_help = MORE_HELP, disable_help_subcommand = true)]
#[command(subcommand_required = true, propagate_version = false, max_term_width = 100)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Every command")]
pub(crate) struct Globals {
    /// Print JSON, one object a line: progress and summary on standard output, a failure on
    /// standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors and what was asked for, nothing else
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log more to standard error: -v what happens, -vv details, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Settings file [default: config.toml in the user's configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Upload a file, a directory or standard input
    Upload(Box<Upload>),
    /// Download what a data map or a link describes
    Download(Box<Download>),
    /// Ask what an upload would cost; nothing is paid and nothing is stored
    Cost(Box<Cost>),
    /// Store and fetch single chunks as they are, neither encrypted nor split
    #[command(subcommand)]
    Chunk(ChunkCommand),
    /// List the uploads on this machine, those that are not finished first, and what can be refunded
    Status(Box<Status>),
    /// Go on with an upload that was interrupted; what is paid stays paid
    Resume(Box<Resume>),
    /// Ask the network for every chunk of an upload, and store again what has too few copies
    Verify(Box<Verify>),
    /// Remove uploads that are over, or are not to be gone on with, from this machine
    Forget(Box<Forget>),
    /// Hand uploads over to other machines, and write lost data maps again
    #[command(subcommand)]
    Session(SessionCommand),
    /// Pay nodes the draws that their chunks have won; whoever does it earns the tips
    Settle(Box<Settle>),
    /// Take back what nobody has claimed of batches
    Refund(Box<Refund>),
    /// The account that pays
    Wallet(Box<Wallet>),
    /// Run a storage node
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Run a whole network with its own chain on this machine, for trying out and for tests
    Devnet(Devnet),
}

impl Command {
    /// Its word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Upload(_) => "upload",
            Self::Download(_) => "download",
            Self::Cost(_) => "cost",
            Self::Chunk(_) => "chunk",
            Self::Status(_) => "status",
            Self::Resume(_) => "resume",
            Self::Verify(_) => "verify",
            Self::Forget(_) => "forget",
            Self::Session(_) => "session",
            Self::Settle(_) => "settle",
            Self::Refund(_) => "refund",
            Self::Wallet(_) => "wallet",
            Self::Node(_) => "node",
            Self::Completions { .. } => "completions",
            Self::Devnet(_) => "devnet",
        }
    }

    /// The flags that commands which are named to the user repeat. The data directory of a node or of a
    /// test network is another one.
    pub(crate) fn given(&self) -> Given {
        let client = |args: &ClientArgs| (args.data.data_dir.clone(), args.manifest.devnet.clone());
        let data = |args: &DataArgs| (args.data_dir.clone(), None);
        let account = |args: &AccountArgs| (None, args.manifest.devnet.clone());
        let (data_dir, devnet) = match self {
            Self::Upload(args) => client(&args.client),
            Self::Download(args) => client(&args.client),
            Self::Cost(args) => client(&args.client),
            Self::Chunk(ChunkCommand::Put(args)) => client(&args.client),
            Self::Chunk(ChunkCommand::Get(args)) => client(&args.client),
            Self::Status(args) => (args.data.data_dir.clone(), args.manifest.devnet.clone()),
            Self::Resume(args) => client(&args.client),
            Self::Verify(args) => client(&args.client),
            Self::Forget(args) => data(&args.data),
            Self::Session(SessionCommand::Export(args)) => data(&args.data),
            Self::Session(SessionCommand::Import(args)) => data(&args.data),
            Self::Session(SessionCommand::DataMap(args)) => data(&args.data),
            Self::Settle(args) => client(&args.client),
            Self::Refund(args) => {
                (args.data.data_dir.clone(), args.account.account.manifest.devnet.clone())
            }
            Self::Wallet(wallet) => match &wallet.command {
                WalletCommand::Address(args) => account(args),
                WalletCommand::Balance(args) | WalletCommand::Withdraw(args) => {
                    account(&args.account)
                }
            },
            Self::Node(_) | Self::Completions { .. } | Self::Devnet(_) => (None, None),
        };
        Given { data_dir, devnet }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    /// A command that has the flags, and one that has not, or means something else by them.
    #[test]
    fn what_says_where_uploads_are_is_repeated() {
        let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let given = |text: &str| Cli::try_parse_from(words(text)).unwrap().command.given();
        let both = Given { data_dir: Some("d".into()), devnet: Some("m".into()) };
        let address = "00".repeat(32);
        for command in [
            "upload a",
            "download a -o b",
            "cost a",
            "chunk put a",
            &format!("chunk get {address} -o b"),
            "status",
            "resume",
            "verify a",
            "refund",
        ] {
            let flags = "--data-dir d --devnet m";
            assert_eq!(given(&format!("spillway {command} {flags}")), both, "{command}");
            assert_eq!(given(&format!("spillway {command}")), Given::default());
        }
        let data = Given { devnet: None, ..both.clone() };
        for command in
            ["forget a", "session export a -o b", "session import a", "session data-map a -o b"]
        {
            assert_eq!(given(&format!("spillway {command} --data-dir d")), data, "{command}");
        }
        let devnet = Given { data_dir: None, ..both };
        for command in ["address", "balance", "withdraw"] {
            assert_eq!(given(&format!("spillway wallet {command} --devnet m")), devnet);
        }
        assert_eq!(given("spillway devnet --data-dir d --manifest m"), Given::default());
    }
}
