//! What is said of sessions, from their files alone.

use spillway_disk::MemoryDisk;
use spillway_pay::{Plan, PlanMode, SignedTx, TxPurpose, Windows};
use spillway_types::{
    EvmAddress, Leaf, NetworkId, NodeHash, PeerSecret, QuoteTerms, RewardAddress, Share, TxHash,
    Wei, limits::QUOTE_LIFETIME,
};

use super::*;
use crate::session::{
    ChunkInfo, KeyLock, Manifest, PlanFile, Record, Session, SessionKey, SourceNote,
};

const CREATED: UnixTime = UnixTime(1_800_000_000);
const UPLOAD_BY: UnixTime = UnixTime(1_800_086_400);
const PAYER: EvmAddress = EvmAddress([4; 20]);
const REWARD: RewardAddress = RewardAddress([10; 20]);
const DOMAIN: Domain =
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([2; 20]) };

fn address(byte: u8) -> spillway_types::ChunkAddress {
    spillway_types::ChunkAddress([byte; 32])
}

fn windows() -> Windows {
    use std::time::Duration;
    let (min, max) = (Duration::from_secs(1), Duration::from_hours(24));
    Windows { min, max, draw_delay: Duration::from_mins(15), claim: Duration::from_hours(720) }
}

/// A batch of these chunks.
fn plan(root: u8, chunks: &[u32], upload_by: UnixTime) -> PlanFile {
    let terms = QuoteTerms {
        domain: DOMAIN,
        address: address(0),
        size: 34,
        price: Atto(1_000),
        reward: REWARD,
        issued: CREATED,
        expires: CREATED.saturating_add(QUOTE_LIFETIME),
        min_tip: Atto(1),
        max_prize: Atto(2),
        max_window_secs: 86_400,
        confirmations: 0,
    };
    let quotes = [terms.sign(&PeerSecret::from_seed(&[11; 32])); 5];
    let shares = [Share { payee: REWARD, amount: Atto(1_000) }; 5];
    let leaf = |chunk: &u32| Leaf { address: address(u8::try_from(*chunk).unwrap()), shares };
    PlanFile {
        plan: Plan {
            domain: DOMAIN,
            mode: PlanMode::Batch { root: NodeHash([root; 32]), tip: Atto(300), draws: 1 },
            payer: PAYER,
            leaves: chunks.iter().map(leaf).collect(),
            upload_by,
            valid_until: CREATED,
        },
        chunks: chunks.iter().map(|chunk| Some(ChunkIx(*chunk))).collect(),
        quotes: vec![quotes; chunks.len()],
    }
}

fn signed(file: &PlanFile, nonce: u8) -> SignedTx {
    let payments = vec![file.plan.batch_terms().unwrap().id(&DOMAIN)];
    SignedTx {
        purpose: TxPurpose::PayMany { payments },
        from: PAYER,
        nonce: nonce.into(),
        hash: TxHash([nonce; 32]),
        gas_limit: 100_000,
        max_fee: Wei(1),
        priority_fee: Wei(1),
        raw: vec![2],
    }
}

/// A session of three chunks.
fn session(data: &Arc<dyn Disk>) -> Session {
    let key = SessionKey([3; 32]);
    let lock = KeyLock::take(data.as_ref(), &key).unwrap();
    let chunk = |byte| ChunkInfo { address: address(byte), size: 34, segment: None };
    let manifest = Manifest {
        key,
        created: CREATED,
        domain: DOMAIN,
        payer: PAYER,
        source: SourceNote { name: "a".into(), bytes: 5, skipped: Vec::new() },
        spill: "spill".into(),
        chunks: (0..3).map(chunk).collect(),
        root: None,
        public_address: None,
    };
    Session::start(data, manifest, None, lock).unwrap()
}

async fn add(session: &mut Session, file: &PlanFile) -> PlanIx {
    session.add_plan(file.clone(), &windows()).await.unwrap()
}

fn paid(plan: PlanIx, total: u128) -> Record {
    Record::Paid { plan, recorded: CREATED, total: Atto(total) }
}

async fn the_only(data: &Arc<dyn Disk>, now: UnixTime) -> SessionStatus {
    let [status] = <[_; 1]>::try_from(sessions(data, now).await.unwrap()).unwrap();
    status
}

/// The vault has it and the journal does not: a crash lies between.
#[tokio::test]
async fn a_batch_that_is_signed_and_not_journaled_is_listed() {
    let data: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut session = session(&data);
    let files: Vec<PlanFile> = (0..5).map(|root| plan(root, &[0], UPLOAD_BY)).collect();
    let mut plans = Vec::new();
    for file in &files {
        plans.push(add(&mut session, file).await);
    }
    let mut writer = session.tx_writer();
    // The last one was never signed.
    for (nonce, file) in (0..).zip(&files[..4]) {
        writer.write(&signed(file, nonce)).await.unwrap();
    }
    // Recorded; of another session; never to be recorded. Of the fourth nothing is known.
    let dropped = Record::Dropped { plan: plans[2] };
    session.record(vec![paid(plans[0], 5_300), paid(plans[1], 0), dropped]).await.unwrap();

    let status = the_only(&data, CREATED).await;
    let id = |file: &PlanFile| file.plan.batch_terms().unwrap().id(&DOMAIN);
    let listed: Vec<_> = status.batches.iter().map(|it| (it.payment, it.recorded)).collect();
    assert_eq!(listed, [(id(&files[0]), Some(CREATED)), (id(&files[3]), None)]);
    let [_, open] = &status.batches[..] else { panic!("{status:?}") };
    assert_eq!((open.domain, open.escrow, open.refunded), (DOMAIN, Atto(5_300), None));
    assert_eq!(open.refundable_from.unwrap().0, windows().claim_end(UPLOAD_BY).0 + 1);
    // Money that may not be out is not spend.
    assert_eq!((status.spend.storage_cost, status.spend.tips), (Atto(5_300), Atto(300)));
}

#[tokio::test]
async fn a_chunk_that_is_paid_for_twice_counts_once() {
    let data: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut session = session(&data);
    let first = add(&mut session, &plan(0, &[0, 1, 2], UPLOAD_BY)).await;
    let stored = Record::Stored { chunk: ChunkIx(0), receipts: Vec::new() };
    session.record(vec![paid(first, 15_300), stored]).await.unwrap();
    let counts = |it: SessionStatus| (it.chunks_paid, it.chunks_lapsed, it.upload_by);
    // Our clock may be ahead: for as long as prices last nothing is paid anew.
    let last = UPLOAD_BY.saturating_add(QUOTE_LIFETIME);
    assert_eq!(counts(the_only(&data, last).await), (3, 0, Some(UPLOAD_BY)));
    let over = UnixTime(last.0 + 1);
    assert_eq!(counts(the_only(&data, over).await), (1, 2, None));
    // One of them is paid for anew.
    let later = UnixTime(over.0 + 86_400);
    let second = add(&mut session, &plan(1, &[1], later)).await;
    session.record(vec![paid(second, 5_300)]).await.unwrap();
    assert_eq!(counts(the_only(&data, over).await), (2, 1, Some(later)));
    let all = [1, 2].map(|chunk| Record::Stored { chunk: ChunkIx(chunk), receipts: Vec::new() });
    session.record(all.into()).await.unwrap();
    assert_eq!(counts(the_only(&data, over).await), (3, 0, None));
    // Its proofs are good for repair as long as the last window is open, stored or not.
    let until = later.saturating_add(QUOTE_LIFETIME);
    assert_eq!(the_only(&data, CREATED).await.proofs_until, Some(later));
    assert_eq!(the_only(&data, until).await.proofs_until, Some(later));
    assert_eq!(the_only(&data, UnixTime(until.0 + 1)).await.proofs_until, None);
}
