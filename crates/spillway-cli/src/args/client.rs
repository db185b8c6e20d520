use std::path::PathBuf;

use clap::Args;

/// Where this program keeps what it must not forget.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DataArgs {
    /// Where uploads are remembered and chunks wait on their way [default: the user's data
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Everything at once.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network and chain")]
pub(crate) struct ManifestArgs {
    /// Take network, chain and key from what `spillway devnet` wrote
    #[arg(long, value_name = "MANIFEST")]
    pub(crate) devnet: Option<PathBuf>,
}

/// Which peers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network and chain")]
pub(crate) struct NetworkArgs {
    /// Name of the network [default: spillway]
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// Address of a peer to begin with; may be given more than once
    #[arg(long, value_name = "MULTIADDRESS", value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
}

/// Which chain and vault.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network and chain")]
pub(crate) struct ChainArgs {
    /// RPC of the chain, http or https
    #[arg(long, value_name = "URL")]
    pub(crate) rpc_url: Option<String>,
    /// The chain's id, checked against what the RPC says [default: what the RPC says]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) chain_id: Option<u64>,
    /// Contract that takes the payments
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) vault: Option<String>,
}

/// Whose money.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network and chain")]
pub(crate) struct KeyArgs {
    /// File that holds the private key of the account that pays; else SPILLWAY_PRIVATE_KEY
    #[arg(long, value_name = "FILE")]
    pub(crate) private_key_file: Option<PathBuf>,
}

/// What a command that works on the network needs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}
