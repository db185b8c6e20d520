//! The keeper of a test network's beacon, on a real Anvil.

use std::{sync::Arc, time::Duration};

use spillway_disk::SystemClock;
use spillway_pay::{
    Chain, ChainError, DeployOptions, Deployed, Keeper, KeeperOptions, PayFailure, RpcOptions,
    Windows,
};
use spillway_types::{EvmAddress, UnixTime};

use crate::{
    batch::{leaves, settle_of},
    support::{Control, EPOCH, ETHER, Stage, WINDOWS, wallet},
};

fn keeper(stage: &Stage, vault: EvmAddress) -> Keeper {
    let Control::Anvil(anvil) = &stage.control else { panic!("not Anvil") };
    let options = KeeperOptions {
        rpc: RpcOptions::new(anvil.rpc_url()),
        clock: Arc::new(SystemClock),
        wallet: wallet(40),
        vault,
    };
    Keeper::new(options).unwrap()
}

async fn stage() -> (Stage, Keeper) {
    let stage = Stage::anvil().await;
    stage.control.set_coins(wallet(40).address(), ETHER).await;
    let keeper = keeper(&stage, stage.deployed.vault);
    (stage, keeper)
}

/// A vault with a seed a minute and three hours to claim.
async fn quick(stage: &Stage) -> Deployed {
    let windows = Windows {
        min: Duration::from_secs(1),
        max: Duration::from_hours(1),
        draw_delay: Duration::from_mins(1),
        claim: Duration::from_hours(3),
    };
    let minute = Duration::from_mins(1);
    let options = DeployOptions { windows, epoch: minute, supply: spillway_types::Atto(1) };
    stage.hands(&stage.deployer).deploy(options).await.unwrap()
}

/// Whether the seed of the boundary after this time is known.
async fn is_known(stage: &Stage, deployed: &Deployed, time: UnixTime) -> bool {
    let delay = stage.chain.windows(deployed.vault).await.unwrap().draw_delay;
    let upload_by = time.saturating_sub(delay);
    stage.chain.seed(deployed.vault, upload_by).await.unwrap().is_some()
}

async fn latest(stage: &Stage, deployed: &Deployed) -> UnixTime {
    stage.chain.beacon(deployed.vault).await.unwrap().latest
}

fn boundary(time: UnixTime, epoch: Duration) -> UnixTime {
    UnixTime((time.0 / epoch.as_secs() + 1) * epoch.as_secs())
}

#[tokio::test]
async fn it_does_nothing_until_a_boundary_has_passed_and_then_makes_its_seed() {
    let (stage, keeper) = stage().await;
    let start = stage.time().await;
    let blocks = stage.chain.block(spillway_pay::At::Depth(0)).await.unwrap().number;
    assert_eq!(keeper.tend().await.unwrap(), 0);
    let now = stage.chain.block(spillway_pay::At::Depth(0)).await.unwrap();
    assert_eq!(now.number, blocks, "no blocks without need");
    assert_eq!(stage.chain.pending_nonce(wallet(40).address()).await, Ok(0));

    // Nobody mines a block after the jump: the next one's time counts.
    let due = boundary(start, EPOCH);
    stage.control.advance(due.since(start)).await;
    assert_eq!(keeper.tend().await.unwrap(), 1);
    assert_eq!(latest(&stage, &stage.deployed).await, due);
    assert!(is_known(&stage, &stage.deployed, start).await);
    assert!(!is_known(&stage, &stage.deployed, due).await);
    assert_eq!(stage.chain.pending_nonce(wallet(40).address()).await, Ok(2));
    assert_eq!(keeper.tend().await.unwrap(), 0);
    // The chain's clock was not put forward for it.
    assert!(stage.time().await.since(due) < Duration::from_secs(30));
}

#[tokio::test]
async fn a_batch_is_settled_after_a_long_jump() {
    let (stage, keeper) = stage().await;
    let sold = stage.committed(leaves(1, 4), 5, 2).await;
    let time = WINDOWS.draw_time(sold.terms.upload_by);
    stage.go_to(time.saturating_add(20 * EPOCH)).await;
    let made = keeper.tend().await.unwrap();
    assert!((20..=21).contains(&made), "{made}");
    for days in 0..20 {
        let time = time.saturating_add(days * EPOCH);
        assert!(is_known(&stage, &stage.deployed, time).await, "{days}");
    }
    let state = stage.chain.beacon(stage.deployed.vault).await.unwrap();
    assert!(!state.is_behind(stage.time().await));
    let vault = stage.deployed.vault;
    let seed = stage.chain.seed(vault, sold.terms.upload_by).await.unwrap().unwrap();
    let wins = vec![sold.right(&stage, seed, 0), sold.right(&stage, seed, 1)];
    stage.act(&stage.deployer, settle_of(&sold.terms, wins)).await;
    assert_eq!(stage.sum_of_credits().await, sold.terms.total);
}

#[tokio::test]
async fn what_nobody_can_settle_any_more_is_left_out() {
    let (stage, keeper) = stage().await;
    let start = stage.time().await;
    stage.go_to(start.saturating_add(100 * EPOCH)).await;
    let made = keeper.tend().await.unwrap();
    assert!((30..=31).contains(&made), "{made}");
    let now = stage.time().await;
    assert!(!is_known(&stage, &stage.deployed, start).await);
    assert!(!is_known(&stage, &stage.deployed, now.saturating_sub(33 * EPOCH)).await);
    for days in 1..30 {
        let time = now.saturating_sub(days * EPOCH);
        assert!(is_known(&stage, &stage.deployed, time).await, "{days}");
    }
    assert_eq!(keeper.tend().await.unwrap(), 0);
}

#[tokio::test]
async fn more_than_a_round_takes_several_and_another_keeper_goes_on() {
    let (stage, _) = stage().await;
    let deployed = quick(&stage).await;
    let first = keeper(&stage, deployed.vault);
    let start = latest(&stage, &deployed).await;
    let minute = Duration::from_mins(1);
    stage.go_to(boundary(start, minute).saturating_add(99 * minute)).await;
    assert_eq!(first.tend().await.unwrap(), 64);
    // The oldest first: the newest seed says how far it is.
    let through = boundary(start, minute).saturating_add(63 * minute);
    assert_eq!(latest(&stage, &deployed).await, through);
    drop(first);
    let second = keeper(&stage, deployed.vault);
    let made = second.tend().await.unwrap();
    assert!((36..=37).contains(&made), "{made}");
    for index in 0..100 {
        let time = start.saturating_add(index * minute);
        assert!(is_known(&stage, &deployed, time).await, "{index}");
    }
    assert_eq!(second.tend().await.unwrap(), 0);
}

#[tokio::test]
async fn what_others_have_armed_or_posted_is_taken_as_it_is() {
    let (stage, keeper) = stage().await;
    let start = stage.time().await;
    assert_eq!(keeper.tend().await.unwrap(), 0);
    stage.go_to(boundary(start, EPOCH).saturating_add(4 * EPOCH)).await;
    let after = |days: u32| start.saturating_add(days * EPOCH);
    // The third is made, so that the beacon's newest seed is behind a gap; the second is armed long
    // ago and the fifth just now.
    for days in [1, 2] {
        assert!(stage.post(&stage.deployer, after(days)).await.success);
    }
    stage.control.mine(2).await;
    assert!(stage.post(&stage.deployer, after(2)).await.success);
    stage.control.mine(300).await;
    assert!(stage.post(&stage.deployer, after(4)).await.success);
    assert_eq!(latest(&stage, &stage.deployed).await, boundary(after(2), EPOCH));
    assert_eq!(keeper.tend().await.unwrap(), 4);
    for days in 0..5 {
        assert!(is_known(&stage, &stage.deployed, after(days)).await, "{days}");
    }
}

#[tokio::test]
async fn on_a_chain_whose_blocks_come_by_themselves() {
    let (stage, keeper) = stage().await;
    let start = stage.time().await;
    stage.go_to(boundary(start, EPOCH).saturating_add(2 * EPOCH)).await;
    stage.control.set_automine(false).await;
    let blocks = async {
        loop {
            stage.control.mine(1).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        made = keeper.tend() => assert_eq!(made.unwrap(), 3),
        () = blocks => {}
    }
    assert_eq!(
        latest(&stage, &stage.deployed).await,
        boundary(start, EPOCH).saturating_add(2 * EPOCH)
    );
}

#[tokio::test]
async fn rounds_at_the_same_time_take_turns() {
    let (stage, keeper) = stage().await;
    stage.go_to(stage.time().await.saturating_add(10 * EPOCH)).await;
    let (one, two) = tokio::join!(keeper.tend(), keeper.tend());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!((10..=11).contains(&one) && two == 0, "{one} {two}");
}

#[tokio::test]
async fn errors() {
    let (stage, _) = stage().await;
    let nobody = keeper(&stage, EvmAddress([0x77; 20]));
    let error = nobody.tend().await.unwrap_err();
    let unexpected = |e: &PayFailure| matches!(e, PayFailure::Chain(ChainError::Unexpected { .. }));
    assert!(unexpected(&error.failure), "{error:?}");
    stage.go_to(stage.time().await.saturating_add(EPOCH)).await;
    stage.control.set_coins(wallet(40).address(), spillway_types::Wei::ZERO).await;
    let poor = keeper(&stage, stage.deployed.vault);
    let error = poor.tend().await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::Chain(ChainError::NotEnoughCoins)), "{error:?}");
    // It goes on when there are coins.
    stage.control.set_coins(wallet(40).address(), ETHER).await;
    assert!(poor.tend().await.unwrap() >= 1);
    let bad = KeeperOptions {
        rpc: RpcOptions::new("nonsense"),
        clock: Arc::new(SystemClock),
        wallet: wallet(40),
        vault: stage.deployed.vault,
    };
    assert!(matches!(Keeper::new(bad), Err(ChainError::BadUrl { .. })));
}
