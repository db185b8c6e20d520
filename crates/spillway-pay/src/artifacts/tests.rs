use std::collections::BTreeMap;

use alloy::{
    primitives::{Selector, keccak256},
    sol_types::SolInterface,
};
use serde_json::Value;

use super::*;
use crate::contracts::{
    IToken::{ITokenCalls, ITokenErrors},
    IVault::{IVaultCalls, IVaultErrors},
};

/// Signatures of one kind in an artifact's ABI, by selector.
fn in_artifact(artifact: &str, kind: &str) -> BTreeMap<Selector, String> {
    let artifact: Value = serde_json::from_str(artifact).unwrap();
    let entries = artifact["abi"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["type"] == kind)
        .map(|entry| {
            let inputs = entry["inputs"].as_array().unwrap().iter();
            let types: Vec<&str> = inputs.map(|input| input["type"].as_str().unwrap()).collect();
            let signature = format!("{}({})", entry["name"].as_str().unwrap(), types.join(","));
            (Selector::from_slice(&keccak256(&signature)[..4]), signature)
        })
        .collect()
}

fn selectors<I: SolInterface>() -> Vec<Selector> {
    I::selectors().map(Selector::from).collect()
}

const TOKEN: &str = include_str!("../../../../contracts/artifacts/PlainToken.json");
const VAULT: &str = include_str!("../../../../contracts/artifacts/ChunkVault.json");

#[test]
fn every_binding_is_in_the_artifacts() {
    for (artifact, kind, bound) in [
        (VAULT, "function", selectors::<IVaultCalls>()),
        (VAULT, "error", selectors::<IVaultErrors>()),
        (TOKEN, "function", selectors::<ITokenCalls>()),
        (TOKEN, "error", selectors::<ITokenErrors>()),
    ] {
        let there = in_artifact(artifact, kind);
        for selector in &bound {
            assert!(there.contains_key(selector), "{kind} {selector} is not in the artifact");
        }
    }
}

#[test]
fn every_error_of_the_vault_is_bound() {
    let bound = selectors::<IVaultErrors>();
    for (selector, signature) in in_artifact(VAULT, "error") {
        assert!(bound.contains(&selector), "{signature} has no binding");
    }
}

#[test]
fn constructor_arguments_follow_the_code() {
    let windows = Windows {
        min: std::time::Duration::from_secs(1),
        max: std::time::Duration::from_secs(2),
        draw_delay: std::time::Duration::from_secs(3),
        claim: std::time::Duration::from_secs(4),
    };
    let vault = vault_creation(EvmAddress([9; 20]), EvmAddress([8; 20]), windows);
    assert_eq!(vault.len(), VAULT_CODE.len() + 192);
    assert_eq!(vault[VAULT_CODE.len() + 12..][..20], [9; 20]);
    assert_eq!(vault[vault.len() - 33], 1);
    assert_eq!(vault[vault.len() - 1], 2);
    assert_eq!(token_creation(Atto(5)).len(), TOKEN_CODE.len() + 32);
}
