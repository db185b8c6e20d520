use spillway_client::{SessionStage, Spend, Stakes};
use spillway_types::{EvmAddress, NetworkId};

use super::*;

const FROM: UnixTime = UnixTime(1_795_260_315);
const HALF: Atto = Atto(500_000_000_000_000_000);

const fn domain(vault: u8) -> Domain {
    Domain { network: NetworkId([1; 32]), chain_id: 42_161, vault: EvmAddress([vault; 20]) }
}

fn paid(id: u8, refunded: Option<Atto>) -> BatchStatus {
    BatchStatus {
        payment: PaymentId([id; 32]),
        domain: domain(9),
        recorded: Some(UnixTime(1_792_570_000)),
        upload_by: UnixTime(1_792_580_115),
        draw_time: Some(UnixTime(1_792_581_015)),
        refundable_from: Some(FROM),
        draws: 16,
        escrow: HALF,
        refundable: None,
        refunded,
    }
}

fn upload(batches: Vec<BatchStatus>, refunded: Atto) -> SessionStatus {
    SessionStatus {
        id: "a".into(),
        source: "movie.mkv".into(),
        bytes: 20_000_000_000,
        chunks_total: 5_000,
        chunks_paid: 5_000,
        chunks_stored: 5_000,
        spend: Spend {
            storage_cost: Atto(2 * HALF.0),
            tips: Atto(HALF.0 / 5),
            refunded,
            ..Spend::default()
        },
        batches,
        stage: SessionStage::Finished,
        finished: true,
        ..SessionStatus::default()
    }
}

fn on_chain(id: u8, amount: Atto) -> OnChain {
    let found = Refundable {
        session: "a".into(),
        payment: PaymentId([id; 32]),
        draws: 16,
        settled: 15,
        amount,
        from: FROM,
        due: true,
    };
    OnChain { domain: domain(9), found: BTreeMap::from([(found.payment, found)]) }
}

const LINE: &str =
    "finished    a  20.00 GB in 5000 chunks, 5000 paid, 5000 stored, 1 tokens  movie.mkv\n";

#[test]
fn what_may_come_back_is_said_with_its_time() {
    let both = [upload(vec![paid(1, None), paid(2, None)], Atto::ZERO)];
    let soon = UnixTime(FROM.0 - 1);
    let open = "at most 1 tokens can be refunded from 2026-11-21 11:25:15 UTC (1795260315) on";
    assert_eq!(report(&both, None, soon), format!("{LINE}            {open}\n"));
    let hint = "Run `spillway refund` to take back what nobody has claimed.\n";
    assert_eq!(report(&both, None, FROM), format!("{LINE}            {open}\n{hint}"));
    let no_note = BatchStatus { refundable_from: None, ..paid(1, None) };
    let open = "at most 0.5 tokens can be refunded once their claim window is over";
    let text = report(&[upload(vec![no_note], Atto::ZERO)], None, FROM);
    assert_eq!(text, format!("{LINE}            {open}\n"));
}

#[test]
fn the_chain_says_it_exactly() {
    let both = [upload(vec![paid(1, None), paid(2, None)], Atto::ZERO)];
    let chain = on_chain(2, Atto(3));
    let open = "0.000000000000000003 tokens can be refunded from 2026-11-21 11:25:15 UTC \
                (1795260315) on";
    let hint = "Run `spillway refund` to take back what nobody has claimed.\n";
    assert_eq!(report(&both, Some(&chain), FROM), format!("{LINE}            {open}\n{hint}"));
    let over = [upload(vec![paid(1, Some(HALF)), paid(2, None)], HALF)];
    let text = report(&over, Some(&OnChain { domain: domain(9), found: BTreeMap::new() }), FROM);
    assert_eq!(text, format!("{LINE}            0.5 tokens came back\n"));
}

/// After the claim window the chain's word was written down, and no settlement changes it any more.
#[test]
fn what_was_seen_to_be_left_after_settlements_is_no_upper_bound() {
    let seen = BatchStatus { refundable: Some(Atto(HALF.0 / 5)), ..paid(1, None) };
    let line =
        "            0.1 tokens can be refunded from 2026-11-21 11:25:15 UTC (1795260315) on\n";
    let hint = "Run `spillway refund` to take back what nobody has claimed.\n";
    let sessions = [upload(vec![seen.clone()], Atto::ZERO)];
    assert_eq!(report(&sessions, None, FROM), format!("{LINE}{line}{hint}"));
    let json = serde_json::to_value(session(&sessions[0], None)).unwrap();
    assert_eq!(json["refundable_atto"], (HALF.0 / 5).to_string());
    let elsewhere = BatchStatus { domain: domain(8), ..seen };
    let chain = on_chain(2, Atto(3));
    let sessions = [upload(vec![elsewhere], Atto::ZERO)];
    assert_eq!(report(&sessions, Some(&chain), FROM), format!("{LINE}{line}{hint}"));
    // All was settled.
    let none = BatchStatus { refundable: Some(Atto::ZERO), ..paid(1, None) };
    assert_eq!(report(&[upload(vec![none], Atto::ZERO)], None, FROM), LINE);
}

/// The journal says what was reported, the chain what is so.
#[test]
fn a_refund_that_is_gone_can_be_had_again() {
    let gone = [upload(vec![paid(2, Some(HALF))], HALF)];
    let text = report(&gone, Some(&on_chain(2, HALF)), FROM);
    assert!(text.contains("0.5 tokens can be refunded from"), "{text}");
    assert!(!report(&gone, None, FROM).contains("can be refunded"));
}

#[test]
fn what_another_chain_knows_is_not_nothing() {
    let elsewhere = BatchStatus { domain: domain(8), ..paid(1, None) };
    let both = [upload(vec![elsewhere, paid(2, None)], Atto::ZERO)];
    let chain = on_chain(2, Atto(3));
    let from = "can be refunded from 2026-11-21 11:25:15 UTC (1795260315) on";
    let vault = "08".repeat(20);
    assert_eq!(
        report(&both, Some(&chain), UnixTime(0)),
        format!(
            "{LINE}            0.000000000000000003 tokens {from}\n            at most 0.5 tokens \
             {from}, of vault 0x{vault} of chain 42161, which was not asked\n"
        )
    );
    let json = serde_json::to_value(session(&both[0], Some(&chain))).unwrap();
    assert_eq!(json["refundable_atto"], (HALF.0 + 3).to_string());
    assert_eq!(json["batches"][0]["refundable_atto"], HALF.to_string());
    assert_eq!(json["batches"][0]["vault"], format!("0x{vault}"));
}

#[test]
fn what_was_signed_may_have_been_paid() {
    let signed = BatchStatus { recorded: None, ..paid(1, None) };
    let both = [upload(vec![signed, paid(2, None)], Atto::ZERO)];
    let open = "at most 0.5 tokens can be refunded from 2026-11-21 11:25:15 UTC (1795260315) on";
    assert_eq!(
        report(&both, None, UnixTime(0)),
        format!("{LINE}            {open}\n            {open}, if that payment was taken\n")
    );
    // The chain knows whether it was.
    let none = OnChain { domain: domain(9), found: BTreeMap::new() };
    assert_eq!(report(&both, Some(&none), UnixTime(0)), LINE);
}

#[test]
fn what_was_not_stored_in_time_is_paid_for_anew() {
    let until = UnixTime(1_795_260_315);
    let late = SessionStatus {
        finished: false,
        stage: SessionStage::Storing,
        upload_by: Some(until),
        chunks_lapsed: 7,
        ..upload(Vec::new(), Atto::ZERO)
    };
    let line = LINE.replace("finished   ", "interrupted");
    let lapsed = "            7 chunks paid for and not stored in time\n";
    let next =
        "            paid, to be stored until 2026-11-21 11:25:15 UTC: `spillway resume a`\n";
    let again = "Resume an upload by its name, or upload the same again, with the same --public and \
                 --secret-file; it pays anew only for what was paid for and not stored in time.\n";
    let text = report(std::slice::from_ref(&late), None, until);
    assert_eq!(text, format!("{line}{lapsed}{next}{again}"));
    let text = report(std::slice::from_ref(&late), None, UnixTime(until.0 + 1));
    let over = "            the upload window is over; from 2026-11-21 12:25:15 UTC (1795263915) on \
                what is not stored is paid for anew\n";
    let later = "            paid, to be stored: `spillway resume a`\n";
    assert_eq!(text, format!("{line}{lapsed}{over}{later}{again}"));
    let in_time = [SessionStatus { chunks_lapsed: 0, ..late }];
    let again = "Resume an upload by its name, or upload the same again, with the same --public and \
                 --secret-file; what is paid stays paid.\n";
    assert_eq!(report(&in_time, None, until), format!("{line}{next}{again}"));
}

/// Each stage says where the upload stands and what goes on with it.
#[test]
fn what_to_do_next_is_said_for_each() {
    let open = |stage| SessionStatus { finished: false, stage, ..upload(Vec::new(), Atto::ZERO) };
    let said = |stage| next::line(&open(stage), FROM).unwrap();
    assert_eq!(said(SessionStage::Sealed), "sealed, not priced: `spillway resume a`");
    assert_eq!(said(SessionStage::Planned), "priced, not paid: `spillway resume a`");
    assert_eq!(
        said(SessionStage::Paying),
        "signed, perhaps paid: `spillway resume a` asks the chain"
    );
    assert_eq!(
        said(SessionStage::Expired),
        "not stored in time: `spillway resume a` pays for the rest anew"
    );
    assert_eq!(said(SessionStage::Verifying), "stored, not verified yet: `spillway resume a`");
    let [resume, forget] = ["spillway resume a", "spillway forget a"];
    assert_eq!(next::commands(&open(SessionStage::Planned)), [resume, forget]);
    // Where something would be lost, forgetting is not named.
    let stakes = Stakes { unstored_chunks: 1, ..Stakes::default() };
    let storing = SessionStatus { stakes, ..open(SessionStage::Storing) };
    assert_eq!(next::commands(&storing), [resume]);
    // What came from standard input has no name that its data map could have.
    let stream = SessionStatus { source: "-".into(), ..storing.clone() };
    let resume = "spillway resume a -o FILE";
    assert_eq!(next::commands(&stream), [resume]);
    assert_eq!(next::line(&stream, FROM).unwrap(), format!("paid, to be stored: `{resume}`"));
    let running = SessionStatus { running: true, ..storing };
    assert_eq!((next::line(&running, FROM), next::commands(&running)), (None, Vec::new()));
}

#[test]
fn what_was_handed_over_goes_on_elsewhere() {
    let over = [SessionStatus {
        finished: false,
        handed_over: Some(FROM),
        stage: SessionStage::HandedOver,
        ..upload(Vec::new(), Atto::ZERO)
    }];
    let line = LINE.replace("finished   ", "handed over");
    let next = "            since 2026-11-21 11:25:15 UTC it goes on with its archive; `spillway forget \
                a` ends it here\n";
    assert_eq!(report(&over, None, FROM), format!("{line}{next}"));
    let json = serde_json::to_value(session(&over[0], None)).unwrap();
    assert_eq!((&json["state"], &json["stage"]), (&"handed_over".into(), &"handed_over".into()));
    assert_eq!(
        json["next"],
        serde_json::json!(["spillway session export a -o FILE", "spillway forget a"])
    );
}

#[test]
fn what_is_over_can_be_forgotten() {
    let over = upload(Vec::new(), Atto::ZERO);
    let text = report(std::slice::from_ref(&over), None, FROM);
    let hint = "`spillway forget --finished` takes those that are over from this list; their data maps \
                cannot be written again then, nor what nodes lose be repaired for free.\n";
    assert_eq!(text, format!("{LINE}{hint}"));
    // Its proofs repair what nodes lose; its signed bytes pay once more what a reorganisation takes.
    let open = SessionStatus { proofs_until: Some(FROM), ..over.clone() };
    let not_final = SessionStatus { payments_not_final: 1, ..over };
    for kept in [open, not_final] {
        assert_eq!(next::commands(&kept), Vec::<String>::new());
        assert_eq!(report(&[kept], None, FROM), LINE);
    }
}

/// Whoever wrote an archive chose its name.
#[test]
fn a_name_does_not_reach_the_terminal() {
    let source = "movie.mkv\n\x1b]0;x\x07".to_owned();
    let text = report(&[SessionStatus { source, ..upload(Vec::new(), Atto::ZERO) }], None, FROM);
    assert!(
        text.starts_with(&LINE.replace(".mkv\n", ".mkv\u{fffd}\u{fffd}]0;x\u{fffd}\n")),
        "{text}"
    );
}

#[test]
fn a_damaged_upload_says_so() {
    let damage = Some("session b is damaged: manifest: bad checksum".to_owned());
    let damaged = [SessionStatus { id: "b".into(), damage, ..SessionStatus::default() }];
    assert_eq!(
        report(&damaged, None, FROM),
        "damaged     b  session b is damaged: manifest: bad checksum\n"
    );
    let json = serde_json::to_value(session(&damaged[0], None)).unwrap();
    assert_eq!(json["state"], "damaged");
    assert_eq!(json["damage"], "session b is damaged: manifest: bad checksum");
    // What is wrong may be in words that somebody else has chosen.
    let damage = Some("bad\nfinished    c".to_owned());
    let forged = [SessionStatus { damage, ..damaged[0].clone() }];
    assert_eq!(report(&forged, None, FROM), "damaged     b  bad\u{fffd}finished    c\n");
}

#[test]
fn programs_get_every_batch() {
    let status = upload(vec![paid(1, Some(HALF)), paid(2, None)], HALF);
    let summary = session(&status, Some(&on_chain(2, Atto(3))));
    let [one, two] = [1, 2].map(|byte: u8| format!("0{byte}").repeat(32));
    let vault = "09".repeat(20);
    let place = format!(r#""chain_id":42161,"vault":"0x{vault}","recorded":1792570000"#);
    let times = r#""upload_by":1792580115,"draw_time":1792581015,"refundable_from":1795260315,"refundable_from_utc":"2026-11-21 11:25:15 UTC""#;
    assert_eq!(
        serde_json::to_string(&summary).unwrap(),
        format!(
            r#"{{"upload_id":"a","source":"movie.mkv","state":"finished","stage":"finished","next":[],"bytes":20000000000,"chunks_total":5000,"chunks_paid":5000,"chunks_lapsed":0,"chunks_stored":5000,"storage_cost_atto":"900000000000000000","tip_atto":"100000000000000000","gas_used":0,"gas_cost_wei":"0","tx_hashes":[],"upload_by":null,"paid_anew_from":null,"refunded_atto":"500000000000000000","refundable_atto":"3","batches":[{{"payment":"0x{one}",{place},"draws":16,"settled":null,"escrow_atto":"500000000000000000","refunded_atto":"500000000000000000","refundable_atto":"0",{times}}},{{"payment":"0x{two}",{place},"draws":16,"settled":15,"escrow_atto":"500000000000000000","refunded_atto":null,"refundable_atto":"3",{times}}}],"payments_not_final":0,"damage":null}}"#
        )
    );
}
