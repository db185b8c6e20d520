//! The beacon is tended, whatever jumps time makes.

use std::time::Duration;

use spillway_disk::Clock;
use spillway_pay::At;
use spillway_testnet::{Testnet, TestnetOptions};

use crate::place::options;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn seeds_are_there_after_every_jump() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(options(dir.path(), 2)).await.unwrap();
    testnet.silence_beacon().await;
    let (chain, vault) = (testnet.chain(), testnet.domain().vault);
    for jump in [25 * HOUR, 31 * 24 * HOUR, 25 * HOUR] {
        let before = chain.block(At::Depth(0)).await.unwrap().time;
        testnet.advance(jump).await.unwrap();
        // Draws of a month ago cannot be settled any more: nobody needs their seeds.
        let now = chain.block(At::Depth(0)).await.unwrap().time;
        let drawn = before.max(now.saturating_sub(29 * 24 * HOUR));
        assert_eq!(chain.seed(vault, drawn).await.unwrap(), None, "nobody tends it");
        testnet.post_seeds().await.unwrap();
        let seed = chain.seed(vault, drawn).await.unwrap();
        assert!(seed.is_some(), "of an upload window that ended in the jump");
        let (now, beacon) =
            (chain.block(At::Depth(0)).await.unwrap().time, chain.beacon(vault).await.unwrap());
        assert!(now.since(beacon.latest) <= beacon.epoch + HOUR && !beacon.is_behind(now));
        // Everybody is at the chain's time.
        let ahead = testnet.clock().now().since(now);
        assert!(testnet.clock().now() >= now && ahead < HOUR, "{ahead:?}");
        testnet.post_seeds().await.unwrap();
        assert_eq!(chain.seed(vault, drawn).await.unwrap(), seed, "it stays");
    }
    testnet.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_ask_for_seeds() {
    let dir = tempfile::tempdir().unwrap();
    let options = TestnetOptions { epoch: HOUR, ..options(dir.path(), 1) };
    let testnet = Testnet::start(options).await.unwrap();
    let (chain, vault) = (testnet.chain(), testnet.domain().vault);
    let before = chain.block(At::Depth(0)).await.unwrap().time;
    testnet.advance(2 * HOUR).await.unwrap();
    while chain.seed(vault, before).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    testnet.shutdown().await.unwrap();
}
