//! The twin's gas against the real one's.

use super::{ALWAYS, Sold, commit_of, commitManyCall, leaves, refund_of, settle_of, words};
use crate::support::{Stage, WINDOWS};

/// The same life on either chain: what each step used.
async fn used(stage: Stage) -> Vec<(&'static str, u64)> {
    let mut used = Vec::new();
    let small = stage.committed(leaves(8, 3), 0, 3).await;
    // The vault's balance and the payees' credits are there, as in a vault that is in use.
    let warm = stage.committed(leaves(9, 9), 5, 9).await;
    stage.allow(1 << 60).await;
    let sold = Sold::new(&stage, leaves(1, 200), 1_000, 16).await;
    used.push(("commit", stage.act(&stage.payer, commit_of(&sold.terms)).await.gas_used));
    for count in [1, 2, 10] {
        let mut batches = Vec::new();
        for index in 0..count {
            let tip = 100 * u128::from(count) + u128::from(index);
            batches.push(words(&Sold::new(&stage, leaves(2, 20), tip, 4).await.terms));
        }
        let call = commitManyCall { batches, validUntil: ALWAYS };
        let name = ["commit one", "commit two", "commit ten"][usize::from(count.min(3_u8)) - 1];
        used.push((name, stage.act(&stage.payer, call).await.gas_used));
    }
    let time = WINDOWS.draw_time(sold.terms.upload_by);
    stage.go_to(time.saturating_add(crate::support::EPOCH)).await;
    used.push(("arm", stage.post(&stage.deployer, time).await.gas_used));
    stage.control.mine(2).await;
    used.push(("capture", stage.post(&stage.deployer, time).await.gas_used));
    let vault = stage.deployed.vault;
    let seed = spillway_pay::Chain::seed(&*stage.chain, vault, sold.terms.upload_by);
    let seed = seed.await.unwrap().unwrap();
    let wins = (0..9).map(|draw| warm.right(&stage, seed, draw)).collect();
    stage.act(&stage.deployer, settle_of(&warm.terms, wins)).await;
    let wins = |draws: std::ops::Range<u8>| {
        draws.map(|draw| sold.right(&stage, seed, draw)).collect::<Vec<_>>()
    };
    for (name, draws) in [("settle one", 0..1), ("settle eight", 1..9), ("settle none", 0..8)] {
        let call = settle_of(&sold.terms, wins(draws));
        used.push((name, stage.act(&stage.deployer, call).await.gas_used));
    }
    let call = settle_of(&small.terms, vec![small.right(&stage, seed, 1)]);
    used.push(("settle one of few", stage.act(&stage.deployer, call).await.gas_used));
    let end = WINDOWS.claim_end(sold.terms.upload_by);
    stage.go_to(end.saturating_add(std::time::Duration::from_secs(1))).await;
    used.push(("refund few", stage.act(&stage.deployer, refund_of(&small.terms)).await.gas_used));
    used.push(("refund", stage.act(&stage.deployer, refund_of(&sold.terms)).await.gas_used));
    used
}

#[tokio::test]
async fn the_twins_gas_is_that_of_the_real_vault_or_little_more() {
    let real = used(Stage::anvil().await).await;
    let twin = used(Stage::memory().await).await;
    let pairs = real.into_iter().zip(twin).map(|((name, real), (_, twin))| (name, real, twin));
    let off: Vec<_> = pairs
        .filter(|&(_, real, twin)| twin * 100 < real * 99 || twin * 100 > real * 112)
        .collect();
    assert_eq!(off, [], "what, real, twin");
}
