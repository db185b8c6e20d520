use spillway_client::Spend;

use super::*;

const FROM: UnixTime = UnixTime(1_795_260_315);
const HALF: Atto = Atto(500_000_000_000_000_000);

fn paid(id: u8, refunded: Option<Atto>) -> BatchStatus {
    BatchStatus {
        payment: PaymentId([id; 32]),
        upload_by: UnixTime(1_792_580_115),
        draw_time: Some(UnixTime(1_792_581_015)),
        refundable_from: Some(FROM),
        draws: 16,
        escrow: HALF,
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
    BTreeMap::from([(found.payment, found)])
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
    let text = report(&over, Some(&OnChain::new()), FROM);
    assert_eq!(text, format!("{LINE}            0.5 tokens came back\n"));
}

#[test]
fn programs_get_every_batch() {
    let status = upload(vec![paid(1, Some(HALF)), paid(2, None)], HALF);
    let summary = session(&status, Some(&on_chain(2, Atto(3))));
    let [one, two] = [1, 2].map(|byte: u8| format!("0{byte}").repeat(32));
    let times = r#""upload_by":1792580115,"draw_time":1792581015,"refundable_from":1795260315,"refundable_from_utc":"2026-11-21 11:25:15 UTC""#;
    assert_eq!(
        serde_json::to_string(&summary).unwrap(),
        format!(
            r#"{{"upload_id":"a","source":"movie.mkv","state":"finished","bytes":20000000000,"chunks_total":5000,"chunks_paid":5000,"chunks_stored":5000,"storage_cost_atto":"900000000000000000","tip_atto":"100000000000000000","gas_used":0,"gas_cost_wei":"0","tx_hashes":[],"upload_by":null,"refunded_atto":"500000000000000000","refundable_atto":"3","batches":[{{"payment":"0x{one}","draws":16,"settled":null,"escrow_atto":"500000000000000000","refunded_atto":"500000000000000000","refundable_atto":"0",{times}}},{{"payment":"0x{two}","draws":16,"settled":15,"escrow_atto":"500000000000000000","refunded_atto":null,"refundable_atto":"3",{times}}}]}}"#
        )
    );
}
