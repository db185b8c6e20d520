//! A settlement that makes the seed known which nobody has: by the twin, whose beacon takes any
//! bytes for a proof once a block is armed.

use super::{terms::at_rate, *};
use crate::groups::call_of;

const PROOF: [u8; 48] = [0xab; 48];

/// A batch of 70 draws, more than one transaction settles; its seed is one post away.
async fn armed(stage: &Stage) -> (Vec<Win>, [SeedWanted; 2]) {
    let plan = paid(stage, 1, 100, 70).await;
    let seed = draw(stage, &plan).await;
    // The block that has made it known is taken back.
    stage.control.reorg(1).await;
    stage.chain.promise(&PROOF, seed);
    let known = SeedWanted { upload_by: plan.upload_by, proof: PROOF.to_vec() };
    (wins(&plan, seed, 0..70), [seed_of(&plan), known])
}

#[tokio::test]
async fn a_proof_makes_wins_of_what_waits_for_its_seed() {
    let stage = Stage::memory().await;
    let (all, seeds) = armed(&stage).await;
    let payments = stage.payments();
    let terms = SettleTerms::default();
    let look = async |seeds: &[SeedWanted]| {
        let (open, skipped) = payments.settleable(&all, seeds, terms).await.unwrap();
        let is_early =
            |win: &spillway_pay::Skipped| matches!(win.reason, SkipReason::NoSeed { .. });
        assert!(skipped.iter().all(is_early), "{skipped:?}");
        (open.len(), skipped.len())
    };
    assert_eq!(look(&seeds).await, (70, 0));
    assert_eq!(look(&seeds[..1]).await, (0, 70), "no proof");
    let other = SeedWanted { proof: vec![0xcd; 48], ..seeds[1].clone() };
    assert_eq!(look(&[other]).await, (0, 70), "another proof");
}

#[tokio::test]
async fn only_the_first_transaction_carries_the_proof() {
    let stage = Stage::memory().await;
    let (all, seeds) = armed(&stage).await;
    let mut journal = TestJournal::new(&stage.chain);
    let (payments, terms) = (stage.payments(), SettleTerms::default());
    let done = payments
        .settle_with_seeds(&stage.deployer, &all, &seeds, terms, &mut journal)
        .await
        .unwrap();
    assert_eq!((done.transactions, done.draws, done.skipped.len()), (2, 70, 0));
    let carries = journal.signed.iter().map(|tx| {
        let call = call_of(tx, stage.deployer.address());
        call.data.windows(PROOF.len()).any(|part| part == PROOF)
    });
    assert_eq!(carries.collect::<Vec<bool>>(), [true, false]);
}

/// The seed was asked for: what it costs is not what the tips are to cover.
#[tokio::test]
async fn what_makes_a_seed_known_may_cost_more_than_its_tips() {
    let stage = Stage::memory().await;
    let (all, seeds) = armed(&stage).await;
    let (payments, sender, terms) = (stage.payments(), stage.deployer.address(), at_rate(Wei(1)));
    let dry = payments.settle_preview(sender, &all, &seeds, terms).await.unwrap();
    // Each is reckoned to make it known.
    assert_eq!((dry.wins.len(), dry.transactions, dry.skipped.len()), (70, 2, 0));
    let mut journal = TestJournal::new(&stage.chain);
    let done = payments
        .settle_with_seeds(&stage.deployer, &all, &seeds, terms, &mut journal)
        .await
        .unwrap();
    assert_eq!((done.transactions, done.draws, journal.signed.len()), (1, 64, 1));
    let tips = Atto(6 * TIP);
    let is_dear = |win: &spillway_pay::Skipped| matches!(win.reason, SkipReason::NotWorthIt { tips: found, .. } if found == tips);
    assert!(done.skipped.len() == 6 && done.skipped.iter().all(is_dear), "{:?}", done.skipped);
}
