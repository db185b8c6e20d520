use std::{fmt, path::PathBuf};

use spillway_types::{Atto, TokenRate, Wei};
use zeroize::Zeroizing;

use crate::args::{
    AccountArgs, AccountOnChainArgs, ChainArgs, ClientArgs, DataArgs, ModeArgs, NodeRun, NodeWins,
    PaymentArgs, Refund, Status,
};

/// One level of settings: what the flags say, or the environment, or the file.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) devnet: Option<PathBuf>,
    pub(crate) network: Option<String>,
    pub(crate) bootstrap: Option<Vec<String>>,
    pub(crate) rpc_url: Option<String>,
    pub(crate) chain_id: Option<u64>,
    pub(crate) vault: Option<String>,
    pub(crate) private_key: Option<Zeroizing<String>>,
    pub(crate) private_key_file: Option<PathBuf>,
    pub(crate) max_cost: Option<Atto>,
    pub(crate) max_gas_cost: Option<Wei>,
    pub(crate) token_rate: Option<TokenRate>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("data_dir", &self.data_dir)
            .field("devnet", &self.devnet)
            .field("network", &self.network)
            .field("bootstrap", &self.bootstrap)
            .field("private_key", &self.private_key.is_some())
            .finish_non_exhaustive()
    }
}

impl Layer {
    fn with_chain(self, chain: &ChainArgs) -> Self {
        Self {
            rpc_url: chain.rpc_url.clone(),
            chain_id: chain.chain_id,
            vault: chain.vault.clone(),
            ..self
        }
    }

    /// With what a token is worth.
    #[must_use]
    pub(crate) fn with_mode(self, mode: &ModeArgs) -> Self {
        Self { token_rate: mode.rate.token_rate, ..self }
    }

    /// With caps.
    #[must_use]
    pub(crate) fn with_payment(self, payment: &PaymentArgs) -> Self {
        Self { max_cost: payment.max_cost, max_gas_cost: payment.max_gas_cost, ..self }
    }
}

impl From<&ClientArgs> for Layer {
    fn from(args: &ClientArgs) -> Self {
        Self {
            data_dir: args.data.data_dir.clone(),
            devnet: args.manifest.devnet.clone(),
            network: args.network.network.clone(),
            bootstrap: given(&args.network.bootstrap),
            private_key_file: args.key.private_key_file.clone(),
            ..Self::default()
        }
        .with_chain(&args.chain)
    }
}

impl From<&DataArgs> for Layer {
    fn from(args: &DataArgs) -> Self {
        Self { data_dir: args.data_dir.clone(), ..Self::default() }
    }
}

impl From<&AccountArgs> for Layer {
    fn from(args: &AccountArgs) -> Self {
        Self {
            devnet: args.manifest.devnet.clone(),
            private_key_file: args.key.private_key_file.clone(),
            ..Self::default()
        }
    }
}

impl From<&AccountOnChainArgs> for Layer {
    fn from(args: &AccountOnChainArgs) -> Self {
        Self::from(&args.account).with_chain(&args.chain)
    }
}

impl From<&NodeRun> for Layer {
    fn from(args: &NodeRun) -> Self {
        Self {
            data_dir: args.data_dir.clone(),
            devnet: args.manifest.devnet.clone(),
            network: args.network.network.clone(),
            bootstrap: given(&args.network.bootstrap),
            token_rate: args.token_rate,
            ..Self::default()
        }
        .with_chain(&args.chain)
    }
}

impl From<&NodeWins> for Layer {
    fn from(args: &NodeWins) -> Self {
        let (data_dir, devnet) = (args.data_dir.clone(), args.manifest.devnet.clone());
        Self { data_dir, devnet, ..Self::default() }.with_chain(&args.on)
    }
}

impl From<&Status> for Layer {
    fn from(args: &Status) -> Self {
        let (data_dir, devnet) = (args.data.data_dir.clone(), args.manifest.devnet.clone());
        Self { data_dir, devnet, ..Self::default() }.with_chain(&args.on)
    }
}

impl From<&Refund> for Layer {
    fn from(args: &Refund) -> Self {
        Self { data_dir: args.data.data_dir.clone(), ..Self::from(&args.account) }
    }
}

fn given(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}
