//! Planning and verifying, without a chain.

use std::time::Duration;

use spillway_pay::{
    ASSUMED_UPLOAD_RATE, PlanError, PlanInput, ProofError, plan_direct, verify::leaf_is_paid,
};
use spillway_types::{
    Atto, DirectProof, Domain, EvmAddress, Leaf, LeafHash, NetworkId, PaymentProof, RewardAddress,
    UnixTime,
};

use crate::support::{WINDOWS, leaf, payee};

const NOW: UnixTime = UnixTime(1_800_000_000);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn input(leaves: u8) -> PlanInput {
    PlanInput {
        domain: Domain {
            network: NetworkId::named("test"),
            chain_id: 1,
            vault: EvmAddress([1; 20]),
        },
        payer: EvmAddress([2; 20]),
        leaves: (0..leaves).map(|index| leaf([0, index])).collect(),
        now: NOW,
        first_expiry: NOW.saturating_add(HOUR),
        upload_bytes: 1,
        upload_rate: ASSUMED_UPLOAD_RATE,
        min_window: WINDOWS.min,
        max_window: WINDOWS.max,
    }
}

#[test]
fn plans_are_split_at_a_hundred_leaves_in_order() {
    for (leaves, sizes) in [
        (1, vec![1]),
        (99, vec![99]),
        (100, vec![100]),
        (101, vec![100, 1]),
        (250, vec![100, 100, 50]),
    ] {
        let plans = plan_direct(input(leaves)).unwrap();
        assert_eq!(plans.iter().map(|plan| plan.leaves.len()).collect::<Vec<_>>(), sizes);
        let joined: Vec<Leaf> = plans.iter().flat_map(|plan| plan.leaves.clone()).collect();
        assert_eq!(joined, input(leaves).leaves);
        for plan in &plans {
            assert_eq!(plan.upload_by, NOW.saturating_add(DAY));
            assert_eq!(plan.valid_until, NOW.saturating_add(Duration::from_mins(55)));
            for leaf in &plan.leaves {
                assert_eq!(leaf_is_paid(&plan.proofs().unwrap().of(0), leaf), Ok(()));
            }
        }
    }
}

#[test]
fn the_window_is_three_times_what_the_rate_says_within_what_all_take() {
    let by = |upload_bytes, max_window| {
        let plans = plan_direct(PlanInput { upload_bytes, max_window, ..input(1) });
        plans.map(|plans| plans[0].upload_by.since(NOW))
    };
    let day_of_bytes = ASSUMED_UPLOAD_RATE * 24 * 3600;
    assert_eq!(by(day_of_bytes / 3, WINDOWS.max), Ok(DAY));
    assert_eq!(by(day_of_bytes, WINDOWS.max), Ok(3 * DAY));
    // Less 5 minutes of slack, and less a tenth of short windows.
    let slack = Duration::from_mins(5);
    let allowed = WINDOWS.max.saturating_sub(slack);
    assert_eq!(by(10 * day_of_bytes, WINDOWS.max), Ok(allowed));
    // What takes longer at the rate itself would be paid for and not stored.
    let needed = 15 * DAY;
    let error = PlanError::NoWindow { needed, allowed };
    assert_eq!(by(15 * day_of_bytes, WINDOWS.max), Err(error));
    assert_eq!(by(1, 2000 * Duration::from_secs(1)), Ok(Duration::from_mins(30)));
    let needed = WINDOWS.min;
    let allowed = Duration::from_mins(15);
    assert_eq!(by(1, Duration::from_secs(1000)), Err(PlanError::NoWindow { needed, allowed }));
}

#[test]
fn an_upload_may_take_the_whole_of_what_all_take() {
    let allowed = Duration::from_hours(9);
    let upload_bytes = allowed.as_secs() * ASSUMED_UPLOAD_RATE;
    let plan = |upload_bytes| {
        plan_direct(PlanInput {
            upload_bytes,
            max_window: Duration::from_mins(9 * 60 + 5),
            ..input(1)
        })
    };
    assert_eq!(plan(upload_bytes).unwrap()[0].upload_by, NOW.saturating_add(allowed));
    let needed = allowed.saturating_add(Duration::from_secs(1));
    let error = PlanError::NoWindow { needed, allowed };
    assert_eq!(plan(upload_bytes + ASSUMED_UPLOAD_RATE), Err(error));
}

#[test]
fn a_payment_at_the_last_moment_is_still_inside_the_vaults_shortest_window() {
    let short = PlanInput {
        max_window: Duration::from_mins(20),
        min_window: Duration::from_mins(10),
        ..input(1)
    };
    let plan = &plan_direct(short).unwrap()[0];
    assert_eq!(plan.upload_by, NOW.saturating_add(Duration::from_mins(18)));
    assert_eq!(plan.valid_until, NOW.saturating_add(Duration::from_mins(8)));
}

#[test]
fn what_cannot_be_planned() {
    assert_eq!(plan_direct(input(0)), Err(PlanError::Empty));
    let mut twice = input(150);
    twice.leaves[149] = twice.leaves[3].clone();
    let address = twice.leaves[3].address;
    assert_eq!(plan_direct(twice), Err(PlanError::Duplicate { address }));
    let soon = NOW.saturating_add(Duration::from_mins(5));
    let late = PlanInput { first_expiry: soon, ..input(1) };
    assert_eq!(plan_direct(late), Err(PlanError::TooLate { valid_until: NOW }));
    let mut large = input(2);
    large.leaves[1].shares[0].amount = Atto(Atto::MAX_SHARE.0 + 1);
    let error = PlanError::Unsound(ProofError::AmountTooLarge { index: 5 });
    assert_eq!(plan_direct(large), Err(error));
    let mut sum = input(2);
    sum.leaves[0].shares[0].amount = Atto::MAX_SHARE;
    assert_eq!(plan_direct(sum), Err(PlanError::Unsound(ProofError::TotalTooLarge)));
    let mut nobody = input(1);
    nobody.leaves[0].shares[4].payee = RewardAddress::ZERO;
    let error = PlanError::Unsound(ProofError::ZeroPayee { index: 4 });
    assert_eq!(plan_direct(nobody), Err(error));
    let mut free = input(1);
    free.leaves[0].shares.iter_mut().for_each(|share| share.amount = Atto::ZERO);
    assert_eq!(plan_direct(free), Err(PlanError::Unsound(ProofError::ZeroTotal)));
}

fn proof_of(leaves: &[Leaf]) -> DirectProof {
    DirectProof::for_leaves(EvmAddress([2; 20]), NOW, leaves)
}

fn judge(proof: &DirectProof, leaf: &Leaf) -> Result<(), ProofError> {
    leaf_is_paid(&PaymentProof::Direct(proof.clone()), leaf)
}

#[test]
fn a_share_of_all_that_96_bits_hold_is_paid_and_one_unit_more_is_not() {
    let mut most = leaf([1, 1]);
    most.shares.iter_mut().for_each(|share| share.amount = Atto::ZERO);
    most.shares[2].amount = Atto::MAX_SHARE;
    assert_eq!(judge(&proof_of(std::slice::from_ref(&most)), &most), Ok(()));
    most.shares[2].amount = Atto(Atto::MAX_SHARE.0 + 1);
    let proof = proof_of(std::slice::from_ref(&most));
    assert_eq!(judge(&proof, &most), Err(ProofError::ShareTooLarge { index: 2 }));
}

#[test]
fn every_change_of_an_entry_is_refused() {
    let paid = leaf([1, 1]);
    let other = leaf([1, 2]);
    let good = proof_of(&[paid.clone(), other.clone()]);
    assert_eq!(judge(&good, &paid), Ok(()));
    let refused = |entries| Err(ProofError::NotPaid { leaf: paid.hash(), entries });
    for index in 0..5 {
        let mut proof = good.clone();
        proof.entries.remove(index);
        assert_eq!(judge(&proof, &paid), refused(4), "missing {index}");

        let mut proof = good.clone();
        let extra = proof.entries[index];
        proof.entries.push(extra);
        assert_eq!(judge(&proof, &paid), refused(6), "twice {index}");

        for bit in 0..96 {
            let mut proof = good.clone();
            proof.entries[index].share.amount.0 ^= 1 << bit;
            assert_eq!(judge_unless_total(&proof, &paid), refused(5), "amount {index} {bit}");
        }
        for bit in 0..160 {
            let mut proof = good.clone();
            proof.entries[index].share.payee.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(judge(&proof, &paid), refused(5), "payee {index} {bit}");
        }
        for bit in 0..256 {
            let mut proof = good.clone();
            proof.entries[index].leaf.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(judge(&proof, &paid), refused(4), "leaf {index} {bit}");
        }
    }
    assert_eq!(
        judge(&good, &leaf([1, 3])),
        Err(ProofError::NotPaid { leaf: leaf([1, 3]).hash(), entries: 0 })
    );
}

/// The highest bits of an amount also break the total; that is refused first.
fn judge_unless_total(proof: &DirectProof, leaf: &Leaf) -> Result<(), ProofError> {
    match judge(proof, leaf) {
        Err(ProofError::TotalTooLarge) => {
            Err(ProofError::NotPaid { leaf: leaf.hash(), entries: 5 })
        }
        other => other,
    }
}

#[test]
fn any_order_of_entries_is_as_good_and_merged_ones_are_not() {
    let paid = leaf([1, 1]);
    let mut proof = proof_of(&[paid.clone(), leaf([1, 2])]);
    proof.entries.reverse();
    proof.entries.swap(0, 7);
    assert_eq!(judge(&proof, &paid), Ok(()));

    // One payee five times is five entries, not one with the sum.
    let mut same = paid.clone();
    same.shares.iter_mut().for_each(|share| share.payee = payee(1));
    let mut merged = proof_of(std::slice::from_ref(&same));
    assert_eq!(judge(&merged, &same), Ok(()));
    merged.entries.truncate(1);
    merged.entries[0].share.amount = same.total();
    let refused = Err(ProofError::NotPaid { leaf: same.hash(), entries: 1 });
    assert_eq!(judge(&merged, &same), refused);
}

#[test]
fn counts_and_sizes() {
    let paid = leaf([1, 1]);
    let empty = DirectProof { entries: vec![], ..proof_of(&[]) };
    assert_eq!(judge(&empty, &paid), Err(ProofError::EntryCount { found: 0 }));
    let leaves: Vec<Leaf> = (0..101).map(|index| leaf([1, index])).collect();
    assert_eq!(judge(&proof_of(&leaves[..100]), &paid), Ok(()));
    assert_eq!(judge(&proof_of(&leaves), &paid), Err(ProofError::EntryCount { found: 505 }));

    // 2^96 + 5 has the same word as 5: it must not pass for it.
    let mut alias = proof_of(std::slice::from_ref(&paid));
    alias.entries[4].share.amount.0 += 1 << 96;
    assert_eq!(judge(&alias, &paid), Err(ProofError::AmountTooLarge { index: 4 }));
    let mut large = paid.clone();
    large.shares[4].amount.0 += 1 << 96;
    assert_eq!(large.hash(), paid.hash());
    let good = proof_of(std::slice::from_ref(&paid));
    assert_eq!(judge(&good, &large), Err(ProofError::ShareTooLarge { index: 4 }));

    let mut nobody = good.clone();
    nobody.entries.push(spillway_types::DirectEntry {
        share: spillway_types::Share { payee: RewardAddress::ZERO, amount: Atto(1) },
        leaf: LeafHash([0; 32]),
    });
    assert_eq!(judge(&nobody, &paid), Err(ProofError::ZeroPayee { index: 5 }));
    let mut total = good;
    total.entries.push(spillway_types::DirectEntry {
        share: spillway_types::Share { payee: payee(1), amount: Atto::MAX_SHARE },
        leaf: LeafHash([0; 32]),
    });
    assert_eq!(judge(&total, &paid), Err(ProofError::TotalTooLarge));
}
