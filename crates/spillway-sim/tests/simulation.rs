//! The simulator itself: it repeats itself, it does something, and it can fail.

use std::ops::ControlFlow;

use spillway_sim::{Promise, Sabotage, SimOptions, Strike, simulate, simulate_all};

/// Seeds of the test that looks at many.
const MANY: u64 = 100;

/// Seeds in which what is broken on purpose must be noticed.
const ENOUGH: u64 = 200;

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..12 {
        let keep = SimOptions { keep_trace: true, sabotage: None };
        let (first, second) = (simulate(seed, keep), simulate(seed, keep));
        let differs = first.lines.iter().zip(&second.lines).position(|(a, b)| a != b);
        if let Some(at) = differs {
            let from = at.saturating_sub(3);
            let (first, second) = (&first.lines[from..=at], &second.lines[from..=at]);
            panic!("seed {seed} differs at call {at}:\n{first:#?}\n{second:#?}");
        }
        assert_eq!((first.trace, first.calls), (second.trace, second.calls), "seed {seed}");
        // Whether anybody reads along changes nothing.
        assert_eq!(simulate(seed, SimOptions::default()).trace, first.trace);
        traces.insert(*first.trace.as_bytes());
    }
    assert_eq!(traces.len(), 12, "other seeds, other traces");
}

#[test]
fn threads_change_nothing() {
    let traces = |threads| {
        let all = std::sync::Mutex::new(std::collections::BTreeMap::new());
        simulate_all((100, 8), threads, |outcome| {
            all.lock().unwrap().insert(outcome.seed, outcome.trace.to_hex().to_string());
            ControlFlow::Continue(())
        });
        all.into_inner().unwrap()
    };
    assert_eq!(traces(1), traces(3));
}

#[test]
fn promises_hold_and_everything_happens() {
    let summary = simulate_all((1, MANY), 2, |_| ControlFlow::Continue(()));
    assert_eq!(summary.violations, []);
    assert_eq!(summary.seeds, MANY);
    assert!(summary.ends.done >= MANY, "every seed ends well at least once: {:?}", summary.ends);
    assert!(summary.ends.died > MANY / 4, "{:?}", summary.ends);
    assert!(summary.ends.failed > 0 && summary.calls > MANY * 100, "{summary:?}");
    for strike in [
        Strike::LieReceiptNonce,
        Strike::LieReceiptKey,
        Strike::LieReceiptPayment,
        Strike::LieHas,
        Strike::LieHasNot,
        Strike::NodeLoses,
        Strike::CopiesLost,
        Strike::HandOver,
        Strike::HandOverDies,
        Strike::Repair,
    ] {
        let count = summary.strikes[strike as usize];
        assert!(count >= 1, "{} struck {count} times", strike.name());
    }
    let struck = summary.strikes.iter().filter(|&&count| count > 0).count();
    assert!(struck * 3 > Strike::ALL.len() * 2, "{struck} kinds of trouble: {summary:?}");
}

/// What is broken on purpose is found in some seed, and nothing else is said to be broken.
fn is_found(sabotage: Sabotage, promises: &[Promise]) {
    let options = SimOptions { keep_trace: false, sabotage: Some(sabotage) };
    let found = (1..=ENOUGH).find_map(|seed| simulate(seed, options).violation);
    let found = found.unwrap_or_else(|| panic!("{sabotage:?} is not noticed"));
    assert!(promises.contains(&found.promise), "{sabotage:?}: {found}");
}

#[test]
fn a_vault_that_charges_twice_breaks_i1() {
    is_found(Sabotage::ChargesTwice, &[Promise::I1]);
}

#[test]
fn sessions_that_were_never_durable_break_i2() {
    is_found(Sabotage::SessionsForgotten, &[Promise::I1, Promise::I2]);
}

#[test]
fn sealed_chunks_that_were_never_durable_break_i2() {
    is_found(Sabotage::SpillForgotten, &[Promise::I2]);
}

#[test]
fn nodes_that_sign_for_what_they_throw_away_break_i3() {
    is_found(Sabotage::HollowNodes, &[Promise::I3]);
}

#[test]
fn copies_on_distant_nodes_break_i3() {
    is_found(Sabotage::DistantCopies, &[Promise::I3, Promise::I6]);
}

#[test]
fn what_is_verified_by_word_alone_breaks_i3() {
    is_found(Sabotage::SaysItHas, &[Promise::I2, Promise::I3]);
}

#[test]
fn a_repair_that_nobody_keeps_breaks_i6() {
    is_found(Sabotage::HollowOffers, &[Promise::I6, Promise::Finishes]);
}

#[test]
fn a_copy_that_goes_on_after_it_was_handed_over_breaks_i1() {
    is_found(Sabotage::CopyGoesOn, &[Promise::I1]);
}

#[test]
fn an_import_that_loses_chunks_breaks_i2() {
    is_found(Sabotage::ImportLosesChunks, &[Promise::I2]);
}

#[test]
fn a_spend_that_is_forgotten_after_a_reorganisation_breaks_i1() {
    is_found(Sabotage::UnderstatesSpend, &[Promise::I1]);
}

#[test]
fn writing_beside_our_own_files_breaks_i4() {
    is_found(Sabotage::WritesElsewhere, &[Promise::I4]);
}

#[test]
fn a_spill_that_nobody_needs_and_nobody_removes_breaks_i5() {
    is_found(Sabotage::LeavesSpill, &[Promise::I5]);
}

#[test]
fn a_result_that_leaves_out_a_chunk_breaks_i6() {
    is_found(Sabotage::HidesFailure, &[Promise::I6]);
}
