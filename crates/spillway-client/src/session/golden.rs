//! The session's formats, held to bytes that never change: `docs/formats.md`, "Client state".

use spillway_pay::{Plan, PlanMode, SignedTx, TxPurpose};
use spillway_types::{
    Atto, ChunkAddress, Domain, EvmAddress, Leaf, LeafHash, NetworkId, NodeHash, Nonce, PaymentId,
    PeerSecret, QuoteTerms, ReceiptBody, RewardAddress, Share, TxHash, UnixTime, Wei,
    limits::MAX_BATCH_LEAVES,
};

use super::{
    ChunkInfo, ChunkIx, Journal, Manifest, PlanFile, PlanIx, Progressed, Record, SessionKey,
    Snapshot, SourceNote, VaultNote,
    files::{FileKind, MAX_FILE_BYTES, decode, encode},
    journal,
};

const GOLDEN: &str = include_str!("../../tests/golden/session-v1.txt");
/// What batches have brought: files of the same version, and records after those above.
const BATCHES: &str = include_str!("../../tests/golden/session-batches-v1.txt");

fn golden(name: &str) -> Vec<u8> {
    golden_of(GOLDEN, name)
}

fn golden_of(golden: &str, name: &str) -> Vec<u8> {
    let line = golden.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    hex::decode(line.unwrap_or_default()).unwrap()
}

pub(super) fn domain() -> Domain {
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([2; 20]) }
}

pub(super) fn manifest() -> Manifest {
    Manifest {
        key: SessionKey([3; 32]),
        created: UnixTime(1_800_000_000),
        domain: domain(),
        payer: EvmAddress([4; 20]),
        source: SourceNote { name: "a/b".into(), bytes: 5, skipped: vec!["fifo".into()] },
        spill: "spill_1800000000_0123456789abcdef".into(),
        chunks: vec![
            ChunkInfo { address: ChunkAddress([6; 32]), size: 34, segment: Some(0) },
            ChunkInfo { address: ChunkAddress([7; 32]), size: 300, segment: None },
        ],
        root: Some(vec![8, 9]),
        public_address: Some(ChunkAddress([7; 32])),
    }
}

pub(crate) fn plan() -> PlanFile {
    let reward = RewardAddress([10; 20]);
    let terms = QuoteTerms {
        domain: domain(),
        address: ChunkAddress([6; 32]),
        size: 34,
        price: Atto(1_000),
        reward,
        issued: UnixTime(1_800_000_000),
        expires: UnixTime(1_800_003_600),
        min_tip: Atto(1),
        max_prize: Atto(2),
        max_window_secs: 86_400,
        confirmations: 3,
    };
    let shares = [Share { payee: reward, amount: Atto(1_000) }; 5];
    PlanFile {
        plan: Plan {
            domain: domain(),
            mode: PlanMode::Direct,
            payer: EvmAddress([4; 20]),
            leaves: vec![Leaf { address: ChunkAddress([6; 32]), shares }],
            upload_by: UnixTime(1_800_086_400),
            valid_until: UnixTime(1_800_003_300),
        },
        chunks: vec![Some(ChunkIx(0))],
        quotes: vec![[terms.sign(&PeerSecret::from_seed(&[11; 32])); 5]],
    }
}

pub(super) fn tx() -> SignedTx {
    SignedTx {
        purpose: TxPurpose::Pay { payment: PaymentId([12; 32]) },
        from: EvmAddress([4; 20]),
        nonce: 7,
        hash: TxHash([13; 32]),
        gas_limit: 100_000,
        max_fee: Wei(2_000_000_000),
        priority_fee: Wei(1),
        raw: vec![2, 14, 15],
    }
}

/// One that pays this plan.
pub(super) fn tx_of(file: &PlanFile) -> SignedTx {
    SignedTx { purpose: TxPurpose::Pay { payment: file.plan.id() }, ..tx() }
}

/// A session of two chunks.
pub(super) fn snapshot(plans: &[PlanFile], txs: &[SignedTx], records: &[Record]) -> Snapshot {
    Snapshot {
        manifest: manifest(),
        plans: plans.to_vec(),
        txs: txs.to_vec(),
        vault: None,
        progressed: Progressed::of(records),
        journal: Journal::new("journal".into()),
    }
}

fn records() -> Vec<Record> {
    let body = ReceiptBody {
        domain: domain(),
        payment: PaymentId([12; 32]),
        leaf: LeafHash([16; 32]),
        address: ChunkAddress([6; 32]),
        size: 34,
        time: UnixTime(1_800_000_100),
        nonce: Nonce([17; 16]),
    };
    let receipts = vec![body.sign(&PeerSecret::from_seed(&[11; 32]))];
    vec![
        Record::Stored { chunk: ChunkIx(0), receipts: receipts.clone() },
        Record::Already { chunk: ChunkIx(1), receipts },
        Record::Paid { plan: PlanIx(0), recorded: UnixTime(1_800_000_050), total: Atto(5_000) },
        Record::Gas { used: 150_000, cost: Wei(300_000), tx_hashes: vec![TxHash([13; 32])] },
        Record::Dropped { plan: PlanIx(1) },
        Record::Finished,
    ]
}

fn batch_plan() -> PlanFile {
    let PlanFile { plan, chunks, quotes } = plan();
    let mode = PlanMode::Batch { root: NodeHash([18; 32]), tip: Atto(300), draws: 2 };
    PlanFile { plan: Plan { mode, ..plan }, chunks, quotes }
}

fn batch_tx() -> SignedTx {
    let payments = vec![PaymentId([12; 32]), PaymentId([19; 32])];
    SignedTx { purpose: TxPurpose::PayMany { payments }, ..tx() }
}

fn vault() -> VaultNote {
    VaultNote { draw_delay_secs: 900, claim_secs: 2_592_000 }
}

fn batch_records() -> Vec<Record> {
    vec![
        Record::ClaimOver { plan: PlanIx(0), refundable: Atto(2_800) },
        Record::Refunded { plan: PlanIx(0), amount: Atto(2_800) },
    ]
}

/// What handing over has brought: records after those above.
const HANDED_OVER: &str = include_str!("../../tests/golden/session-handed-over-v1.txt");

fn hand_over_records() -> Vec<Record> {
    vec![
        Record::HandedOver { at: UnixTime(1_800_000_200), archive: [20; 32] },
        Record::Gas { used: 150_000, cost: Wei(300_000), tx_hashes: Vec::new() },
        Record::Exported { archive: [20; 32] },
    ]
}

/// What verifying has brought: records after those above.
const VERIFIED: &str = include_str!("../../tests/golden/session-verified-v1.txt");

fn verified_records() -> Vec<Record> {
    vec![
        Record::ToVerify,
        Record::Missed { chunk: ChunkIx(300), attempt: 301, next: UnixTime(1_800_000_300) },
        Record::Verified,
    ]
}

#[test]
fn records_of_verifying_are_byte_for_byte_as_documented() {
    let made = format!("journal {}\n", hex::encode(journal::encode(&verified_records())));
    assert_eq!(made, VERIFIED, "formats never change: a new one is a new version beside it");
    let bytes = golden_of(VERIFIED, "journal");
    assert_eq!(journal::parse(&bytes).unwrap(), (verified_records(), bytes.len()));
    let progressed = Progressed::of(&verified_records());
    assert!(progressed.to_verify && progressed.verified);
    assert_eq!(progressed.missed[&ChunkIx(300)].attempt, 301);
}

#[test]
fn the_record_of_an_import_is_byte_for_byte_as_documented() {
    let golden = include_str!("../../tests/golden/session-imported-v1.txt");
    let records = [Record::Already { chunk: ChunkIx(1), receipts: Vec::new() }, Record::Imported];
    let made = format!("journal {}\n", hex::encode(journal::encode(&records[1..])));
    assert_eq!(made, golden, "formats never change: a new one is a new version beside it");
    let progressed = Progressed::of(&records);
    assert!(progressed.imported && progressed.already.is_empty());
}

#[test]
fn records_of_finality_are_byte_for_byte_as_documented() {
    let golden = include_str!("../../tests/golden/session-final-v1.txt");
    let records = vec![Record::Final { plan: PlanIx(0) }, Record::Undone { plan: PlanIx(300) }];
    let made = format!("journal {}\n", hex::encode(journal::encode(&records)));
    assert_eq!(made, golden, "formats never change: a new one is a new version beside it");
    let bytes = golden_of(golden, "journal");
    assert_eq!(journal::parse(&bytes).unwrap(), (records, bytes.len()));
}

#[test]
fn the_record_of_what_is_open_again_is_byte_for_byte_as_documented() {
    let golden = include_str!("../../tests/golden/session-reopened-v1.txt");
    let records = vec![Record::Reopened { chunk: ChunkIx(300) }];
    let made = format!("journal {}\n", hex::encode(journal::encode(&records)));
    assert_eq!(made, golden, "formats never change: a new one is a new version beside it");
    let bytes = golden_of(golden, "journal");
    assert_eq!(journal::parse(&bytes).unwrap(), (records, bytes.len()));
}

#[test]
fn what_is_open_again_is_open_until_it_is_said_once_more() {
    let chunk = ChunkIx(300);
    let already = Record::Already { chunk, receipts: Vec::new() };
    let missed = Record::Missed { chunk, attempt: 5, next: UnixTime(9) };
    let before = [already.clone(), Record::Finished, Record::Verified, missed];
    let mut progressed = Progressed::of(&before);
    progressed.apply(&Record::Reopened { chunk });
    assert!(!progressed.is_done(chunk) && progressed.missed.is_empty());
    assert!(!progressed.finished && !progressed.verified);
    assert_eq!(progressed.reopened, [chunk].into());
    progressed.apply(&already);
    assert!(progressed.is_done(chunk));
}

#[test]
fn what_is_taken_back_is_not_finished_until_it_is_there_again_and_verified() {
    let plan = PlanIx(0);
    let paid = Record::Paid { plan, recorded: UnixTime(1), total: Atto(5) };
    let before = [paid.clone(), Record::Verified, Record::Finished];
    for gone in [Record::Undone { plan }, Record::Dropped { plan }] {
        let mut progressed = Progressed::of(&before);
        progressed.apply(&gone);
        assert!(!progressed.finished && progressed.to_verify && !progressed.verified, "{gone:?}");
        assert_eq!((progressed.paid.len(), progressed.spend.storage_cost), (0, Atto::ZERO));
        assert_eq!(progressed.undone.is_empty(), progressed.dropped.contains(&plan));
        progressed.apply(&paid);
        assert_eq!((progressed.undone.len(), progressed.spend.storage_cost), (0, Atto(5)));
        assert!(!progressed.finished, "it is verified first");
    }
    // A plan that was never paid changes nothing, and what an archive says is final is asked for.
    let other = [Record::Final { plan }, Record::Dropped { plan: PlanIx(1) }];
    let mut progressed = Progressed::of(&[&before[..], &other].concat());
    assert!(progressed.finished && progressed.verified && progressed.finals.contains(&plan));
    progressed.apply(&Record::Imported);
    assert!(progressed.finals.is_empty());
}

#[test]
fn records_of_a_hand_over_are_byte_for_byte_as_documented() {
    let made = format!("journal {}\n", hex::encode(journal::encode(&hand_over_records())));
    assert_eq!(made, HANDED_OVER, "formats never change: a new one is a new version beside it");
    let bytes = golden_of(HANDED_OVER, "journal");
    assert_eq!(journal::parse(&bytes).unwrap(), (hand_over_records(), bytes.len()));
}

#[test]
fn session_files_of_batches_are_byte_for_byte_as_documented() {
    let files = [
        ("plan", encode(FileKind::Plan, &batch_plan())),
        ("tx", encode(FileKind::Tx, &batch_tx())),
        ("vault", encode(FileKind::Vault, &vault())),
        ("journal", journal::encode(&batch_records())),
    ];
    let lines = files.iter().map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes)));
    let made = lines.collect::<Vec<_>>().concat();
    assert_eq!(made, BATCHES, "formats never change: a new one is a new version beside it");
}

#[test]
fn golden_session_files_of_batches_are_read() {
    let golden = |name| golden_of(BATCHES, name);
    assert_eq!(decode(FileKind::Plan, &golden("plan")), Ok(batch_plan()));
    assert_eq!(decode(FileKind::Tx, &golden("tx")), Ok(batch_tx()));
    assert_eq!(decode(FileKind::Vault, &golden("vault")), Ok(vault()));
    let bytes = golden("journal");
    assert_eq!(journal::parse(&bytes).unwrap(), (batch_records(), bytes.len()));
}

#[test]
fn what_comes_back_is_counted_once() {
    let mut progressed = Progressed::default();
    let paid = Record::Paid { plan: PlanIx(0), recorded: UnixTime(1), total: Atto(5_000) };
    let [claim_over, refunded] = <[Record; 2]>::try_from(batch_records()).unwrap();
    for record in [&paid, &claim_over, &refunded, &refunded] {
        progressed.apply(record);
    }
    let spend = &progressed.spend;
    assert_eq!((spend.storage_cost, spend.refunded), (Atto(5_000), Atto(2_800)));
    assert_eq!(spend.net_storage_cost(), Atto(2_200));
    // A refund that was undone is owed again.
    progressed.apply(&claim_over);
    assert_eq!((progressed.spend.refunded, progressed.refunded.len()), (Atto::ZERO, 0));
}

#[test]
fn the_largest_plan_is_within_what_is_read() {
    let one = encode(FileKind::Plan, &batch_plan()).len() as u64;
    let PlanFile { plan, chunks, quotes } = batch_plan();
    let two = PlanFile {
        plan: Plan { leaves: [plan.leaves.clone(), plan.leaves.clone()].concat(), ..plan },
        chunks: [chunks.clone(), chunks].concat(),
        quotes: [quotes.clone(), quotes].concat(),
    };
    let a_leaf = encode(FileKind::Plan, &two).len() as u64 - one;
    // Amounts of 96 bits take up to 14 bytes, here 2; there are three a quote and one a share.
    let largest = a_leaf + 5 * 4 * 12;
    assert!(largest <= 2_000, "{largest}");
    assert!(MAX_BATCH_LEAVES as u64 * largest < MAX_FILE_BYTES);
}

#[test]
fn session_files_are_byte_for_byte_as_documented() {
    let files = [
        ("manifest", encode(FileKind::Manifest, &manifest())),
        ("plan", encode(FileKind::Plan, &plan())),
        ("tx", encode(FileKind::Tx, &tx())),
        ("map", encode(FileKind::Map, &vec![1_u8, 2, 3])),
        ("journal", journal::encode(&records())),
    ];
    let lines = files.iter().map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes)));
    let made = lines.collect::<Vec<_>>().concat();
    assert_eq!(made, GOLDEN, "formats never change: a new one is a new version beside it");
}

#[test]
fn golden_session_files_are_read() {
    assert_eq!(decode(FileKind::Manifest, &golden("manifest")), Ok(manifest()));
    assert_eq!(decode(FileKind::Plan, &golden("plan")), Ok(plan()));
    assert_eq!(decode(FileKind::Tx, &golden("tx")), Ok(tx()));
    assert_eq!(decode(FileKind::Map, &golden("map")), Ok(vec![1_u8, 2, 3]));
    let bytes = golden("journal");
    assert_eq!(journal::parse(&bytes).unwrap(), (records(), bytes.len()));
}
