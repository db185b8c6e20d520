use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use spillway_client::{Address, DEFAULT_NETWORK, Wallet};
use spillway_testnet::Manifest;
use spillway_types::{Atto, Domain, EvmAddress, NetworkId, TokenRate, Wei};

use super::{Environment, Layer, Places, file, key};
use crate::{
    exit::{Code, Failure},
    local,
};

/// All levels together. Values are looked at when they are asked for, so a command complains only
/// about what it needs.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Most important first.
    layers: Vec<Layer>,
    /// What the most important `devnet` says, once somebody has asked. A network that is named in
    /// full needs no manifest of a lower level, so it may be gone by now.
    manifest: OnceLock<Result<Manifest, Failure>>,
    places: Places,
}

impl Settings {
    /// Flags over environment over file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load(
        flags: Layer,
        environment: &Environment,
        config: Option<&Path>,
    ) -> Result<Self, Failure> {
        let places = Places::of_this_user();
        let asked_for = config.or(environment.config.as_deref());
        let file = match asked_for.map(Path::to_owned).or_else(|| places.config_file()) {
            Some(path) => file::read(&path, asked_for.is_some())?,
            None => Layer::default(),
        };
        Ok(Self::of(vec![flags, environment.layer.clone(), file], places))
    }

    fn of(layers: Vec<Layer>, places: Places) -> Self {
        Self { layers, manifest: OnceLock::new(), places }
    }

    /// The most important value of the layers themselves.
    fn own<T>(&self, own: impl Fn(&Layer) -> Option<T>) -> Option<T> {
        self.layers.iter().find_map(own)
    }

    /// The most important value: in each layer its own, else that of its manifest.
    ///
    /// # Errors
    /// When it is for a manifest to say, and that cannot be read.
    fn find<T>(
        &self,
        own: impl Fn(&Layer) -> Option<T>,
        of_manifest: impl Fn(&Manifest) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let mut is_read = false;
        for layer in &self.layers {
            if let Some(value) = own(layer) {
                return Ok(Some(value));
            }
            if let Some(path) = layer.devnet.as_deref().filter(|_| !is_read) {
                is_read = true;
                if let Some(value) = of_manifest(self.manifest(path)?) {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// The same of a value that has a default. A manifest that cannot be read does not say it: where
    /// that matters, one of the values that have none complains.
    fn find_or_none<T>(
        &self,
        own: impl Fn(&Layer) -> Option<T>,
        of_manifest: impl Fn(&Manifest) -> Option<T>,
    ) -> Option<T> {
        self.find(&own, of_manifest).unwrap_or_else(|_| self.own(own))
    }

    /// Only the first path that is asked for is read.
    fn manifest(&self, path: &Path) -> Result<&Manifest, Failure> {
        self.manifest.get_or_init(|| read_manifest(path)).as_ref().map_err(Clone::clone)
    }

    /// Where data is kept.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        match self.own(|layer| layer.data_dir.clone()) {
            Some(dir) => Ok(dir),
            None => self.places.data_dir(),
        }
    }

    /// Where a node keeps its data.
    pub(crate) fn node_dir(&self) -> Result<PathBuf, Failure> {
        // What the flag names is the node's own; a directory for everything has a place for it.
        if let Some(dir) = self.layers.first().and_then(|flags| flags.data_dir.clone()) {
            return Ok(dir);
        }
        self.data_dir().map(|dir| dir.join("node"))
    }

    /// Where the locks of wallets are.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, Failure> {
        self.places.state_dir()
    }

    /// Which network.
    pub(crate) fn network(&self) -> NetworkId {
        let name =
            self.find_or_none(|layer| layer.network.clone(), |manifest| manifest.network.clone());
        NetworkId::named(name.as_deref().unwrap_or(DEFAULT_NETWORK))
    }

    /// Peers to begin with; at least one.
    pub(crate) fn bootstrap(&self) -> Result<Vec<Address>, Failure> {
        let addresses = self.bootstrap_if_any()?;
        if addresses.is_empty() {
            return Err(missing("--bootstrap", "SPILLWAY_BOOTSTRAP"));
        }
        Ok(addresses)
    }

    /// Peers to begin with; none for the first node of a network.
    pub(crate) fn bootstrap_if_any(&self) -> Result<Vec<Address>, Failure> {
        let texts = self
            .find(|layer| layer.bootstrap.clone(), |manifest| Some(manifest.bootstrap.clone()))?;
        texts.unwrap_or_default().iter().map(|text| peer_address("--bootstrap", text)).collect()
    }

    /// The RPC's URL.
    pub(crate) fn rpc_url(&self) -> Result<String, Failure> {
        self.find(|layer| layer.rpc_url.clone(), |manifest| Some(manifest.rpc_url.clone()))?
            .ok_or_else(|| missing("--rpc-url", "SPILLWAY_RPC_URL"))
    }

    /// The chain's id, if it is to be checked.
    pub(crate) fn chain_id(&self) -> Option<u64> {
        self.find_or_none(|layer| layer.chain_id, |manifest| Some(manifest.chain_id))
    }

    /// The contract that takes the payments.
    pub(crate) fn vault(&self) -> Result<EvmAddress, Failure> {
        let text = self
            .find(|layer| layer.vault.clone(), |manifest| Some(manifest.vault.clone()))?
            .ok_or_else(|| missing("--vault", "SPILLWAY_VAULT"))?;
        account("--vault", &text).map(EvmAddress)
    }

    /// Network, chain and vault, if the settings say them all: to name payments without asking the
    /// chain.
    pub(crate) fn domain_if_any(&self) -> Result<Option<Domain>, Failure> {
        let vault =
            self.find_or_none(|layer| layer.vault.clone(), |manifest| Some(manifest.vault.clone()));
        let (Some(vault), Some(chain_id)) = (vault, self.chain_id()) else { return Ok(None) };
        let vault = EvmAddress(account("--vault", &vault)?);
        Ok(Some(Domain { network: self.network(), chain_id, vault }))
    }

    /// The account that pays.
    pub(crate) fn wallet(&self) -> Result<Wallet, Failure> {
        self.wallet_if_any()?.ok_or_else(|| {
            Failure::usage("no private key").hint(
                "set SPILLWAY_PRIVATE_KEY, or name a file with --private-key-file, or a test \
                 network with --devnet",
            )
        })
    }

    /// The account that would pay, if one is named.
    pub(crate) fn wallet_if_any(&self) -> Result<Option<Wallet>, Failure> {
        for layer in &self.layers {
            if let Some(text) = &layer.private_key {
                return key::parse(text, "SPILLWAY_PRIVATE_KEY").map(Some);
            }
            if let Some(path) = &layer.private_key_file {
                return key::read(path).map(Some);
            }
            if let Some(path) = layer.devnet.as_deref() {
                let manifest = self.manifest(path)?;
                return key::parse(&manifest.private_key, "the key of the manifest").map(Some);
            }
        }
        Ok(None)
    }

    /// The most that storage may cost.
    pub(crate) fn max_cost(&self) -> Option<Atto> {
        self.own(|layer| layer.max_cost)
    }

    /// The most that gas may cost.
    pub(crate) fn max_gas_cost(&self) -> Option<Wei> {
        self.own(|layer| layer.max_gas_cost)
    }

    /// What one token is worth to whoever runs this.
    pub(crate) fn token_rate(&self) -> Option<TokenRate> {
        self.own(|layer| layer.token_rate)
    }
}

/// The address of a peer.
pub(crate) fn peer_address(name: &str, text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|_| {
        Failure::usage(format!("{name}: {text:?} is not the address of a peer"))
            .hint("an address is such as /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW…")
    })
}

/// The address of an account or a contract.
pub(crate) fn account(name: &str, text: &str) -> Result<[u8; 20], Failure> {
    text.parse::<EvmAddress>().map(|address| address.0).map_err(|_| {
        Failure::usage(format!("{name}: {text:?} is not an address"))
            .hint("an address is 0x and 40 hexadecimal digits")
    })
}

fn missing(flag: &str, variable: &str) -> Failure {
    Failure::usage(format!("{flag} is missing"))
        .hint(format!("say it, or set {variable}, or name a test network with --devnet"))
}

fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    let hint = "check --devnet, and that `spillway devnet` is ready";
    let text = local::read_text(path, "the manifest", hint)?;
    serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} is not a manifest: {error}", path.display());
        Failure::new(Code::Failure, message).hint(hint)
    })
}

#[cfg(test)]
mod tests;
