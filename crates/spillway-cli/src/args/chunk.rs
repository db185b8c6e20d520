use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClientArgs, ModeArgs, PaymentArgs};

/// `chunk`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChunkCommand {
    /// Store 1 byte to 4 MiB as they are and print the address
    Put(Box<ChunkPut>),
    /// Fetch a chunk as it is
    Get(Box<ChunkGet>),
}

/// `chunk put`.
#[derive(Debug, Args)]
pub(crate) struct ChunkPut {
    /// File with the bytes; - for standard input
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    #[command(flatten)]
    pub(crate) payment: PaymentArgs,
}

/// `chunk get`.
#[derive(Debug, Args)]
pub(crate) struct ChunkGet {
    /// 64 hexadecimal digits
    pub(crate) address: String,
    /// File to write; - for standard output
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
