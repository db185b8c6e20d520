use std::collections::BTreeMap;

use alloy::{
    primitives::{B256, keccak256},
    sol_types::{SolCall, SolEvent, SolInterface},
};
use serde_json::Value;

use super::*;
use crate::contracts::{
    IBeacon::{self, IBeaconCalls, IBeaconErrors, IBeaconEvents},
    IDrandBeacon,
    IToken::{ITokenCalls, ITokenErrors},
    IVault::{self, IVaultCalls, IVaultErrors, IVaultEvents},
};

const TOKEN: &str = include_str!("../../../../contracts/artifacts/PlainToken.json");
const VAULT: &str = include_str!("../../../../contracts/artifacts/ChunkVault.json");
const BLOCKS: &str = include_str!("../../../../contracts/artifacts/BlockhashBeacon.json");
const DRAND: &str = include_str!("../../../../contracts/artifacts/DrandBeacon.json");

/// A parameter's type as signatures name it: structs by their fields.
fn type_of(parameter: &Value) -> String {
    let name = parameter["type"].as_str().unwrap();
    match name.strip_prefix("tuple") {
        Some(array) => format!("{}{array}", types_of(&parameter["components"])),
        None => name.to_owned(),
    }
}

fn types_of(parameters: &Value) -> String {
    let types: Vec<String> = parameters.as_array().unwrap().iter().map(type_of).collect();
    format!("({})", types.join(","))
}

/// What an artifact's ABI has of one kind, by name.
fn entries<'a>(artifact: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    artifact["abi"].as_array().unwrap().iter().filter(move |entry| entry["type"] == kind)
}

/// The signatures of one kind in an artifact's ABI, by their hashes.
fn in_artifact(artifact: &str, kind: &str) -> BTreeMap<B256, String> {
    let artifact: Value = serde_json::from_str(artifact).unwrap();
    entries(&artifact, kind)
        .map(|entry| {
            let name = entry["name"].as_str().unwrap();
            let signature = format!("{name}{}", types_of(&entry["inputs"]));
            (keccak256(&signature), signature)
        })
        .collect()
}

fn selectors<I: SolInterface>() -> Vec<Vec<u8>> {
    I::selectors().map(Vec::from).collect()
}

fn topics(selectors: &[[u8; 32]]) -> Vec<Vec<u8>> {
    selectors.iter().map(|topic| topic.to_vec()).collect()
}

#[test]
fn every_binding_is_in_the_artifacts() {
    for (artifacts, kind, bound) in [
        (&[VAULT][..], "function", selectors::<IVaultCalls>()),
        (&[VAULT], "error", selectors::<IVaultErrors>()),
        (&[VAULT], "event", topics(IVaultEvents::SELECTORS)),
        (&[BLOCKS], "function", selectors::<IBeaconCalls>()),
        (&[DRAND], "function", selectors::<IBeaconCalls>()),
        (&[DRAND], "function", vec![IDrandBeacon::roundOfCall::SELECTOR.to_vec()]),
        (&[BLOCKS, DRAND], "error", selectors::<IBeaconErrors>()),
        (&[BLOCKS], "event", topics(IBeaconEvents::SELECTORS)),
        (&[DRAND], "event", topics(IBeaconEvents::SELECTORS)),
        (&[TOKEN], "function", selectors::<ITokenCalls>()),
        (&[TOKEN], "error", selectors::<ITokenErrors>()),
    ] {
        assert!(!bound.is_empty(), "{kind}");
        for selector in &bound {
            let mut there = artifacts.iter().flat_map(|artifact| in_artifact(artifact, kind));
            let found = there.any(|(hash, _)| hash.starts_with(selector));
            assert!(found, "{kind} {} is not in the artifact", hex::encode(selector));
        }
    }
}

#[test]
fn every_error_and_event_of_the_vault_and_every_error_of_the_beacons_is_bound() {
    for (artifact, kind, bound) in [
        (VAULT, "error", selectors::<IVaultErrors>()),
        (VAULT, "event", topics(IVaultEvents::SELECTORS)),
        (BLOCKS, "error", selectors::<IBeaconErrors>()),
        (DRAND, "error", selectors::<IBeaconErrors>()),
    ] {
        for (hash, signature) in in_artifact(artifact, kind) {
            let found = bound.iter().any(|selector| hash.starts_with(selector));
            assert!(found, "{signature} has no binding");
        }
    }
}

/// The results of the functions that are decoded, and which fields of events are topics: neither is
/// in a signature's hash.
#[test]
fn results_and_topics_are_those_of_the_artifacts() {
    let vault: Value = serde_json::from_str(VAULT).unwrap();
    let blocks: Value = serde_json::from_str(BLOCKS).unwrap();
    let drand: Value = serde_json::from_str(DRAND).unwrap();
    for (artifact, name, result) in [
        (&drand, "roundOf", "(uint256)"),
        (&vault, "commit", "(bytes32)"),
        (&vault, "commitMany", "()"),
        (&vault, "commitWithPermit", "(bytes32)"),
        (&vault, "commitWithAuthorization", "(bytes32)"),
        (&vault, "commitManyWithAuthorization", "()"),
        (&vault, "settle", "(uint256)"),
        (&vault, "refund", "(uint256)"),
        (&vault, "withdraw", "(uint256)"),
        (&vault, "batchId", "(bytes32)"),
        (&vault, "records", "(uint256)"),
        (&vault, "credit", "(uint256)"),
        (&vault, "seedFor", "(bytes32)"),
        (&vault, "token", "(address)"),
        (&vault, "beacon", "(address)"),
        (&vault, "minWindow", "(uint40)"),
        (&vault, "maxWindow", "(uint40)"),
        (&vault, "drawDelay", "(uint40)"),
        (&vault, "claimWindow", "(uint40)"),
        (&blocks, "seedAfter", "(bytes32)"),
        (&blocks, "epoch", "(uint256)"),
        (&blocks, "latest", "(uint256)"),
        (&blocks, "boundary", "(uint256)"),
        (&blocks, "post", "(bytes32)"),
    ] {
        let entry = entries(artifact, "function").find(|entry| entry["name"] == name).unwrap();
        assert_eq!(types_of(&entry["outputs"]), result, "{name}");
    }
    // A topic is the event's hash or an indexed field.
    for (artifact, name, topics) in [
        (&vault, "PaidDirect", topics_of::<IVault::PaidDirect>()),
        (&vault, "Committed", topics_of::<IVault::Committed>()),
        (&vault, "Settled", topics_of::<IVault::Settled>()),
        (&vault, "Refunded", topics_of::<IVault::Refunded>()),
        (&vault, "Withdrawn", topics_of::<IVault::Withdrawn>()),
        (&blocks, "SeedPosted", topics_of::<IBeacon::SeedPosted>()),
    ] {
        let entry = entries(artifact, "event").find(|entry| entry["name"] == name).unwrap();
        let inputs = entry["inputs"].as_array().unwrap();
        // All indexed fields come first in these, so that their number says which they are.
        let indexed: Vec<bool> = inputs.iter().map(|input| input["indexed"] == true).collect();
        assert!(indexed.is_sorted_by(|a, b| a >= b), "{name}");
        assert_eq!(topics, 1 + indexed.iter().filter(|&&is| is).count(), "{name}");
    }
}

fn topics_of<E: SolEvent>() -> usize {
    use alloy::sol_types::TopicList;
    E::TopicList::COUNT
}

#[test]
fn constructor_arguments_follow_the_code() {
    let windows = Windows {
        min: Duration::from_secs(1),
        max: Duration::from_secs(2),
        draw_delay: Duration::from_secs(3),
        claim: Duration::from_secs(4),
    };
    let vault = vault_creation(EvmAddress([9; 20]), EvmAddress([8; 20]), windows);
    let words: Vec<&[u8]> = vault[VAULT_CODE.len()..].chunks(32).collect();
    assert_eq!(words.len(), 6);
    assert_eq!((&words[0][12..], &words[1][12..]), (&[9; 20][..], &[8; 20][..]));
    assert_eq!(words[2..].iter().map(|word| word[31]).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(token_creation(Atto(5)).len(), TOKEN_CODE.len() + 32);
    let beacon = beacon_creation(Duration::from_secs(7));
    assert_eq!((beacon.len(), beacon[beacon.len() - 1]), (BEACON_CODE.len() + 32, 7));
    let vault: Value = serde_json::from_str(VAULT).unwrap();
    let constructor = entries(&vault, "constructor").next().unwrap();
    let expected = "(address,address,uint40,uint40,uint40,uint40)";
    assert_eq!(types_of(&constructor["inputs"]), expected);
}
