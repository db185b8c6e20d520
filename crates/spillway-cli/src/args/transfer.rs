use std::path::PathBuf;

use clap::Args;

use super::{ClientArgs, ModeArgs, PaymentArgs, VerifyAfterArgs};

/// `upload`.
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// File or directory; - for standard input
    pub(crate) path: PathBuf,
    /// Make it readable for everybody who has its link
    #[arg(long)]
    pub(crate) public: bool,
    /// Where the data map goes: the file with which alone a private upload can be read [default:
    /// NAME.datamap in the current directory]
    #[arg(short, long, value_name = "DATAMAP")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the data map if there is one
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Mix the bytes of this file into every key, so that nobody without it can confirm that these
    /// contents are stored
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    #[command(flatten)]
    pub(crate) payment: PaymentArgs,
    #[command(flatten)]
    pub(crate) verify: VerifyAfterArgs,
}

/// `cost`.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// File or directory; - for standard input
    pub(crate) path: PathBuf,
    /// As it would be with `upload --public`
    #[arg(long)]
    pub(crate) public: bool,
    /// As it would be with `upload --secret-file`
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
}

/// `download`.
#[derive(Debug, Args)]
pub(crate) struct Download {
    /// A data map file, a link spillway://… or the 64 hexadecimal digits of one
    #[arg(value_name = "DATAMAP|LINK")]
    pub(crate) remote: PathBuf,
    /// File to write, or directory to make for an upload of a directory; - for standard output
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Replace what is there
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
