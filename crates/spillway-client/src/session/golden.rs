//! The session's formats, held to bytes that never change: `docs/formats.md`, "Client state".

use spillway_pay::{Plan, PlanMode, SignedTx, TxPurpose};
use spillway_types::{
    Atto, ChunkAddress, Domain, EvmAddress, Leaf, LeafHash, NetworkId, Nonce, PaymentId,
    PeerSecret, QuoteTerms, ReceiptBody, RewardAddress, Share, TxHash, UnixTime, Wei,
};

use super::{
    ChunkInfo, ChunkIx, Manifest, PlanFile, PlanIx, Record, SessionKey, SourceNote,
    files::{FileKind, decode, encode},
    journal,
};

const GOLDEN: &str = include_str!("../../tests/golden/session-v1.txt");

fn golden(name: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    hex::decode(line.unwrap_or_default()).unwrap()
}

fn domain() -> Domain {
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([2; 20]) }
}

fn manifest() -> Manifest {
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

fn plan() -> PlanFile {
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

fn tx() -> SignedTx {
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
