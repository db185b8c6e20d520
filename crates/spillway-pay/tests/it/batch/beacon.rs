//! The beacon of block hashes and the times that a vault is deployed with.

use std::time::Duration;

use alloy::primitives::{Bytes, U256};
use spillway_pay::{Chain, DeployOptions, PayFailure, Windows};
use spillway_types::{Atto, EvmAddress, Seed, UnixTime};

use super::postCall;
use crate::{
    on_both_chains,
    support::{EPOCH, Stage, WINDOWS},
};

fn boundary(time: UnixTime) -> UnixTime {
    UnixTime((time.0 / EPOCH.as_secs() + 1) * EPOCH.as_secs())
}

async fn a_seed_takes_two_posts(stage: Stage) {
    let (vault, beacon) = (stage.deployed.vault, stage.deployed.beacon);
    let by = &stage.deployer;
    let state = stage.chain.beacon(vault).await.unwrap();
    assert_eq!((state.beacon, state.epoch), (beacon, EPOCH));
    let now = stage.time().await;
    assert!(state.latest <= now && now.since(state.latest) < Duration::from_mins(1));
    assert!(!state.is_behind(now));

    let due = boundary(now);
    let call = postCall { t: U256::from(now.0), proof: Bytes::new() };
    let early = stage.refusal_of(beacon, by, &call).await.unwrap();
    assert!(early.starts_with(&format!("TooEarly({}, ", due.0)), "{early}");
    stage.go_to(due).await;
    assert!(stage.post(by, now).await.success, "it arms");
    // An upload window whose draw falls on this boundary.
    let upload_by = due.saturating_sub(WINDOWS.draw_delay).saturating_sub(Duration::from_secs(1));
    assert_eq!(stage.chain.seed(vault, upload_by).await, Ok(None));
    let said = stage.refusal_of(beacon, by, &call).await.unwrap();
    assert!(said.starts_with("NotMinedYet("), "{said}");
    stage.control.mine(1).await;
    let said = stage.refusal_of(beacon, by, &call).await.unwrap();
    assert!(said.starts_with("NotMinedYet("), "{said}");
    stage.control.mine(1).await;
    assert!(stage.post(by, now).await.success, "it takes the hash");
    let seed = stage.chain.seed(vault, upload_by).await.unwrap().unwrap();
    assert_ne!(seed, Seed([0; 32]));
    assert_eq!(stage.chain.beacon(vault).await.unwrap().latest, due);
    // The same boundary for all before it, another for the next second.
    assert_eq!(stage.chain.seed(vault, upload_by.saturating_sub(EPOCH / 2)).await, Ok(Some(seed)));
    let next = upload_by.saturating_add(Duration::from_secs(1));
    assert_eq!(stage.chain.seed(vault, next).await, Ok(None));
    // A known seed stays.
    assert!(stage.post(by, now).await.success);
    assert_eq!(stage.chain.seed(vault, upload_by).await, Ok(Some(seed)));
}

async fn an_armed_block_whose_hash_is_gone_is_armed_anew(stage: Stage) {
    let (now, by) = (stage.time().await, &stage.deployer);
    let upload_by = now.saturating_sub(WINDOWS.draw_delay);
    stage.go_to(boundary(now)).await;
    assert!(stage.post(by, now).await.success);
    stage.control.mine(260).await;
    assert!(stage.post(by, now).await.success);
    assert_eq!(stage.chain.seed(stage.deployed.vault, upload_by).await, Ok(None));
    stage.control.mine(2).await;
    assert!(stage.post(by, now).await.success);
    let seed = stage.chain.seed(stage.deployed.vault, upload_by).await.unwrap();
    assert!(seed.is_some());
}

async fn an_older_boundary_does_not_set_the_newest_back(stage: Stage) {
    let (now, by, vault) = (stage.time().await, &stage.deployer, stage.deployed.vault);
    let later = now.saturating_add(3 * EPOCH);
    stage.go_to(boundary(later)).await;
    for time in [later, now] {
        assert!(stage.post(by, time).await.success);
        stage.control.mine(2).await;
        assert!(stage.post(by, time).await.success);
        let latest = stage.chain.beacon(vault).await.unwrap().latest;
        assert_eq!(latest, boundary(later));
    }
    let seed = async |time: UnixTime| {
        let upload_by = time.saturating_sub(WINDOWS.draw_delay);
        stage.chain.seed(vault, upload_by).await.unwrap()
    };
    assert!(seed(now).await.is_some() && seed(later).await.is_some());
    assert_ne!(seed(now).await, seed(later).await);
    assert_eq!(seed(now.saturating_add(EPOCH)).await, None);
}

async fn questions_to_what_is_no_vault(stage: Stage) {
    let nobody = EvmAddress([0x77; 20]);
    assert!(stage.chain.beacon(nobody).await.is_err());
    assert!(stage.chain.seed(nobody, UnixTime(1)).await.is_err());
    assert_eq!(stage.chain.has_code(stage.deployed.beacon).await, Ok(true));
}

/// Vaults that could never pay cannot be deployed.
async fn bad_times_are_not_deployed(stage: Stage) {
    let good = DeployOptions { windows: WINDOWS, epoch: EPOCH, supply: Atto(5) };
    let windows = |change: &dyn Fn(&mut Windows)| {
        let mut windows = WINDOWS;
        change(&mut windows);
        DeployOptions { windows, ..good }
    };
    for options in [
        windows(&|w| w.claim = EPOCH),
        windows(&|w| w.draw_delay = Duration::ZERO),
        windows(&|w| (w.min, w.max) = (Duration::ZERO, Duration::ZERO)),
        windows(&|w| w.max = w.min.saturating_sub(Duration::from_secs(1))),
        DeployOptions { epoch: Duration::ZERO, ..good },
    ] {
        let hands = stage.hands(&stage.deployer);
        let error = hands.deploy(options).await.unwrap_err();
        assert!(matches!(*error.failure, PayFailure::Failed { .. }), "{error:?}");
    }
    let tight = windows(&|w| w.claim = EPOCH + Duration::from_secs(1));
    let deployed = stage.hands(&stage.deployer).deploy(tight).await.unwrap();
    assert_eq!(stage.chain.windows(deployed.vault).await, Ok(tight.windows));
    assert_eq!(stage.chain.beacon(deployed.vault).await.unwrap().beacon, deployed.beacon);
}

#[tokio::test]
async fn a_seed_that_is_put_is_as_good_as_a_posted_one() {
    let stage = Stage::memory().await;
    let crate::support::Control::Memory { chain, .. } = &stage.control else {
        panic!("not memory")
    };
    let sold = stage.committed(super::leaves(1, 4), 5, 2).await;
    let vault = stage.deployed.vault;
    chain.put_seed(vault, sold.terms.upload_by, Seed([9; 32]));
    chain.put_seed(vault, sold.terms.upload_by, Seed([8; 32]));
    let seed = stage.chain.seed(vault, sold.terms.upload_by).await.unwrap().unwrap();
    assert_eq!(seed, Seed([9; 32]));
    let due = boundary(WINDOWS.draw_time(sold.terms.upload_by));
    assert_eq!(stage.chain.beacon(vault).await.unwrap().latest, due);
    let wins = vec![sold.right(&stage, seed, 0), sold.right(&stage, seed, 1)];
    stage.act(&stage.deployer, super::settle_of(&sold.terms, wins)).await;
    assert_eq!(stage.sum_of_credits().await, sold.terms.total);
    // A vault that was put there has a beacon that is not behind.
    let put = EvmAddress([0x31; 20]);
    chain.put_vault(put, stage.deployed.token, WINDOWS);
    let state = stage.chain.beacon(put).await.unwrap();
    assert_eq!((state.epoch, state.latest), (EPOCH, stage.time().await.max(state.latest)));
    assert!(!state.is_behind(stage.time().await));
}

on_both_chains!(
    a_seed_takes_two_posts,
    an_armed_block_whose_hash_is_gone_is_armed_anew,
    an_older_boundary_does_not_set_the_newest_back,
    questions_to_what_is_no_vault,
    bad_times_are_not_deployed,
);
