//! It starts, is told what to do, and leaves nothing behind.

use std::{collections::BTreeSet, fs, time::Duration};

use spillway_pay::{At, Wallet};
use spillway_testnet::{TestNode, Testnet};
use spillway_types::{Atto, RewardAddress, Wei};

use crate::place::options;

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_know_each_other_and_go_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(options(dir.path(), 7)).await.unwrap();
    let rewards: BTreeSet<RewardAddress> = testnet.running().map(TestNode::reward).collect();
    assert_eq!(rewards.len(), 7);
    for node in testnet.running() {
        assert_eq!(node.capacity().capacity_bytes, 10 << 30);
        assert_eq!(node.addresses().len(), 2);
        assert_eq!(node.chunks(), 0);
        assert_eq!(node.reward_wallet().unwrap().address().0, node.reward().0);
    }
    testnet.shutdown().await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_says_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(options(dir.path(), 1)).await.unwrap();
    let manifest = testnet.manifest();
    let wallet = Wallet::from_hex(&manifest.private_key).unwrap();
    assert_eq!(wallet.address(), testnet.wallet().address());
    let chain = testnet.chain();
    assert_eq!(chain.chain_id().await.unwrap(), manifest.chain_id);
    let vault = manifest.vault.parse().unwrap();
    assert_eq!(chain.token(vault).await.unwrap(), manifest.token.parse().unwrap());
    assert!(chain.coins(wallet.address()).await.unwrap() > Wei(10_u128.pow(26)));
    assert!(chain.tokens(testnet.token(), wallet.address()).await.unwrap() > Atto(10_u128.pow(26)));
    assert_eq!(manifest.bootstrap.len(), 2);
    testnet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut testnet = Testnet::start(options(dir.path(), 5)).await.unwrap();
    let place = |testnet: &Testnet| {
        let node = testnet.node(3).unwrap();
        let addresses: BTreeSet<String> =
            node.addresses().iter().map(ToString::to_string).collect();
        (node.peer(), addresses)
    };
    let before = place(&testnet);
    testnet.stop_node(3).await;
    assert!(testnet.node(3).is_none());
    assert_eq!(testnet.running().count(), 4);
    testnet.restart_node(3).await.unwrap();
    assert_eq!(place(&testnet), before);
    testnet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_money_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(options(dir.path(), 1)).await.unwrap();
    let poor = testnet.fund(Atto(7), Wei(9)).await.unwrap();
    let chain = testnet.chain();
    assert_eq!(chain.coins(poor.address()).await.unwrap(), Wei(9));
    assert_eq!(chain.tokens(testnet.token(), poor.address()).await.unwrap(), Atto(7));
    let day = Duration::from_hours(24);
    let before = chain.block(At::Depth(0)).await.unwrap().time;
    let clock_before = spillway_disk::Clock::now(testnet.clock());
    testnet.advance(day).await.unwrap();
    assert!(chain.block(At::Depth(0)).await.unwrap().time >= before.saturating_add(day));
    assert!(spillway_disk::Clock::now(testnet.clock()) >= clock_before.saturating_add(day));
    testnet.shutdown().await.unwrap();
}
