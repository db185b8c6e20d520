use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::hashes::bytes_newtype;

bytes_newtype! {
    /// An account or a contract on the chain: the payer, the vault, the token.
    EvmAddress, 20, "0x"
}
bytes_newtype! {
    /// Where a node wants to be paid.
    RewardAddress, 20, "0x"
}

impl RewardAddress {
    /// Nobody's account.
    pub const ZERO: Self = Self([0; 20]);
}

/// The name of a network: what is signed for one network means nothing on another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkId(pub [u8; 32]);

impl NetworkId {
    /// The id of the network of this name: its BLAKE3 hash under an own key-derivation context.
    pub fn named(name: &str) -> Self {
        Self(blake3::derive_key("spillway/network-id/v1", name.as_bytes()))
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkId({self})")
    }
}

/// Where a signature counts: one network, one chain, one vault. Part of every quote and receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Domain {
    /// The network of peers.
    pub network: NetworkId,
    /// The EVM chain's id.
    pub chain_id: u64,
    /// The vault that takes the payments.
    pub vault: EvmAddress,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network {}, chain {}, vault {}", self.network, self.chain_id, self.vault)
    }
}
