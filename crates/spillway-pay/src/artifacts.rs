//! The compiled contracts, as `contracts/artifacts` holds them.

use std::sync::LazyLock;

use alloy::{
    primitives::{U256, hex},
    sol_types::SolValue,
};
use serde::Deserialize;
use spillway_types::{Atto, EvmAddress};

use crate::{Windows, contracts::address};

#[derive(Deserialize)]
struct Artifact {
    bytecode: String,
}

/// Creation code of the token of test networks.
pub(crate) static TOKEN_CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| code(include_str!("../../../contracts/artifacts/PlainToken.json")));

/// Creation code of the vault.
pub(crate) static VAULT_CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| code(include_str!("../../../contracts/artifacts/ChunkVault.json")));

fn code(artifact: &str) -> Vec<u8> {
    let artifact: Artifact =
        serde_json::from_str(artifact).expect("invariant: the artifacts are tested");
    hex::decode(artifact.bytecode).expect("invariant: the artifacts are tested")
}

/// What creates a token with this supply.
pub(crate) fn token_creation(supply: Atto) -> Vec<u8> {
    let mut code = TOKEN_CODE.clone();
    code.extend(U256::from(supply.0).abi_encode());
    code
}

/// What creates a vault for a token.
pub(crate) fn vault_creation(token: EvmAddress, windows: Windows) -> Vec<u8> {
    let mut code = VAULT_CODE.clone();
    let seconds = |window: std::time::Duration| U256::from(window.as_secs());
    code.extend((address(token), seconds(windows.min), seconds(windows.max)).abi_encode());
    code
}

#[cfg(test)]
mod tests;
