mod downloads;

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use spillway_client::{
    AccountError, BatchRefused, ChainError, ChunkFailure, ConnectError, DiskError, DownloadError,
    ForgetError, NetError, Offer, PayError, PayFailure, PaymentMode, PeersError, RefundReport,
    RefundedBatch, SessionError, SourceError, Spend, Stakes, UploadError,
};
use spillway_node::NodeError;
use spillway_types::{
    Atto, ChunkAddress, EvmAddress, PaymentId, PeerSecret, TxHash, UnixTime, Wei,
};

use super::*;

const ADDRESS: ChunkAddress = ChunkAddress([0xab; 32]);
const ACCOUNT: EvmAddress = EvmAddress([0x11; 20]);
const OF: Of<'static> = Of { session: Some("s-1"), is_stream: false };

fn code(failure: impl Into<Failure>) -> Code {
    failure.into().code
}

fn path() -> PathBuf {
    PathBuf::from("file")
}

fn payment(failure: PayFailure) -> UploadError {
    let source = Box::new(PayError::from(failure));
    UploadError::Payment { source, spend: spend() }
}

fn spend() -> Spend {
    Spend {
        storage_cost: Atto(7),
        tips: Atto(2),
        gas_used: 6,
        gas_cost: Wei(7),
        tx_hashes: vec![TxHash([1; 32])],
        ..Spend::default()
    }
}

fn offer() -> Offer {
    Offer {
        mode: Some(PaymentMode::Direct),
        reason: None,
        storage_cost: Atto(1),
        tips: Atto::ZERO,
        gas: 1,
        gas_cost: Wei(1),
        chunks_to_pay: 1,
        chunks_later: 0,
        chunks_already_stored: 0,
    }
}

fn partial(cause: Option<UploadError>) -> UploadError {
    UploadError::PartialUpload {
        session: "session".into(),
        bytes: 9,
        payment_mode: Some(PaymentMode::Direct),
        mode_reason: None,
        stored: vec![ChunkAddress([1; 32])],
        already_stored: vec![],
        failed: vec![(ADDRESS, ChunkFailure::WindowOver)],
        paid_unstored: vec![ADDRESS],
        total: 2,
        spend: spend(),
        cause: cause.map(Box::new),
    }
}

#[test]
fn a_failure_is_one_line_and_one_object() {
    let failure = Failure::new(Code::NotFound, "no\nsuch file")
        .hint("check the path")
        .detail("path", "no\nsuch file");
    assert_eq!(failure.to_string(), "no\u{fffd}such file; check the path");
    assert_eq!(
        failure.to_json("exit_error"),
        r#"{"message_type":"exit_error","code":10,"message":"no\nsuch file","hint":"check the path","path":"no\nsuch file"}"#
    );
}

#[test]
fn files_that_are_not_there_or_locked_have_codes() {
    assert_eq!(code(DiskError::NotFound { path: path() }), Code::NotFound);
    assert_eq!(code(DiskError::Locked { path: path() }), Code::Locked);
    assert_eq!(code(DiskError::Exists { path: path() }), Code::Failure);
    let missing = SourceError::Disk(DiskError::NotFound { path: path() });
    assert_eq!(code(UploadError::Source(missing)), Code::NotFound);
    assert_eq!(code(UploadError::Source(SourceError::Changed { path: path() })), Code::Failure);
    assert_eq!(code(UploadError::Busy { session: "s".into() }), Code::Locked);
}

#[test]
fn what_may_work_later_is_code_5() {
    let endpoint = "http://127.0.0.1:1".to_owned();
    let after = Duration::from_secs(1);
    let peer = PeerSecret::from_seed(&[1; 32]).peer();
    assert_eq!(code(UploadError::Network(PeersError::NoPeers)), Code::TryAgain);
    assert_eq!(code(DownloadError::Network(PeersError::Unreachable { peer })), Code::TryAgain);
    assert_eq!(code(ConnectError::Network(NetError::Unreachable { after })), Code::TryAgain);
    let unreachable = || ChainError::Unreachable { endpoint: endpoint.clone() };
    assert_eq!(code(ConnectError::Chain(unreachable())), Code::TryAgain);
    assert_eq!(code(UploadError::Chain(unreachable())), Code::TryAgain);
    assert_eq!(code(NodeError::Chain(unreachable())), Code::TryAgain);
    assert_eq!(code(payment(PayFailure::Chain(unreachable()))), Code::TryAgain);
    // Another server behind the same URL, or this one in a moment.
    let behind = Failure::from(&ChainError::Behind);
    assert_eq!(
        (behind.code, behind.to_string().as_str()),
        (Code::TryAgain, "the RPC is behind; try again later")
    );
    assert_eq!(code(UploadError::Undecided { valid_until: UnixTime(1) }), Code::TryAgain);
    let few =
        UploadError::TooFewQuotes { address: ADDRESS, good: 4, asked: 10, dropped: 6, last: None };
    assert_eq!(code(few), Code::TryAgain);
    let nobody = DownloadError::NotFound { address: ADDRESS, asked: 10 };
    assert_eq!(code(nobody), Code::NotFound);
}

#[test]
fn what_may_work_later_names_the_command_that_goes_on() {
    let hint = |error| Failure::of_upload(&error, OF).hint.unwrap();
    assert_eq!(
        hint(UploadError::Undecided { valid_until: UnixTime(1) }),
        "nothing was paid again; try again when the chain has moved on; `spillway resume s-1` goes on"
    );
    // The same with a higher cap is not the same.
    let over = UploadError::OverCost { cost: Atto(2), cap: Atto(1) };
    assert_eq!(hint(over), "nothing more was paid; raise --max-cost to go on");
}

#[test]
fn sessions_have_codes_and_say_what_to_do() {
    let session = || "s-1".to_owned();
    let none = SessionError::NotFound { session: session() };
    assert_eq!(
        Failure::from(none).to_string(),
        "there is no session s-1; `spillway status` lists the names"
    );
    assert_eq!(code(SessionError::Ambiguous { session: session(), found: 2 }), Code::Usage);
    assert_eq!(code(SessionError::Busy { session: session() }), Code::Locked);
    let other = SessionError::OtherPayer { session: session(), payer: ACCOUNT };
    assert_eq!(code(UploadError::Session(other)), Code::Failure);
    let over = Failure::from(UploadError::HandedOver { session: session(), at: UnixTime(1) });
    let hint = "`spillway session import FILE` takes it back; `spillway forget s-1` begins anew, and pays \
                anew for all that it has paid";
    assert_eq!((over.code, over.hint.as_deref()), (Code::Failure, Some(hint)));
    let lost = UploadError::LostChunks { session: session(), lost: vec![ADDRESS] };
    let lost = Failure::from(lost);
    assert_eq!(lost.details["lost"], json!([ADDRESS.to_string()]));
    let hint = "run `spillway upload` of the same contents, with the same --public and --secret-file; \
                what is paid stays paid";
    assert_eq!(lost.hint.unwrap(), hint);
    // With no other key: an export asks for none.
    let other = SessionError::OtherPayer { session: session(), payer: ACCOUNT };
    assert_eq!(
        Failure::of_export(&other).hint.as_deref(),
        Some("it uses a payment of that wallet, which is not its own, so it stays here")
    );
    let unasked = UploadError::ImportedPlans { session: session(), cost: Atto(2) };
    let hint = "nothing of them was paid; say --max-cost, or go on without --yes";
    assert_eq!(Failure::of_upload(&unasked, OF).hint.unwrap(), hint);
}

#[test]
fn what_pays_twice_says_so() {
    let session = || "s-1".to_owned();
    let what = "checksum".to_owned();
    let damaged = UploadError::DamagedSession { session: session(), what };
    let hint = "it is left as it is, for a look; with its directory moved away uploading begins anew, and \
                pays anew for all that it has paid";
    assert_eq!(Failure::from(damaged).hint.unwrap(), hint);
    let here = Failure::from(SessionError::AlreadyHere { session: session() });
    let hint = "nothing was taken over; `spillway resume s-1` goes on with what is paid here, and pays \
                again for what only the archive has paid";
    assert_eq!(here.hint.as_deref(), Some(hint));
    let hint = "nothing was taken over, and nothing would be lost here: `spillway forget s-1`, then import \
                again; going on here pays again for what the archive has paid";
    let unpaid = here.already_here("s-1", None);
    assert_eq!((unpaid.hint.as_deref(), unpaid.code), (Some(hint), Code::Failure));
    assert_eq!(unpaid.details["upload_id"], "s-1");
}

#[test]
fn what_would_be_lost_is_said_with_its_times() {
    let stakes = Stakes {
        unstored_chunks: 2,
        unstored: Atto(10u128.pow(18)),
        store_until: Some(UnixTime(1_795_260_315)),
        undecided_payments: 1,
        undecided: Atto(3),
        refundable_batches: 1,
        refundable: Atto(2 * 10u128.pow(18)),
        refundable_from: Some(UnixTime(1_795_260_315)),
    };
    let error = ForgetError::AtStake { session: "s-1".into(), stakes: Box::new(stakes) };
    let failure = Failure::from(error);
    assert_eq!(failure.code, Code::Failure);
    assert_eq!(
        failure.to_string(),
        "session s-1 is kept: with it would be lost 2 chunks, paid for with 1 tokens, not stored yet; \
         1 payment of 0.000000000000000003 tokens, signed and perhaps taken; up to 2 tokens that may \
         come back; `spillway resume s-1` goes on until 2026-11-21 11:25:15 UTC; `spillway refund s-1` \
         takes back what nobody claims from 2026-11-21 11:25:15 UTC on; --even-paid gives all of it up"
    );
    assert_eq!(failure.details["unstored_atto"], "1000000000000000000");
    assert_eq!(failure.details["refundable_from"], 1_795_260_315);
}

#[test]
fn money_has_codes() {
    let tokens = PayFailure::NotEnoughTokens { needed: Atto(2), found: Atto(1) };
    assert_eq!(code(payment(tokens)), Code::NoFunds);
    let coins = PayFailure::NotEnoughCoins { needed: Wei(2), found: Wei(1) };
    assert_eq!(code(payment(coins)), Code::NoFunds);
    assert_eq!(code(UploadError::Chain(ChainError::NotEnoughCoins)), Code::NoFunds);
    let over = UploadError::OverCost { cost: Atto(2), cap: Atto(1) };
    assert_eq!(code(over), Code::OverCap);
    let over = UploadError::OverGasCost { cost: Wei(2), cap: Wei(1) };
    assert_eq!(code(over), Code::OverCap);
    let over = PayFailure::OverGasCost { cost: Wei(2), cap: Wei(1) };
    assert_eq!(code(payment(over)), Code::OverCap);
    assert_eq!(code(PayError::from(PayFailure::Locked { wallet: ACCOUNT })), Code::Locked);
    assert_eq!(code(UploadError::Declined { offer: offer() }), Code::Failure);
    let declined = Failure::of_upload(&UploadError::Declined { offer: offer() }, OF);
    assert_eq!(
        declined.kept(Some("s-1")).hint.unwrap(),
        "nothing was paid; its sealed chunks stay, they may be all that there is: `spillway forget s-1` \
         removes them"
    );
    let other = PayFailure::WrongChain { expected: 1, found: 2 };
    assert_eq!(code(ConnectError::Payments(other.into())), Code::Failure);
}

#[test]
fn no_batch_says_why_and_that_nothing_was_charged() {
    let said = |refused| Failure::from(UploadError::NoBatch(refused));
    let small = said(BatchRefused::PrizeTooSmall {
        prize: Atto(10u128.pow(15)),
        least: Atto(6 * 10u128.pow(15)),
    });
    assert_eq!(small.code, Code::Failure);
    assert_eq!(
        small.to_string(),
        "no batch payment: a batch is too small to be worth settling: a prize of 0.001 tokens, at \
         least 0.006; nothing was charged; say --mode direct, or upload more at once"
    );
    assert_eq!(small.details["prize_atto"], "1000000000000000");
    assert_eq!(small.details["least_prize_atto"], "6000000000000000");
    let large = said(BatchRefused::PrizeTooLarge { prize: Atto(2), most: Atto(1) });
    assert_eq!(large.code, Code::Failure);
    assert_eq!(
        large.hint.as_deref(),
        Some("nothing was charged; say a smaller --batch-leaves, or --mode direct")
    );
    let behind = said(BatchRefused::BeaconBehind { latest: UnixTime(1_795_260_315) });
    assert_eq!(behind.code, Code::TryAgain);
    assert_eq!(
        behind.to_string(),
        "no batch payment: the beacon is behind, its newest seed is of 1795260315; nothing was \
         charged; try again later, or say --mode direct"
    );
    assert_eq!(said(BatchRefused::NotTaken).code, Code::TryAgain);
    let zero = said(BatchRefused::ZeroLeaf { address: ADDRESS });
    assert_eq!(zero.hint.as_deref(), Some("nothing was charged; say --mode direct"));
}

#[test]
fn a_refund_that_fails_says_what_came_back_before() {
    let mut error = PayError::from(PayFailure::NotEnoughCoins { needed: Wei(2), found: Wei(1) });
    error.spend.tx_hashes = vec![TxHash([1; 32])];
    error.spend.gas_used = 6;
    let batch = RefundedBatch { session: "a".into(), payment: PaymentId([2; 32]), amount: Atto(3) };
    let report = RefundReport { refunded: vec![batch], ..RefundReport::default() };
    let failure = Failure::from(AccountError::from(error)).after_refunds(&report);
    assert_eq!(failure.code, Code::NoFunds);
    assert_eq!(failure.details["gas_used"], 6);
    assert_eq!(failure.details["refunded"], json!([PaymentId([2; 32]).to_string()]));
    assert_eq!(failure.details["refunded_atto"], "3");
    let locked = PayError::from(PayFailure::Locked { wallet: ACCOUNT });
    assert_eq!(Failure::from(AccountError::from(locked)).details.get("gas_used"), None);
}

#[test]
fn a_failure_after_paying_says_what_was_spent() {
    let failure = Failure::from(payment(PayFailure::NoVault { vault: ACCOUNT }));
    assert_eq!(failure.details["storage_cost_atto"], "5");
    assert_eq!(failure.details["tip_atto"], "2");
    assert_eq!(failure.details["gas_used"], 6);
    assert_eq!(failure.details["gas_cost_wei"], "7");
    assert_eq!(failure.details["tx_hashes"], json!([TxHash([1; 32]).to_string()]));
}

#[test]
fn what_is_over_does_not_stay_paid() {
    let hint = |mode, reason: ChunkFailure, cause: Option<UploadError>| {
        let mut error = partial(cause);
        if let UploadError::PartialUpload { payment_mode, failed, .. } = &mut error {
            *payment_mode = Some(mode);
            failed[0].1 = reason;
        }
        Failure::from(error).hint.unwrap()
    };
    let over = "the upload window of some chunks is over: `spillway resume session`, 60 minutes after \
                its end, pays for these anew; ";
    let batch = "what nobody claims of its batches comes back with `spillway refund`";
    for cause in [None, Some(UploadError::Interrupted)] {
        assert_eq!(
            hint(PaymentMode::Batch, ChunkFailure::WindowOver, cause),
            format!("{over}{batch}; `spillway status` says when")
        );
    }
    assert_eq!(
        hint(PaymentMode::Direct, ChunkFailure::WindowOver, None),
        format!("{over}a direct payment does not come back; `spillway status` says when")
    );
    assert_eq!(
        hint(PaymentMode::Batch, ChunkFailure::NotPaid, None),
        "`spillway resume session` goes on, as the same command does; what is paid stays paid"
    );
}

/// What is lost cannot be stored by going on, only by whoever has the contents; that is so before the
/// upload window is over, too.
#[test]
fn paid_chunks_whose_bytes_are_lost_need_their_contents() {
    let hint = |reasons: Vec<ChunkFailure>, cause: Option<UploadError>| {
        let mut error = partial(cause);
        if let UploadError::PartialUpload { failed, .. } = &mut error {
            *failed = reasons.into_iter().map(|reason| (ADDRESS, reason)).collect();
        }
        Failure::from(error).hint.unwrap()
    };
    let run = "run `spillway upload` of the same contents, with the same --public and --secret-file for the";
    let lost = vec![ChunkFailure::NotPaid, ChunkFailure::LostBytes];
    let stays = "what is paid stays paid";
    let one = format!("{run} 1 chunk that is lost; {stays}");
    assert_eq!(hint(lost.clone(), None), one);
    assert_eq!(hint(lost.clone(), Some(UploadError::Interrupted)), one);
    // Those that are not paid are lost besides.
    let unpaid = UploadError::LostChunks { session: "session".into(), lost: vec![ADDRESS] };
    assert_eq!(hint(lost, Some(unpaid)), format!("{run} 2 chunks that are lost; {stays}"));
    let late = hint(vec![ChunkFailure::WindowOver, ChunkFailure::LostBytes], None);
    let over = "the upload window of some chunks is over: `spillway resume session`, ";
    assert!(late.starts_with(&format!("{run} 1 chunk that is lost; {over}")), "{late}");
}

/// Without a name for the data map it would be asked for one, and nothing would be done.
#[test]
fn what_came_from_standard_input_goes_on_with_a_name_for_its_data_map() {
    let hint =
        |error: UploadError| Failure::of_upload(&error, Of { is_stream: true, ..OF }).hint.unwrap();
    let stays = "goes on, as the same command does; what is paid stays paid";
    assert_eq!(hint(UploadError::Interrupted), format!("`spillway resume s-1 -o FILE` {stays}"));
    let late = hint(partial(Some(UploadError::Interrupted)));
    assert!(late.contains("`spillway resume session -o FILE`, 60 minutes after"), "{late}");
    let mut open = partial(Some(UploadError::Interrupted));
    if let UploadError::PartialUpload { failed, .. } = &mut open {
        failed[0].1 = ChunkFailure::NotPaid;
    }
    assert_eq!(hint(open), format!("`spillway resume session -o FILE` {stays}"));
    let later = hint(UploadError::Undecided { valid_until: UnixTime(1) });
    assert!(later.ends_with("; `spillway resume s-1 -o FILE` goes on"), "{later}");
    let stakes = Stakes { unstored_chunks: 1, ..Stakes::default() };
    let kept = Failure::at_stake("s-1".into(), &stakes, true).hint.unwrap();
    assert!(kept.starts_with("`spillway resume s-1 -o FILE` goes on; "), "{kept}");
    let here = Failure::from(SessionError::AlreadyHere { session: "s-1".into() });
    let here = here.already_here("s-1", Some(true)).hint.unwrap();
    assert!(
        here.contains("`spillway resume s-1 -o FILE` goes on with what is paid here"),
        "{here}"
    );
}

/// Going on as told would fail the same way again.
#[test]
fn a_partial_upload_says_first_what_to_do_about_its_cause() {
    let said = |cause| {
        let mut error = partial(Some(cause));
        if let UploadError::PartialUpload { failed, .. } = &mut error {
            failed[0].1 = ChunkFailure::NotPaid;
        }
        (is_declined(&error), Failure::from(error))
    };
    let go_on =
        "`spillway resume session` goes on, as the same command does; what is paid stays paid";
    let (_, over) = said(UploadError::OverCost { cost: Atto(9), cap: Atto(8) });
    assert_eq!(over.code, Code::PartialUpload);
    let first = "nothing more was paid; raise --max-cost to go on";
    assert_eq!(over.hint, Some(format!("{first}; {go_on}")));
    assert_eq!(over.details["cause_code"], 14);
    assert_eq!(over.details["max_cost_atto"], "8");
    // What was spent is that of all of it.
    assert_eq!(over.details["storage_cost_atto"], "5");
    let found = PayFailure::NotEnoughTokens { needed: Atto(2), found: Atto(1) };
    let (_, poor) = said(payment(found));
    assert_eq!(
        (&poor.details["needed_atto"], &poor.details["cause_code"]),
        (&"2".into(), &13.into())
    );
    let few =
        UploadError::TooFewQuotes { address: ADDRESS, good: 4, asked: 10, dropped: 6, last: None };
    let hint = format!("nothing more was paid; try again later; {go_on}");
    assert_eq!(said(few).1.hint, Some(hint));
    // Earlier batches were paid.
    let (_, small) = said(UploadError::NoBatch(BatchRefused::NotTaken));
    let first = "nothing more was charged; try again later, or say --mode direct";
    assert_eq!(small.hint, Some(format!("{first}; {go_on}")));
    let (declined, said) = said(UploadError::Declined { offer: offer() });
    assert!(declined);
    assert_eq!(said.hint, Some(format!("nothing more was paid; {go_on}")));
    let unasked = said.unasked();
    assert_eq!(unasked.code, Code::PartialUpload);
    let yes = "say --yes to pay without asking, and --max-cost for a limit";
    assert_eq!(unasked.hint, Some(format!("{yes}; nothing more was paid; {go_on}")));
    assert_eq!(unasked.details["cause_code"], 2);
}

#[test]
fn where_nobody_can_be_asked_that_is_the_reason() {
    let error = UploadError::Declined { offer: offer() };
    assert!(is_declined(&error));
    let failure = Failure::of_upload(&error, OF).unasked();
    assert_eq!(failure.code, Code::Usage);
    assert_eq!(
        failure.to_string(),
        "nobody can be asked whether the price is right; say --yes to pay without asking, and --max-cost \
         for a limit; nothing was paid"
    );
    assert_eq!(failure.details["upload_id"], "s-1");
    assert!(!is_declined(&UploadError::Interrupted) && !is_declined(&partial(None)));
}

#[test]
fn a_partial_upload_lists_what_is_missing() {
    let failure = Failure::from(partial(None));
    assert_eq!(failure.code, Code::PartialUpload);
    let address = ADDRESS.to_string();
    assert_eq!(failure.details["paid_unstored"], json!([address]));
    assert_eq!(
        failure.details["failed"],
        json!([{"address": address, "reason": "its upload window is over"}])
    );
    assert_eq!(code(partial(Some(UploadError::Interrupted))), Code::Interrupted);
    assert_eq!(code(UploadError::Interrupted), Code::Interrupted);
    let go_on = Failure::from(UploadError::Interrupted).hint;
    assert_eq!(
        go_on.as_deref(),
        Some("run the same command again to go on; what is paid stays paid")
    );
    let known = Failure::of_upload(&UploadError::Interrupted, OF);
    assert_eq!(
        known.hint.as_deref(),
        Some("`spillway resume s-1` goes on, as the same command does; what is paid stays paid")
    );
    assert_eq!(known.details["upload_id"], "s-1");
    // Where nothing is paid, nothing is said of it.
    assert_eq!(Failure::from(&NetError::Closed).to_string(), "interrupted");
    assert_eq!(code(DownloadError::Interrupted), Code::Interrupted);
}
