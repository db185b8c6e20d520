use std::time::Duration;

use spillway_types::{Domain, EvmAddress, NetworkId, RewardAddress, Share};

use super::*;
use crate::{ASSUMED_UPLOAD_RATE, verify};

const NOW: UnixTime = UnixTime(1_800_000_000);
const DAY: Duration = Duration::from_hours(24);

/// A leaf that costs five times this.
fn leaf(name: usize, amount: u128) -> Leaf {
    let share = |number: u8| Share { payee: RewardAddress([number; 20]), amount: Atto(amount) };
    Leaf { address: ChunkAddress::of(&name.to_be_bytes()), shares: [1, 2, 3, 4, 5].map(share) }
}

fn input(leaves: usize, amount: u128) -> PlanInput {
    PlanInput {
        domain: Domain {
            network: NetworkId::named("test"),
            chain_id: 1,
            vault: EvmAddress([1; 20]),
        },
        payer: EvmAddress([2; 20]),
        leaves: (0..leaves).map(|name| leaf(name, amount)).collect(),
        now: NOW,
        first_expiry: NOW.saturating_add(Duration::from_hours(1)),
        upload_bytes: 1,
        upload_rate: ASSUMED_UPLOAD_RATE,
        min_window: Duration::from_mins(15),
        max_window: 14 * DAY,
    }
}

fn batch() -> BatchInput {
    BatchInput {
        max_leaves: 4_096,
        min_tip: Atto(15),
        max_prize: Atto(u128::MAX),
        beacon: BeaconState { beacon: EvmAddress([3; 20]), epoch: DAY, latest: NOW },
    }
}

fn sizes(plans: &[Plan]) -> Vec<usize> {
    plans.iter().map(|plan| plan.leaves.len()).collect()
}

fn draws_of(plan: &Plan) -> u8 {
    plan.batch_terms().unwrap().draws
}

#[test]
fn leaves_are_split_evenly_in_order_with_one_time_for_all() {
    for (leaves, max_leaves, expected) in [
        (1, 1, vec![1]),
        (3, 2, vec![2, 1]),
        (10, 4, vec![4, 3, 3]),
        (8, 4, vec![4, 4]),
        (9, 100, vec![9]),
    ] {
        let plans = plan_batches(input(leaves, 100), BatchInput { max_leaves, ..batch() }).unwrap();
        assert_eq!(sizes(&plans), expected);
        let joined: Vec<Leaf> = plans.iter().flat_map(|plan| plan.leaves.clone()).collect();
        assert_eq!(joined, input(leaves, 100).leaves);
        for plan in &plans {
            assert_eq!(plan.upload_by, NOW.saturating_add(DAY));
            assert_eq!(plan.valid_until, NOW.saturating_add(Duration::from_mins(55)));
            assert_eq!(verify::plan_is_sound(plan), Ok(()));
            assert_eq!(plan.batch_terms().unwrap().tip, Atto(15));
            let proofs = plan.proofs().unwrap();
            for (index, leaf) in plan.leaves.iter().enumerate() {
                assert_eq!(verify::leaf_is_paid(&proofs.of(index), leaf), Ok(()));
            }
        }
    }
}

#[test]
fn the_window_is_that_of_the_whole_upload() {
    // Two days at the assumed rate, three times as long.
    let upload_bytes = 2 * DAY.as_secs() * ASSUMED_UPLOAD_RATE;
    let input = PlanInput { upload_bytes, ..input(10, 100) };
    let plans = plan_batches(input, BatchInput { max_leaves: 1, ..batch() }).unwrap();
    assert_eq!(plans.len(), 10);
    assert!(plans.iter().all(|plan| plan.upload_by == NOW.saturating_add(6 * DAY)));
}

#[test]
fn what_is_assumed_is_a_mebibyte_a_second() {
    // 100 GiB take 102,400 s then; three times that is 5,120 min.
    let input = PlanInput { upload_bytes: 100 << 30, ..input(10, 100) };
    let plans = plan_batches(input, batch()).unwrap();
    assert_eq!(plans[0].upload_by, NOW.saturating_add(Duration::from_mins(5_120)));
}

#[test]
fn there_is_a_draw_for_each_256_leaves() {
    for (leaves, expected) in [(1, 1), (255, 1), (256, 1), (257, 2), (513, 3), (4_096, 16)] {
        let plans = plan_batches(input(leaves, 100), batch()).unwrap();
        assert_eq!((plans.len(), draws_of(&plans[0])), (1, expected), "{leaves}");
    }
    let large = BatchInput { max_leaves: MAX_BATCH_LEAVES, ..batch() };
    let plans = plan_batches(input(60_000, 100), large).unwrap();
    assert_eq!(draws_of(&plans[0]), 200);
}

#[test]
fn a_large_prize_means_more_draws() {
    // 5,000 in all.
    for (max_prize, expected) in [(5_000, 1), (4_999, 2), (2_500, 2), (1_000, 5), (100, 50)] {
        let limits = BatchInput { max_prize: Atto(max_prize), ..batch() };
        let plans = plan_batches(input(10, 100), limits).unwrap();
        assert_eq!(draws_of(&plans[0]), expected, "{max_prize}");
        let terms = plans[0].batch_terms().unwrap();
        assert!(terms.prize(0) <= Atto(max_prize));
    }
    // The rest of the division counts: 5,000 / 3 = 1,666, and 1,668 for the first.
    let limits = BatchInput { max_prize: Atto(1_667), ..batch() };
    assert_eq!(draws_of(&plan_batches(input(10, 100), limits).unwrap()[0]), 4);
}

#[test]
fn a_small_prize_means_fewer_draws() {
    // 2,560 in all; 3 draws by the number of leaves.
    for (min_tip, expected) in [(213, 3), (214, 2), (320, 2), (321, 1), (641, 1)] {
        let limits = BatchInput { min_tip: Atto(min_tip), ..batch() };
        let mut input = input(513, 1);
        input.leaves.iter_mut().for_each(|leaf| leaf.shares[0].amount = Atto(1));
        // 513 leaves at 5 are 2,565.
        let plans = plan_batches(input, limits).unwrap();
        assert_eq!(draws_of(&plans[0]), expected, "{min_tip}");
    }
}

#[test]
fn what_no_batch_can_be_is_named() {
    let refused = |input: PlanInput, batch: BatchInput| match plan_batches(input, batch) {
        Err(PlanError::NoBatch(refused)) => refused,
        other => panic!("{other:?}"),
    };
    // 50 in all, four tips are 60.
    assert_eq!(
        refused(input(1, 10), batch()),
        BatchRefused::PrizeTooSmall { prize: Atto(50), least: Atto(60) }
    );
    assert!(plan_batches(input(1, 12), batch()).is_ok());
    // 201 draws would do.
    let free = BatchInput { min_tip: Atto::ZERO, max_prize: Atto(4), ..batch() };
    assert_eq!(
        refused(input(1, 201), free),
        BatchRefused::PrizeTooLarge { prize: Atto(10), most: Atto(4) }
    );
    assert_eq!(draws_of(&plan_batches(input(1, 160), free).unwrap()[0]), 200);
    // What the nodes take at most is less than what they ask for at least.
    let between = BatchInput { max_prize: Atto(50), ..batch() };
    assert_eq!(
        refused(input(10, 10), between),
        BatchRefused::PrizeTooSmall { prize: Atto(50), least: Atto(60) }
    );
    let error = refused(input(10, 100), BatchInput { max_prize: Atto::ZERO, ..batch() });
    assert_eq!((error, error.retry()), (BatchRefused::NotTaken, Retry::Backoff));
    assert_eq!(error.to_string(), "some of the nodes take no batches now");
    let old = BeaconState { latest: NOW.saturating_sub(2 * DAY), ..batch().beacon };
    assert!(plan_batches(input(1, 100), BatchInput { beacon: old, ..batch() }).is_ok());
    let latest = UnixTime(old.latest.0 - 1);
    let behind = BatchInput { beacon: BeaconState { latest, ..old }, ..batch() };
    let error = refused(input(1, 100), behind);
    assert_eq!(error, BatchRefused::BeaconBehind { latest });
    assert_eq!(PlanError::from(error).retry(), Retry::Backoff);
    let mut free_leaf = input(3, 100);
    free_leaf.leaves[1] = leaf(1, 0);
    let address = free_leaf.leaves[1].address;
    assert_eq!(refused(free_leaf, batch()), BatchRefused::ZeroLeaf { address });
    let tip = Atto(1 << 96);
    let dear = BatchInput { min_tip: tip, ..batch() };
    assert_eq!(refused(input(1, 100), dear), BatchRefused::TipTooLarge { tip });
    let most = BatchInput { min_tip: Atto::MAX_SHARE, ..batch() };
    assert!(matches!(refused(input(1, 100), most), BatchRefused::PrizeTooSmall { .. }));
}

#[test]
fn a_candidate_costs_what_its_plans_cost() {
    let gas = crate::GasEstimate { transactions: 2, ..crate::GasEstimate::default() };
    let limits = BatchInput { max_leaves: 2, ..batch() };
    let plans = plan_batches(input(3, 100), limits).unwrap();
    // A draw each.
    let candidate = crate::Candidate::of(&plans, gas);
    assert_eq!((candidate.storage_cost, candidate.tips), (Atto(1_500), Atto(30)));
    assert_eq!(candidate.gas, gas);
}

#[test]
fn what_cannot_be_planned_at_all_is_named() {
    let failed = |input, batch| plan_batches(input, batch).unwrap_err();
    assert_eq!(failed(input(0, 1), batch()), PlanError::Empty);
    let mut twice = input(2, 100);
    twice.leaves[1] = twice.leaves[0].clone();
    let address = twice.leaves[0].address;
    assert_eq!(failed(twice, batch()), PlanError::Duplicate { address });
    for max_leaves in [0, MAX_BATCH_LEAVES + 1] {
        let wrong = BatchInput { max_leaves, ..batch() };
        assert_eq!(failed(input(1, 100), wrong), PlanError::BatchSize { found: max_leaves });
    }
    let mut late = input(1, 100);
    late.first_expiry = NOW;
    let late = failed(late, batch());
    assert!(matches!(late, PlanError::TooLate { .. }));
    assert_eq!(late.retry(), Retry::Backoff, "with new quotes");
    let mut short = input(1, 100);
    short.max_window = short.min_window;
    assert!(matches!(failed(short, batch()), PlanError::NoWindow { .. }));
}

#[test]
fn a_sum_over_96_bits_makes_more_batches() {
    // A leaf of nearly half of what a batch can hold.
    let amount = Atto::MAX_SHARE.0 / 11;
    let plans = plan_batches(input(5, amount), batch()).unwrap();
    assert_eq!(sizes(&plans), [2, 1, 2]);
    assert!(plans.iter().all(|plan| plan.storage_cost() <= Atto::MAX_SHARE));
    assert_eq!(
        plan_batches(input(2, Atto::MAX_SHARE.0), batch()),
        Err(PlanError::Unsound(ProofError::TotalTooLarge))
    );
    assert_eq!(
        plan_batches(input(2, 1 << 96), batch()),
        Err(PlanError::Unsound(ProofError::AmountTooLarge { index: 0 }))
    );
}

/// Ten times what a draw adds to a settlement, and with one tip less it would not be.
#[test]
fn the_least_prize_is_worth_ten_draws() {
    let tip = u128::from(spillway_types::limits::TIP_GAS);
    assert!(PRIZE_PER_TIP * tip >= 10 * 54_000);
    assert!((PRIZE_PER_TIP - 1) * tip < 10 * 54_000);
}
