//! Archives of a stranger's making: everything in them is framed well, and something is not true.

use std::{path::Path, sync::Arc};

use spillway_disk::{Disk, MemoryDisk, Mode, Overwrite};
use spillway_pay::{Plan, PlanMode, SignedTx, TxPurpose};
use spillway_seal::FileSecret;
use spillway_types::{
    Atto, ChunkAddress, Domain, EvmAddress, Leaf, NetworkId, Nonce, PeerSecret, Quote, QuoteTerms,
    Receipt, ReceiptBody, RewardAddress, SegmentHash, Share, TxHash, UnixTime, Wei,
    limits::CLOSE_GROUP,
};

use super::{
    ImportOptions,
    archive::{Entry, Writer, Written},
    import::import,
};
use crate::{
    SessionError,
    session::{
        ChunkInfo, ChunkIx, FileKind, Journal, KeyParts, Manifest, PlanFile, PlanIx, Record,
        SessionKey, Snapshot, SourceNote, encode,
    },
};

const CHUNK: &[u8] = b"a sealed chunk";
const SIZE: u32 = 14;
const NOW: UnixTime = UnixTime(1_800_000_000);
const PAYER: EvmAddress = EvmAddress([4; 20]);
const DOMAIN: Domain =
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([2; 20]) };

fn peer(index: usize) -> PeerSecret {
    PeerSecret::from_seed(&[u8::try_from(index).unwrap() + 10; 32])
}

fn manifest() -> Manifest {
    let address = ChunkAddress::of(CHUNK);
    let key = SessionKey::of(&KeyParts {
        domain: &DOMAIN,
        payer: PAYER,
        content: None,
        public: true,
        segment_bytes: 0,
        secret: &FileSecret::public(),
        hashes: &[SegmentHash(address.0)],
    });
    Manifest {
        key,
        created: NOW,
        domain: DOMAIN,
        payer: PAYER,
        source: SourceNote { name: "-".into(), bytes: 14, skipped: Vec::new() },
        spill: "spill_1800000000_0123456789abcdef".into(),
        chunks: vec![ChunkInfo { address, size: SIZE, segment: None }],
        root: None,
        public_address: Some(address),
    }
}

fn terms(index: usize) -> QuoteTerms {
    QuoteTerms {
        domain: DOMAIN,
        address: ChunkAddress::of(CHUNK),
        size: SIZE,
        price: Atto(1_000 + index as u128),
        reward: RewardAddress([u8::try_from(index).unwrap() + 1; 20]),
        issued: NOW,
        expires: UnixTime(NOW.0 + 3_600),
        min_tip: Atto(1),
        max_prize: Atto(2),
        max_window_secs: 86_400,
        confirmations: 3,
    }
}

/// The plan of these prices, as its shares are signed.
fn plan_of(quotes: &[Quote; CLOSE_GROUP]) -> PlanFile {
    let shares = quotes.map(|quote| Share { payee: quote.terms.reward, amount: quote.terms.price });
    PlanFile {
        plan: Plan {
            domain: DOMAIN,
            mode: PlanMode::Direct,
            payer: PAYER,
            leaves: vec![Leaf { address: ChunkAddress::of(CHUNK), shares }],
            upload_by: UnixTime(NOW.0 + 86_400),
            valid_until: UnixTime(NOW.0 + 3_300),
        },
        chunks: vec![Some(ChunkIx(0))],
        quotes: vec![*quotes],
    }
}

fn plan() -> PlanFile {
    plan_of(&[0, 1, 2, 3, 4].map(|index| terms(index).sign(&peer(index))))
}

fn receipt(body: impl Fn(&mut ReceiptBody), index: usize) -> Receipt {
    let PlanFile { plan, .. } = plan();
    let mut of = ReceiptBody {
        domain: DOMAIN,
        payment: plan.id(),
        leaf: plan.leaves[0].hash(),
        address: ChunkAddress::of(CHUNK),
        size: SIZE,
        time: NOW,
        nonce: Nonce([7; 16]),
    };
    body(&mut of);
    of.sign(&peer(index))
}

fn receipts() -> Vec<Receipt> {
    (0..3).map(|index| receipt(|_| (), index)).collect()
}

/// What an archive holds beside its manifest and chunk.
#[derive(Clone, Default)]
struct Contents {
    plans: Vec<PlanFile>,
    txs: Vec<SignedTx>,
    journal: Vec<Record>,
}

fn paid() -> Record {
    Record::Paid { plan: PlanIx(0), recorded: NOW, total: plan().plan.total() }
}

/// All of it true, as far as can be told without the chain.
fn good() -> Contents {
    let stored = Record::Stored { chunk: ChunkIx(0), receipts: receipts() };
    let already = Record::Already { chunk: ChunkIx(0), receipts: receipts() };
    Contents { plans: vec![plan()], txs: Vec::new(), journal: vec![paid(), stored, already] }
}

fn archive(contents: &Contents, manifest: &Manifest) -> MemoryDisk {
    let (disk, journal) = (MemoryDisk::new(), MemoryDisk::new());
    let mut writer = Writer::begin(disk.create(Path::new("a"), Mode::Private).unwrap()).unwrap();
    writer.bytes(Entry::Manifest, &encode(FileKind::Manifest, manifest)).unwrap();
    for plan in &contents.plans {
        writer.bytes(Entry::Plan, &encode(FileKind::Plan, plan)).unwrap();
    }
    for tx in &contents.txs {
        writer.bytes(Entry::Tx, &encode(FileKind::Tx, tx)).unwrap();
    }
    if !contents.journal.is_empty() {
        Journal::new("j".into()).append(&journal, &contents.journal).unwrap();
        let bytes = journal.read(Path::new("j"), u64::MAX).unwrap();
        writer.bytes(Entry::Journal, &bytes).unwrap();
    }
    writer.bytes(Entry::Chunk, CHUNK).unwrap();
    let Written { file, .. } = writer.end().unwrap();
    file.persist(Overwrite::Never).unwrap();
    disk
}

/// Imports it; of a session that is there then, its files.
fn imported(contents: &Contents) -> Result<Snapshot, String> {
    let data: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let from = archive(contents, &manifest());
    let options = ImportOptions { now: NOW };
    match import(&data, (&from, Path::new("a")), options) {
        Ok(imported) => Ok(Snapshot::load(data.as_ref(), &imported.session).unwrap()),
        Err(SessionError::BadArchive { what }) => {
            let left = data.list(Path::new("sessions")).unwrap();
            assert!(left.is_empty(), "{what}: {left:?}");
            Err(what)
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn refused(contents: &Contents) -> String {
    imported(contents).expect_err("it was taken")
}

#[test]
fn what_is_signed_well_is_taken_and_marked() {
    let Snapshot { progressed, .. } = imported(&good()).unwrap();
    assert!(progressed.imported);
    assert_eq!((progressed.stored.len(), progressed.already.len()), (1, 0), "that is asked again");
    // One that is over is not, before somebody has looked, and not later because it says so.
    let mut over = good();
    let missed = Record::Missed { chunk: ChunkIx(0), attempt: 1, next: UnixTime(u64::MAX) };
    over.journal.extend([Record::ToVerify, missed, Record::Verified, Record::Finished]);
    let Snapshot { progressed, .. } = imported(&over).unwrap();
    assert!(progressed.imported && progressed.to_verify);
    assert!(!progressed.finished && !progressed.verified && progressed.already.is_empty());
    assert!(progressed.missed.is_empty());
    // What was imported before is taken like the rest.
    over.journal.insert(0, Record::Imported);
    let Snapshot { progressed, .. } = imported(&over).unwrap();
    assert!(progressed.imported && !progressed.finished);
}

#[test]
fn a_plan_is_its_payers_and_of_prices_that_peers_have_signed() {
    let refuse = |change: fn(&mut PlanFile)| {
        let mut file = plan();
        change(&mut file);
        refused(&Contents { plans: vec![file], ..Contents::default() })
    };
    assert_eq!(refuse(|file| file.plan.payer = EvmAddress([5; 20])), "a plan is another wallet's");
    for change in [
        // Another price than the leaf pays, and one that is paid and was not signed.
        (|file| file.plan.leaves[0].shares[0].amount = Atto(1)) as fn(&mut PlanFile),
        |file| {
            file.plan.leaves[0].shares[0].amount = Atto(1);
            file.quotes[0][0].terms.price = Atto(1);
        },
        |file| file.plan.leaves[0].shares.swap(0, 1),
        |file| file.quotes[0][1] = file.quotes[0][0],
        |file| file.plan.valid_until = UnixTime(NOW.0 + 3_601),
        // Signed, and nonsense.
        |file| *file = with(|terms| terms.confirmations = u16::MAX),
        |file| *file = with(|terms| terms.size += 1),
        |file| *file = with(|terms| terms.domain.chain_id += 1),
        |file| *file = with(|terms| terms.address = ChunkAddress([1; 32])),
    ] {
        assert_eq!(refuse(change), "a plan is not what peers have quoted");
    }
    let unsound = refuse(|file| *file = with(|terms| terms.reward = RewardAddress::ZERO));
    assert!(unsound.starts_with("a plan: "), "{unsound}");
}

/// A plan of prices that all say so.
fn with(change: impl Fn(&mut QuoteTerms)) -> PlanFile {
    plan_of(&[0, 1, 2, 3, 4].map(|index| {
        let mut terms = terms(index);
        change(&mut terms);
        terms.sign(&peer(index))
    }))
}

#[test]
fn a_stored_chunk_has_receipts_of_those_who_were_quoted() {
    let mut invented = receipts();
    invented[2] = receipt(|_| (), 9);
    let mut twice = receipts();
    twice[2] = twice[1];
    let mut changed = receipts();
    changed[2].body.time = UnixTime(1);
    let other = with(|terms| terms.price = Atto(1)).plan.leaves[0].hash();
    let mut of_another = receipts();
    of_another[2] = receipt(|body| body.leaf = other, 2);
    for receipts in [invented, twice, changed, of_another, receipts()[..2].to_vec(), Vec::new()] {
        let stored = Record::Stored { chunk: ChunkIx(0), receipts };
        let contents = Contents { journal: vec![paid(), stored], ..good() };
        assert_eq!(refused(&contents), "a chunk is said to be stored without receipts for it");
    }
    let stored = Record::Stored { chunk: ChunkIx(0), receipts: receipts() };
    let unplanned = Contents { journal: vec![stored], ..Contents::default() };
    assert_eq!(refused(&unplanned), "a chunk is said to be stored without receipts for it");
    let nowhere = Record::Already { chunk: ChunkIx(9), receipts: receipts() };
    let contents = Contents { journal: vec![nowhere, Record::Imported], ..Contents::default() };
    assert_eq!(refused(&contents), "a chunk is said to be stored without receipts for it");
    let wrong = (0..3).map(|index| receipt(|body| body.size += 1, index)).collect();
    let already = Record::Already { chunk: ChunkIx(0), receipts: wrong };
    let contents = Contents { journal: vec![already], ..Contents::default() };
    assert_eq!(refused(&contents), "a chunk is said to be stored without receipts for it");
}

#[test]
fn a_journal_speaks_of_the_amounts_of_its_plans() {
    let total = plan().plan.total();
    let more = Atto(total.0 + 1);
    for record in [
        Record::Paid { plan: PlanIx(0), recorded: NOW, total: more },
        Record::ClaimOver { plan: PlanIx(0), refundable: more },
        Record::Refunded { plan: PlanIx(0), amount: more },
    ] {
        let contents = Contents { journal: vec![record], ..good() };
        assert_eq!(refused(&contents), "its journal speaks of other amounts than its plans");
    }
}

#[test]
fn a_transaction_is_what_the_payer_has_signed() {
    let tx = |from| SignedTx {
        purpose: TxPurpose::Pay { payment: plan().plan.id() },
        from,
        nonce: u64::MAX,
        hash: TxHash([1; 32]),
        gas_limit: 1,
        max_fee: Wei(1),
        priority_fee: Wei(1),
        raw: vec![2],
    };
    let contents = |from| Contents { txs: vec![tx(from)], ..good() };
    assert_eq!(refused(&contents(PAYER)), "a transaction: its bytes are no transaction");
    let other = refused(&contents(EvmAddress([5; 20])));
    assert_eq!(other, "a transaction is another wallet's");
}

/// What the files of a session are that has this plan and this record.
fn loaded(plan: &PlanFile, record: Record) -> Result<(), String> {
    let disk = MemoryDisk::new();
    let dir = Path::new("sessions/0123456789abcdef-1800000000");
    disk.create_dir_all(dir).unwrap();
    for (name, bytes) in [
        ("manifest", encode(FileKind::Manifest, &manifest())),
        ("plan-0", encode(FileKind::Plan, plan)),
    ] {
        disk.write_durable(&dir.join(name), &bytes, Overwrite::Never).unwrap();
    }
    Journal::new(dir.join("journal")).append(&disk, &[record]).unwrap();
    let id = dir.file_name().unwrap().to_str().unwrap();
    Snapshot::load(&disk, id).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_number_that_points_past_the_end_is_damage() {
    let with = |change: fn(&mut PlanFile)| {
        let mut plan = plan();
        change(&mut plan);
        loaded(&plan, paid())
    };
    assert_eq!(with(|_| ()), Ok(()));
    let total = plan().plan.total();
    let (chunk, plan_ix) = (ChunkIx(1), PlanIx(1));
    let records = [
        Record::Stored { chunk, receipts: receipts() },
        Record::Already { chunk, receipts: receipts() },
        Record::Paid { plan: plan_ix, recorded: NOW, total },
        Record::Dropped { plan: plan_ix },
        Record::ClaimOver { plan: plan_ix, refundable: total },
        Record::Refunded { plan: plan_ix, amount: total },
    ];
    let found = [
        with(|file| file.chunks[0] = Some(ChunkIx(1))),
        with(|file| file.chunks.clear()),
        with(|file| file.quotes.clear()),
    ];
    for found in found.into_iter().chain(records.map(|record| loaded(&plan(), record))) {
        let error = found.unwrap_err();
        assert!(error.contains("its files do not belong together"), "{error}");
    }
}

#[test]
fn a_single_chunk_is_public_where_it_is() {
    let data: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    for public_address in [None, Some(ChunkAddress([1; 32]))] {
        let from = archive(&Contents::default(), &Manifest { public_address, ..manifest() });
        let options = ImportOptions { now: NOW };
        let error = import(&data, (&from, Path::new("a")), options).unwrap_err();
        let what = "its contents are not those of its key";
        assert!(error.to_string().ends_with(what), "{error}");
    }
}

#[test]
fn more_than_the_chunks_can_need_is_not_even_read() {
    // Empty files count too.
    let from = MemoryDisk::new();
    let mut writer = Writer::begin(from.create(Path::new("a"), Mode::Private).unwrap()).unwrap();
    writer.bytes(Entry::Manifest, &encode(FileKind::Manifest, &manifest())).unwrap();
    for _ in 0..5_000 {
        writer.bytes(Entry::Tx, &[]).unwrap();
    }
    let Written { file, .. } = writer.end().unwrap();
    file.persist(Overwrite::Never).unwrap();
    let data: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let error = import(&data, (&from, Path::new("a")), ImportOptions { now: NOW }).unwrap_err();
    let what = "more plans, transactions or records than its chunks need";
    assert!(error.to_string().ends_with(what), "{error}");
}
