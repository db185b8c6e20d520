use spillway_types::{EvmAddress, NetworkId, PaymentId, UnixTime, Wei};

use super::*;
use crate::args::{AccountOnChainArgs, DataArgs};

fn args(dry_run: bool) -> Refund {
    Refund {
        sessions: vec!["a".into()],
        dry_run,
        data: DataArgs::default(),
        account: AccountOnChainArgs::default(),
    }
}

fn waiting(due: bool) -> Refundable {
    Refundable {
        session: "a".into(),
        payment: PaymentId([2; 32]),
        draws: 16,
        settled: 3,
        amount: Atto(1_500_000_000_000_000_000),
        from: UnixTime(1_795_260_315),
        due,
    }
}

fn report() -> RefundReport {
    let amount = Atto(250_000_000_000_000_000);
    let mut report = RefundReport {
        refunded: vec![RefundedBatch { session: "a".into(), payment: PaymentId([1; 32]), amount }],
        waiting: vec![waiting(false)],
        busy: vec!["b".into()],
        unreadable: vec![UnreadableSession { session: "c".into(), why: "a gap".into() }],
        ..RefundReport::default()
    };
    report.spend.gas_used = 50_000;
    report.spend.gas_cost = Wei(100_000_000_000_000);
    report.spend.tx_hashes = vec![spillway_types::TxHash([3; 32])];
    report
}

#[test]
fn what_came_back_and_what_may_is_said() {
    let [one, two, three] = [1, 2, 3].map(|byte: u8| format!("0{byte}").repeat(32));
    assert_eq!(
        text(&report(), &[], &args(false)),
        format!(
            "0.25 tokens came back of batch 0x{one} of upload a.\n1.5 tokens of batch 0x{two} \
             of upload a can be refunded from 2026-11-21 11:25:15 UTC (1795260315) on, if no \
             further draw is settled; 3 of 16 are.\nAnother process works on upload \
             b.\nUpload c cannot be read: a gap.\nRefunded 0.25 tokens for 0.0001 coins of gas, in 1 transaction.\n"
        )
    );
    assert_eq!(
        serde_json::to_string(&summary(&report(), Vec::new(), &args(false))).unwrap(),
        format!(
            r#"{{"dry_run":false,"refunded":[{{"upload_id":"a","payment":"0x{one}","amount_atto":"250000000000000000"}}],"refundable":[{{"upload_id":"a","payment":"0x{two}","draws":16,"settled":3,"amount_atto":"1500000000000000000","from":1795260315,"from_utc":"2026-11-21 11:25:15 UTC","due":false}}],"busy":["b"],"unreadable":[{{"upload_id":"c","reason":"a gap"}}],"refused":[],"elsewhere":[],"refunded_atto":"250000000000000000","gas_used":50000,"gas_cost_wei":"100000000000000","tx_hashes":["0x{three}"]}}"#
        )
    );
}

#[test]
fn a_dry_run_says_what_would_come_back() {
    let report = RefundReport { waiting: vec![waiting(true)], ..RefundReport::default() };
    let two = "02".repeat(32);
    assert_eq!(
        text(&report, &[], &args(true)),
        format!(
            "1.5 tokens of batch 0x{two} of upload a can be refunded now, if no further draw is \
             settled; 3 of 16 are.\nNow 1.5 tokens would come back.\n"
        )
    );
    assert_eq!(text(&RefundReport::default(), &[], &args(true)), "Nothing can be refunded.\n");
}

/// That nothing is due here says nothing of uploads to other networks.
#[test]
fn uploads_that_were_paid_elsewhere_are_named() {
    let domain = |vault| Domain {
        network: NetworkId([7; 32]),
        chain_id: 42_161,
        vault: EvmAddress([vault; 20]),
    };
    let paid = |vault, refunded| BatchStatus {
        payment: PaymentId([1; 32]),
        domain: domain(vault),
        recorded: None,
        upload_by: UnixTime(1),
        draw_time: None,
        refundable_from: None,
        draws: 1,
        escrow: Atto(5),
        refundable: None,
        refunded,
    };
    let session =
        |id: &str, batches| SessionStatus { id: id.into(), batches, ..SessionStatus::default() };
    let sessions = [
        session("a", vec![paid(2, None), paid(1, None), paid(2, None)]),
        session("b", vec![paid(2, Some(Atto(5)))]),
        session("c", vec![paid(3, None)]),
    ];
    let everything = Refund { sessions: Vec::new(), ..args(false) };
    let ids = |args: &Refund| {
        let found = elsewhere(&sessions, &domain(1), args);
        found.iter().map(|it| it.upload_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&everything), ids(&args(false))),
        (vec!["a".into(), "c".into()], vec!["a".into()])
    );
    let found = elsewhere(&sessions, &domain(1), &args(false));
    let (vault, network) = ("02".repeat(20), NetworkId([7; 32]));
    assert_eq!(
        text(&RefundReport::default(), &found, &args(false)),
        format!(
            "Upload a was paid elsewhere, which was not asked: chain 42161, vault 0x{vault}, \
             network {network}.\nNothing can be refunded here: name the chain and the vault of \
             the upload.\n"
        )
    );
    let json = summary(&RefundReport::default(), found, &args(false));
    let json = serde_json::to_value(json).unwrap();
    assert_eq!(json["elsewhere"][0]["chain_id"], 42_161);
    assert_eq!(json["elsewhere"][0]["vault"], format!("0x{vault}"));
}

#[test]
fn what_is_refused_is_said_and_no_success() {
    let mut report = RefundReport::default();
    report.refused.push(RefusedRefund {
        session: "a".into(),
        payment: PaymentId([4; 32]),
        amount: Atto(1_500_000_000_000_000_000),
        reason: Some("TransferFailed()".into()),
    });
    let four = "04".repeat(32);
    let said = text(&report, &[], &args(false));
    let line = format!(
        "1.5 tokens of batch 0x{four} of upload a did not come back, the chain refused: \
         TransferFailed().\n"
    );
    assert!(said.starts_with(&line), "{said}");
    let json = serde_json::to_value(summary(&report, Vec::new(), &args(false))).unwrap();
    assert_eq!(json["refused"][0]["payment"], format!("0x{four}"));
    assert_eq!(json["refused"][0]["amount_atto"], "1500000000000000000");
    assert_eq!(json["refused"][0]["reason"], "TransferFailed()");
    let failure = left_open(&report).unwrap_err();
    assert_eq!(
        (failure.code, &*failure.message),
        (Code::Failure, "the chain refused to refund 1 batch")
    );
}

#[test]
fn what_is_not_known_is_no_success() {
    let mut report = report();
    assert_eq!(left_open(&report).unwrap_err().code, Code::Failure);
    report.unreadable.clear();
    assert_eq!(left_open(&report).unwrap_err().code, Code::Locked);
    report.busy.clear();
    left_open(&report).unwrap();
}

#[test]
fn an_upload_that_is_not_there_is_named() {
    let failure = known(&["b".into()], &args(false)).unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
    assert_eq!(failure.to_string(), "there is no upload a; `spillway status` lists them");
    known(&["a".into()], &args(false)).unwrap();
}
