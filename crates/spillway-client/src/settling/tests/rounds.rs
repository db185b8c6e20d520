//! What is settled together, and what reports say of it.

use super::*;

/// What a dry run says is what a run does then, but for what is sent.
#[tokio::test]
async fn a_dry_run_says_what_a_run_would_do() {
    let world = World::new().await;
    let wins = vec![world.won(world.terms), world.win((world.drawn() + 1) % 4)];
    let ask = async |dry_run| {
        let options = SettleOptions { wins: wins.clone(), dry_run, ..SettleOptions::default() };
        settle_known(&world.payments, &world.wallet, options).await.unwrap()
    };
    let (dry, run) = (ask(true).await, ask(false).await);
    for report in [&dry, &run] {
        let Settled { draws, tips, prizes, .. } = report.settled;
        assert_eq!((report.wins, draws, tips, prizes), (2, 1, Atto(7), Atto(2_000)));
        assert_eq!(report.payees.values().map(|amount| amount.0).sum::<u128>(), 2_000);
        assert_eq!((report.settled.skipped.len(), report.left_out.len()), (1, 1));
        assert!(report.settled.spend.gas_used > 0 && report.settled.spend.gas_cost > Wei(0));
    }
    assert_eq!(dry.settled.skipped, run.settled.skipped);
    assert_eq!((dry.settled.transactions, run.settled.transactions), (0, 1));
}

/// What several calls have settled is added up, and the draws are listed up to a limit.
#[test]
fn what_calls_have_settled_is_added_up() {
    let settled = |first: u32, draws: u32| Settled {
        transactions: 2,
        draws,
        tips: Atto(7),
        prizes: Atto(100),
        done: (first..first + draws).map(|at| (PaymentId([1; 32]), at.to_le_bytes()[0])).collect(),
        spend: Spend {
            paid: Atto(1),
            gas_used: 10,
            gas_cost: Wei(20),
            tx_hashes: vec![spillway_types::TxHash([3; 32])],
            ..Spend::default()
        },
        ..Settled::default()
    };
    let seed_spend = Spend { gas_used: 5, gas_cost: Wei(6), ..Spend::default() };
    let mut report = SettleReport { seed_spend, ..SettleReport::default() };
    let most = u32::try_from(SETTLE_ROUND).unwrap();
    report.add(settled(0, most - 1));
    report.add(settled(0, 3));
    let total = &report.settled;
    assert_eq!((total.transactions, total.draws, total.done.len()), (4, most + 2, SETTLE_ROUND));
    assert_eq!((total.tips, total.prizes), (Atto(14), Atto(200)));
    assert_eq!(total.spend.tx_hashes.len(), 2);
    let spend = report.spend();
    assert_eq!((spend.paid, spend.gas_used, spend.gas_cost), (Atto(2), 25, Wei(46)));
    let busy = WinsFailure::Refused(Refusal::Busy { after_ms: 20 });
    let retries = [WinsFailure::OutOfOrder, WinsFailure::TooMany, NONE.into(), busy.clone()]
        .map(|failure| failure.retry());
    let at_once = Retry::After(Duration::from_millis(20));
    assert_eq!(retries, [Retry::Never, Retry::Backoff, NONE.retry(), at_once]);
}

/// What is kept at once has a limit, and is settled when it is reached: a win that is shown again then is
/// a new one.
#[tokio::test]
async fn what_is_too_much_to_keep_is_settled_in_between() {
    let world = World::new().await;
    let win = world.win(world.drawn());
    let none = |number: usize| {
        let upload_by = UnixTime(number as u64);
        Win { terms: BatchTerms { upload_by, ..world.terms }, ..win.clone() }
    };
    for (others, wins) in
        [(SETTLE_ROUND - 2, SETTLE_ROUND - 1), (SETTLE_ROUND - 1, SETTLE_ROUND + 1)]
    {
        let mut shown = vec![win.clone()];
        shown.extend((1..=others).map(none));
        shown.push(win.clone());
        let options = SettleOptions { wins: shown, dry_run: true, ..SettleOptions::default() };
        let report = settle_known(&world.payments, &world.wallet, options).await.unwrap();
        assert_eq!((report.wins, report.refused()), (wins as u64, 0));
        let left_out: u64 = report.left_out.values().sum();
        assert_eq!(left_out, others as u64);
    }
}
