//! What the vault says when it does not settle or refund.

use std::time::Duration;

use alloy::primitives::{B256, Bytes};
use spillway_types::Atto;

use super::{leaves, refund_of, settle_of, settleCall, words};
use crate::{
    on_both_chains,
    support::{EPOCH, Stage, WINDOWS},
};

const SECOND: Duration = Duration::from_secs(1);

async fn before_the_seed(stage: Stage) {
    let sold = stage.committed(leaves(1, 4), 5, 2).await;
    let by = &stage.deployer;
    let draw_time = WINDOWS.draw_time(sold.terms.upload_by);
    let win = sold.win(0, 0);
    // Other terms are another batch.
    let mut other = sold.terms;
    other.tip = Atto(6);
    let unknown = Some(format!("Unknown({})", other.id(&stage.domain)));
    let call = settle_of(&other, vec![win.clone()]);
    assert_eq!(stage.refusal(by, &call).await, unknown);
    assert_eq!(stage.refusal(by, &refund_of(&other)).await, unknown);

    let plain = settle_of(&sold.terms, vec![win]);
    let no_seed = Some(format!("NoSeed({draw_time})", draw_time = draw_time.0));
    assert_eq!(stage.refusal(by, &plain).await, no_seed);
    let boundary = (draw_time.0 / EPOCH.as_secs() + 1) * EPOCH.as_secs();
    let proven = settleCall { seedProof: Bytes::from_static(&[1]), ..plain.clone() };
    let said = stage.refusal(by, &proven).await.unwrap();
    assert!(said.starts_with(&format!("TooEarly({boundary}, ")), "{said}");
    // With the beacon's time there, this beacon only arms, and the whole call is taken back.
    stage.go_to(draw_time.saturating_add(EPOCH)).await;
    assert_eq!(stage.refusal(by, &proven).await, no_seed);
    assert!(!stage.send(by, stage.deployed.vault, proven.clone()).await.success);
    stage.control.mine(4).await;
    assert_eq!(stage.refusal(by, &proven).await, no_seed, "nothing was armed");
    // Armed by a post, the settlement takes the seed itself.
    assert!(stage.post(by, draw_time).await.success);
    let said = stage.refusal(by, &proven).await.unwrap();
    assert!(said.starts_with("NotMinedYet("), "{said}");
    stage.control.mine(2).await;
    assert_eq!(stage.refusal(by, &plain).await, no_seed);
    let none = settleCall { wins: vec![], ..proven };
    assert_eq!(stage.refusal(by, &none).await, None);
    stage.act(by, none).await;
    assert_ne!(stage.refusal(by, &plain).await, no_seed);
}

async fn bad_wins(stage: Stage) {
    let sold = stage.committed(leaves(1, 9), 5, 4).await;
    let seed = stage.draw(&sold.terms).await;
    let (id, by) = (sold.id(&stage), &stage.deployer);
    let refusal = async |wins: &[super::Win]| {
        stage.refusal(by, &settle_of(&sold.terms, wins.to_vec())).await.unwrap()
    };
    let winner = sold.winner(&stage, seed, 0);
    let right = sold.right(&stage, seed, 0);
    assert_eq!(refusal(&[right.clone(), sold.win(winner, 4)]).await, "BadDraw(1, 4)");
    assert_eq!(refusal(&[sold.win(winner, 255)]).await, "BadDraw(0, 255)");

    // Every other leaf, with where it lies.
    let point = sold.terms.draw_point(seed, id, 0);
    let mut from = 0;
    for (index, leaf) in sold.leaves.iter().enumerate() {
        let to = from + leaf.total().0;
        if index == winner {
            assert!(point.0 >= from && point.0 < to);
        } else {
            let said = format!("NotWinner(0, {}, {from}, {to})", point.0);
            assert_eq!(refusal(&[sold.win(index, 0)]).await, said);
        }
        from = to;
    }

    let mut changed: Vec<super::Win> = vec![right.clone(); 8];
    changed[0].chunk = B256::repeat_byte(1);
    changed[1].shares[3].0[31] ^= 1;
    changed[2].siblings.pop();
    let levels = changed[3].siblings.len();
    changed[3].siblings.truncate(levels - 2);
    changed[4].siblings = vec![B256::ZERO; 66];
    changed[5].shares.clear();
    changed[6].shares.iter_mut().for_each(|share| share.0[20..].fill(0));
    changed[7].siblings[1].0[0] ^= 0x80;
    for win in changed {
        let after = sold.right(&stage, seed, 1);
        assert_eq!(refusal(&[after, win]).await, "BadProof(1)");
    }
    // A draw is looked at before its proof, and what is done is not looked at.
    stage.act(by, settle_of(&sold.terms, vec![right.clone()])).await;
    let mut nonsense = right;
    nonsense.shares.clear();
    let call = settle_of(&sold.terms, vec![nonsense.clone()]);
    assert_eq!(stage.refusal(by, &call).await, None);
    // A fault takes the whole call back.
    nonsense.draw = 3;
    let call = settle_of(&sold.terms, vec![sold.right(&stage, seed, 2), nonsense]);
    assert!(!stage.send(by, stage.deployed.vault, call).await.success);
    assert_eq!(format!("{:?}", stage.record(id).await.settled), "{0}");
}

async fn around_the_end_of_the_claims(stage: Stage) {
    let sold = stage.committed(leaves(1, 4), 5, 2).await;
    let full = stage.committed(leaves(2, 4), 5, 2).await;
    let by = &stage.deployer;
    let end = WINDOWS.claim_end(sold.terms.upload_by);
    let open = format!("ClaimOpen({}, ", end.0);
    let early = stage.refusal(by, &refund_of(&sold.terms)).await.unwrap();
    assert!(early.starts_with(&open), "{early}");
    let seed = stage.draw(&sold.terms).await;
    let wins = vec![full.right(&stage, seed, 0), full.right(&stage, seed, 1)];
    stage.act(by, settle_of(&full.terms, wins)).await;
    stage.act(by, settle_of(&sold.terms, vec![sold.right(&stage, seed, 0)])).await;

    stage.go_to(end.saturating_sub(Duration::from_mins(5))).await;
    let late = settle_of(&sold.terms, vec![sold.right(&stage, seed, 1)]);
    assert_eq!(stage.refusal(by, &late).await, None);
    let early = stage.refusal(by, &refund_of(&sold.terms)).await.unwrap();
    assert!(early.starts_with(&open), "{early}");

    stage.go_to(end.saturating_add(SECOND)).await;
    let over = stage.refusal(by, &late).await.unwrap();
    assert!(over.starts_with(&format!("ClaimOver({}, ", end.0)), "{over}");
    let proven = settleCall { batch: words(&sold.terms), wins: vec![], seedProof: Bytes::new() };
    let over = stage.refusal(by, &proven).await.unwrap();
    assert!(over.starts_with("ClaimOver("), "{over}");
    let nothing = format!("NothingToRefund({})", full.id(&stage));
    let asked = stage.send(by, stage.deployed.vault, refund_of(&sold.terms)).await;
    assert!(asked.success);
    let again = format!("NothingToRefund({})", sold.id(&stage));
    assert_eq!(stage.refusal(by, &refund_of(&sold.terms)).await, Some(again));
    stage.go_to(WINDOWS.claim_end(full.terms.upload_by).saturating_add(SECOND)).await;
    assert_eq!(stage.refusal(by, &refund_of(&full.terms)).await, Some(nothing));
    assert_eq!(stage.tokens_of_vault().await, stage.sum_of_credits().await);
}

/// To the second, which only the twin's clock is good for.
#[tokio::test]
async fn the_last_second_belongs_to_the_claims() {
    let stage = Stage::memory().await;
    let sold = stage.committed(leaves(1, 4), 5, 2).await;
    let seed = stage.draw(&sold.terms).await;
    let end = WINDOWS.claim_end(sold.terms.upload_by);
    stage.control.advance(end.since(stage.clock.now())).await;
    let settle = settle_of(&sold.terms, vec![sold.right(&stage, seed, 1)]);
    let refund = refund_of(&sold.terms);
    assert_eq!(stage.refusal(&stage.deployer, &settle).await, None);
    let open = format!("ClaimOpen({end}, {end})", end = end.0);
    assert_eq!(stage.refusal(&stage.deployer, &refund).await, Some(open));
    stage.control.advance(SECOND).await;
    let over = format!("ClaimOver({}, {})", end.0, end.0 + 1);
    assert_eq!(stage.refusal(&stage.deployer, &settle).await, Some(over));
    assert_eq!(stage.refusal(&stage.deployer, &refund).await, None);
}

on_both_chains!(before_the_seed, bad_wins, around_the_end_of_the_claims);
