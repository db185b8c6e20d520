use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClientArgs, DataArgs, ModeArgs, PaymentArgs, VerifyAfterArgs};

/// `resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Which upload, by the name that `spillway status` lists or the beginning of it [default: the only
    /// one that is not finished]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Go on with every upload that is not finished, one after the other; what stops one does not stop
    /// the others, and a data map that has no place in the current directory is left to `spillway session
    /// data-map`. --max-cost and --max-gas-cost hold for each of them, not for all together
    #[arg(long, conflicts_with_all = ["session", "output"])]
    pub(crate) all: bool,
    /// Where the data map goes, also again of an upload that is finished [default: NAME.datamap in the
    /// current directory, of one that is not finished]
    #[arg(short, long, value_name = "DATAMAP")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the data map if there is another one, perhaps of a newer upload under the same name
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    #[command(flatten)]
    pub(crate) payment: PaymentArgs,
    #[command(flatten)]
    pub(crate) verify: VerifyAfterArgs,
}

/// `forget`.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Uploads, by the names that `spillway status` lists or their beginnings
    #[arg(value_name = "SESSION", required_unless_present = "finished")]
    pub(crate) sessions: Vec<String>,
    /// Also when something is lost with it: chunks that are paid for and not stored, payments that may
    /// be taken yet, money that may come back
    #[arg(long)]
    pub(crate) even_paid: bool,
    /// All that are finished, of which nothing comes back any more, whose upload window is over and whose
    /// payments are final. Their data maps cannot be written again then, nor what nodes lose be repaired
    /// for free
    #[arg(long)]
    pub(crate) finished: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// `session`.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Hand an upload over to another machine: write it into one file; here it is read-only from then on
    Export(SessionExport),
    /// Take an upload over, to go on with it here
    Import(SessionImport),
    /// Write the data map of an upload again; needs no network
    DataMap(SessionDataMap),
}

/// `session export`.
#[derive(Debug, Args)]
pub(crate) struct SessionExport {
    /// Which upload, by the name that `spillway status` lists or the beginning of it
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// File to write, for your eyes only: it has the keys of the contents, and payments that are signed
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// `session import`.
#[derive(Debug, Args)]
pub(crate) struct SessionImport {
    /// What `session export` wrote. Import files of your own only: payments that are signed in one are
    /// sent when its upload goes on
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// `session data-map`.
#[derive(Debug, Args)]
pub(crate) struct SessionDataMap {
    /// Which upload, by the name that `spillway status` lists or the beginning of it
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// File to write
    #[arg(short, long, value_name = "DATAMAP")]
    pub(crate) output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}
