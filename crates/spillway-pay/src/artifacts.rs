//! The compiled contracts, as `contracts/artifacts` holds them.

use std::{sync::LazyLock, time::Duration};

use alloy::{
    primitives::{Bytes, U256, hex},
    sol_types::SolValue,
};
use serde::Deserialize;
use spillway_types::{Atto, EvmAddress};

use crate::{Windows, contracts::address, deploy::DrandOptions};

#[derive(Deserialize)]
struct Artifact {
    bytecode: String,
}

/// Creation code of the token of test networks.
pub(crate) static TOKEN_CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| code(include_str!("../../../contracts/artifacts/PlainToken.json")));

/// Creation code of the beacon of test networks.
pub(crate) static BEACON_CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| code(include_str!("../../../contracts/artifacts/BlockhashBeacon.json")));

/// Creation code of the beacon that takes drand's signatures.
pub(crate) static DRAND_CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| code(include_str!("../../../contracts/artifacts/DrandBeacon.json")));

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

/// What creates a beacon of one seed an epoch, from the hashes of blocks.
pub(crate) fn beacon_creation(epoch: Duration) -> Vec<u8> {
    let mut code = BEACON_CODE.clone();
    code.extend(U256::from(epoch.as_secs()).abi_encode());
    code
}

/// What creates a beacon of one seed an epoch, from the signatures of a drand network.
pub(crate) fn drand_creation(drand: &DrandOptions, epoch: Duration) -> Vec<u8> {
    let mut code = DRAND_CODE.clone();
    let words = (
        U256::from(drand.genesis.0),
        U256::from(drand.period.as_secs()),
        U256::from(epoch.as_secs()),
        Bytes::copy_from_slice(&drand.negated_key),
    );
    code.extend(words.abi_encode_params());
    code
}

/// What creates a vault for a token and a beacon.
pub(crate) fn vault_creation(token: EvmAddress, beacon: EvmAddress, windows: Windows) -> Vec<u8> {
    let mut code = VAULT_CODE.clone();
    let seconds = |window: Duration| U256::from(window.as_secs());
    let words = (
        address(token),
        address(beacon),
        seconds(windows.min),
        seconds(windows.max),
        seconds(windows.draw_delay),
        seconds(windows.claim),
    );
    code.extend(words.abi_encode());
    code
}

#[cfg(test)]
mod tests;
