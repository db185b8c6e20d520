//! The hashes that contract and Rust must agree on: the shared vectors, and the deployed vault.

use alloy::{
    primitives::{Address, B256, aliases::U40},
    rpc::client::ClientBuilder,
    sol,
    sol_types::SolCall,
};
use serde_json::{Value, json};
use spillway_pay::Chain;
use spillway_types::{
    Atto, DirectEntry, DirectProof, Domain, EvmAddress, Leaf, LeafHash, NetworkId, PaymentProof,
    RewardAddress, Share, UnixTime,
};

use crate::support::{Control, Stage};

sol! {
    function directId(address payer, bytes32[] calldata entries, uint40 uploadBy)
        external view returns (bytes32);
    function leafHash(bytes32 chunk, bytes32[] calldata shares) external pure returns (bytes32);
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../contracts/vectors/direct.json")).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn share(value: &Value) -> Share {
    Share {
        payee: text(value, "payee").to_lowercase().parse().unwrap(),
        amount: text(value, "amount").parse().unwrap(),
    }
}

#[test]
fn share_words() {
    let vectors = vectors();
    for vector in vectors["shareWords"].as_array().unwrap() {
        let word = format!("0x{}", hex::encode(share(vector).word()));
        assert_eq!(word, text(vector, "word"));
    }
}

#[test]
fn leaf_hashes() {
    let vectors = vectors();
    let mut checked = 0;
    for vector in vectors["leaves"].as_array().unwrap() {
        let shares: Vec<Share> = vector["shares"].as_array().unwrap().iter().map(share).collect();
        // A leaf has five; the contract's function takes any number.
        let Ok(shares) = shares.try_into() else { continue };
        let leaf = Leaf { address: text(vector, "chunk").parse().unwrap(), shares };
        assert_eq!(leaf.hash().to_string(), text(vector, "leafHash"), "{}", vector["name"]);
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn payment_ids() {
    let vectors = vectors();
    let mut checked = 0;
    for vector in vectors["directIds"].as_array().unwrap() {
        let words: Vec<[u8; 32]> = vector["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| hex::decode(&word.as_str().unwrap()[2..]).unwrap().try_into().unwrap())
            .collect();
        let proof = DirectProof {
            payer: text(vector, "payer").to_lowercase().parse().unwrap(),
            upload_by: UnixTime(vector["uploadBy"].as_u64().unwrap()),
            entries: words.chunks(2).map(|pair| entry(pair[0], pair[1])).collect(),
        };
        assert_eq!(proof.words().collect::<Vec<_>>(), words, "{}", vector["name"]);
        let domain = Domain {
            network: NetworkId::named("whichever"),
            chain_id: vector["chainId"].as_u64().unwrap(),
            vault: text(vector, "vault").to_lowercase().parse().unwrap(),
        };
        let id = PaymentProof::Direct(proof).id(&domain);
        assert_eq!(id.to_string(), text(vector, "id"), "{}", vector["name"]);
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

fn entry(share: [u8; 32], leaf: [u8; 32]) -> DirectEntry {
    let mut amount = [0; 16];
    amount[4..].copy_from_slice(&share[20..]);
    DirectEntry {
        share: Share {
            payee: RewardAddress(share[..20].try_into().unwrap()),
            amount: Atto(u128::from_be_bytes(amount)),
        },
        leaf: LeafHash(leaf),
    }
}

#[tokio::test]
async fn the_deployed_vault_agrees() {
    let stage = Stage::anvil().await;
    let Control::Anvil(anvil) = &stage.control else { panic!("not Anvil") };
    let client = ClientBuilder::default().http(anvil.rpc_url().parse().unwrap());
    let ask = async |data: Vec<u8>| {
        let vault = Address::new(stage.deployed.vault.0);
        let call = json!([{ "to": vault, "input": format!("0x{}", hex::encode(data)) }, "latest"]);
        client.request::<_, B256>("eth_call", call).await.unwrap().0
    };
    assert!(stage.chain.has_code(stage.deployed.vault).await.unwrap());

    let plan = stage.plan(7, 100).await;
    let direct = plan.direct().unwrap();
    let call = directIdCall {
        payer: Address::new(plan.payer.0),
        entries: direct.words().map(B256::new).collect(),
        uploadBy: U40::from(plan.upload_by.0),
    };
    assert_eq!(ask(call.abi_encode()).await, plan.id().0);
    let leaf = &plan.leaves[42];
    let call = leafHashCall {
        chunk: B256::new(leaf.address.0),
        shares: leaf.shares.iter().map(|share| B256::new(share.word())).collect(),
    };
    assert_eq!(ask(call.abi_encode()).await, leaf.hash().0);
    // The id does not depend on the network's name, only on chain and vault.
    let elsewhere = Domain { vault: EvmAddress([1; 20]), ..plan.domain };
    assert_ne!(direct.id(&elsewhere), plan.id());
}
