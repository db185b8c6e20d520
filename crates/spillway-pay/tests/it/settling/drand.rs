//! Seeds of drand: a recorded, genuine round on a chain that has its curve.

use serde_json::Value;
use spillway_pay::{DeployOptions, DrandOptions, DrandSignature, SeedNeeded};

use super::*;

/// The recorded round that every seed here is, and another one.
const ROUND: u64 = 1_000;
const OTHER: u64 = 100;
const PERIOD: u64 = 3;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../../contracts/vectors/drand.json")).unwrap()
}

fn recorded(round: u64) -> Value {
    let all = vectors();
    let found = all["rounds"].as_array().unwrap().iter().find(|it| it["round"] == round);
    found.unwrap().clone()
}

/// As people have it.
fn proof(round: u64) -> Vec<u8> {
    let text = recorded(round)["compressed"].as_str().unwrap().to_owned();
    text.parse::<DrandSignature>().unwrap().proof()
}

/// A vault whose beacon is of drand's network, with a genesis such that the end of the epoch in
/// which the draw of a plan falls that is made now has this round. What is signed is the number.
async fn stage() -> (Stage, UnixTime) {
    let mut stage = Stage::anvil().await;
    let mut upload_by = stage.time().await.saturating_add(Duration::from_hours(30));
    let epoch = EPOCH.as_secs();
    // Windows that end a little earlier are of the same epoch.
    if WINDOWS.draw_time(upload_by).0 % epoch < 60 {
        upload_by = upload_by.saturating_add(Duration::from_mins(1));
    }
    let due = UnixTime((WINDOWS.draw_time(upload_by).0 / epoch + 1) * epoch);
    let key = vectors()["negatedKey"].as_str().unwrap().to_owned();
    let drand = DrandOptions {
        genesis: due.saturating_sub(Duration::from_secs((ROUND - 1) * PERIOD)),
        period: Duration::from_secs(PERIOD),
        negated_key: hex::decode(key.strip_prefix("0x").unwrap()).unwrap(),
    };
    let options = DeployOptions { windows: WINDOWS, epoch: EPOCH, supply: Atto(1 << 100) };
    let hands = stage.hands(&stage.deployer);
    let deployed = hands.deploy_with_drand(options, &drand).await.unwrap();
    hands.send_tokens(deployed.token, stage.payer.address(), Atto(1_000_000)).await.unwrap();
    stage.deployed = deployed;
    stage.domain.vault = deployed.vault;
    (stage, upload_by)
}

/// A batch with four draws; its window ends a second earlier for every number.
async fn paid_until(stage: &Stage, name: u8, upload_by: UnixTime) -> Plan {
    let plan = stage.plan(name, 6).await;
    let upload_by = upload_by.saturating_sub(Duration::from_secs(name.into()));
    let plan = Plan { mode: batch_mode(&plan.leaves, TIP, 4), upload_by, ..plan };
    let plans = [plan];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let [plan] = plans;
    plan
}

fn wanted(plan: &Plan, round: u64) -> SeedWanted {
    SeedWanted { upload_by: plan.upload_by, proof: proof(round) }
}

fn seed() -> Seed {
    recorded(ROUND)["seed"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_round_as_published_is_a_seed_within_the_cap() {
    let (stage, upload_by) = stage().await;
    let plan = paid_until(&stage, 0, upload_by).await;
    let payments = stage.payments();
    let needed = payments.seed_needed(plan.upload_by).await.unwrap();
    let due = WINDOWS.draw_time(plan.upload_by).saturating_add(EPOCH);
    assert_eq!(needed.drand_round, Some(ROUND));
    assert!(WINDOWS.draw_time(plan.upload_by) < needed.due && needed.due <= due);
    assert_eq!(needed.due.0 % EPOCH.as_secs(), 0);

    let mut journal = TestJournal::new(&stage.chain);
    let post = |wanted: SeedWanted, cap| {
        let (payments, deployer) = (payments.clone(), &stage.deployer);
        let mut journal = TestJournal::new(&stage.chain);
        async move { payments.post_seed(deployer, &wanted, cap, &mut journal).await }
    };
    let early = post(wanted(&plan, ROUND), None).await.unwrap();
    assert_eq!(early, SeedPosted::default());
    go_to(&stage, needed.due).await;
    let wrong = post(wanted(&plan, OTHER), None).await.unwrap_err();
    let said = wrong.failure.to_string();
    assert!(said.contains(&format!("BadSignature({ROUND})")), "{said}");
    let poor = post(wanted(&plan, ROUND), Some(Wei(1_000))).await.unwrap_err();
    assert!(matches!(*poor.failure, PayFailure::OverGasCost { cap: Wei(1_000), .. }), "{poor:?}");
    let known =
        payments.post_seed(&stage.deployer, &wanted(&plan, ROUND), None, &mut journal).await;
    let known = known.unwrap();
    assert_eq!((known.seed, known.spend.tx_hashes.len()), (Some(seed()), 1));
    assert!((150_000..250_000).contains(&known.spend.gas_used), "{known:?}");
    // The block-hash beacon has no rounds.
    let plain = Stage::anvil().await;
    let needed = plain.payments().seed_needed(upload_by).await.unwrap();
    assert!(matches!(needed, SeedNeeded { drand_round: None, .. }), "{needed:?}");
}

#[tokio::test]
async fn a_settlement_takes_the_missing_seed_along() {
    let (stage, upload_by) = stage().await;
    let (one, two) =
        (paid_until(&stage, 0, upload_by).await, paid_until(&stage, 1, upload_by).await);
    let needed = stage.payments().seed_needed(one.upload_by).await.unwrap();
    go_to(&stage, needed.due).await;
    let both = [wins(&one, seed(), 0..4), wins(&two, seed(), 0..4)].concat();
    let (payments, sender) = (stage.payments(), stage.deployer.address());
    let mut journal = TestJournal::new(&stage.chain);

    // Without the proof, with none, and with another round's, there is nothing to settle.
    for seeds in [
        vec![],
        vec![SeedWanted { proof: Vec::new(), ..wanted(&one, ROUND) }],
        vec![wanted(&one, OTHER)],
    ] {
        let settled = payments
            .settle_with_seeds(&stage.deployer, &both, &seeds, SettleTerms::default(), &mut journal)
            .await
            .unwrap();
        let after = |plan: &Plan| WINDOWS.draw_time(plan.upload_by);
        let mut expected = Vec::new();
        for plan in [&one, &two] {
            let reason = SkipReason::NoSeed { after: after(plan) };
            expected.extend((0..4).map(|draw| (plan.id(), draw, reason.clone())));
        }
        expected.sort_by_key(|(payment, draw, _)| (*payment, *draw));
        let mut found = reasons(&settled);
        found.sort_by_key(|(payment, draw, _)| (*payment, *draw));
        assert_eq!((found, journal.signed.len()), (expected, 0));
    }

    // A seed that was asked for may cost more than the tips are worth; the next may not.
    let rate = spillway_types::TokenRate(Wei(1));
    let dear = SettleTerms { rate: Some(rate), ..SettleTerms::default() };
    let seeds = [wanted(&one, ROUND)];
    let dry = payments.settle_preview(sender, &both, &seeds, dear).await.unwrap();
    assert_eq!((dry.wins.len(), dry.skipped.len(), dry.transactions), (8, 0, 2));
    let capped = SettleTerms { gas_cap: Some(Wei(dry.gas_cost.0 / 4)), ..dear };
    let stopped = payments
        .settle_with_seeds(&stage.deployer, &both, &seeds, capped, &mut journal)
        .await
        .unwrap_err();
    assert!(matches!(*stopped.error.failure, PayFailure::OverGasCost { .. }), "{stopped:?}");
    assert_eq!((stopped.done.draws, journal.signed.len()), (0, 0));

    let settled = payments
        .settle_with_seeds(&stage.deployer, &both, &seeds, dear, &mut journal)
        .await
        .unwrap();
    assert_eq!((settled.draws, settled.transactions, settled.skipped.len()), (4, 1, 4));
    assert!(
        settled.skipped.iter().all(|it| matches!(it.reason, SkipReason::NotWorthIt { .. })),
        "{settled:?}"
    );
    assert_eq!(journal.signed.len(), 1, "the seed has no transaction of its own");
    let id = if settled.done[0].0 == one.id() { one.id() } else { two.id() };
    assert_eq!(journal.signed[0].purpose, TxPurpose::Settle { payment: id });
    let vault = stage.deployed.vault;
    assert_eq!(stage.chain.seed(vault, one.upload_by).await, Ok(Some(seed())));
    let (rest, _) = settle(&stage, &both).await;
    assert_eq!((rest.draws, rest.transactions), (4, 1));
    assert!(rest.spend.gas_used + 150_000 < settled.spend.gas_used, "{settled:?} {rest:?}");
}
