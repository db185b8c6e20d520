//! Payments that a reorganisation takes back after everything was stored: the same bytes go out again,
//! whoever looks, and nothing is signed for them again.

use std::{
    io::Cursor,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use spillway_client::{
    CommitChoice, ForgetError, ForgetOptions, ModeChoice, Remote, SessionStage, SessionStatus,
    Source, StreamSource, UploadError, UploadOptions, Uploaded, forget,
};
use spillway_disk::{Clock, Disk, MemoryDisk};
use spillway_net::RequestKind;
use spillway_pay::{ChainError, ChainFault, ChainOp};
use spillway_store::{ChunkStore, MemoryStore};
use spillway_tests::{Charged, Cluster, ClusterOptions, SEGMENT, noise};
use spillway_types::Atto;

use super::steps::{lose, losing};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

fn direct() -> UploadOptions {
    UploadOptions { mode: ModeChoice::Direct, ..Cluster::options() }
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

async fn resume(
    cluster: &Cluster,
    data: &MemoryDisk,
    session: &str,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).resume(session, &cluster.payer, None, direct()).await
}

async fn assert_reads(cluster: &Cluster, uploaded: &Uploaded, source: &[u8]) {
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

async fn status(cluster: &Cluster, data: &MemoryDisk, session: &str) -> SessionStatus {
    let sessions = cluster.client(data).sessions().await.unwrap();
    sessions.into_iter().find(|status| status.id == session).unwrap()
}

/// How many transactions were ever signed in a session.
fn signed(data: &MemoryDisk, session: &str) -> usize {
    let entries = data.list(&Path::new("sessions").join(session)).unwrap();
    entries.iter().filter(|entry| entry.name.to_str().unwrap().starts_with("tx-")).count()
}

/// All transactions are gone, as if they had never been, and nodes remember nothing of the chain.
async fn take_back(cluster: &Cluster, blocks: u64) {
    cluster.chain.reorg(blocks);
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));
    for member in &cluster.members {
        cluster.start_member(member);
    }
}

/// Counts the questions for records from now on.
fn count_questions(cluster: &Cluster) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    cluster.chain.set_faults(Some(Box::new(move |op| {
        counted.fetch_add(usize::from(op == ChainOp::Record), Ordering::Relaxed);
        None
    })));
    count
}

#[tokio::test]
async fn a_finished_upload_whose_payment_is_taken_back_sends_it_again_when_it_is_resumed() {
    let batches = Cluster::batch_options(8, CommitChoice::Together);
    for (options, payments) in [(direct(), 1), (batches, 2)] {
        let cluster = five();
        let data = MemoryDisk::new();
        let source = noise(400, 12 * SEGMENT);
        let id = upload(&cluster, &data, &source, options).await.unwrap().upload_id;
        let paid = cluster.charged().await;
        assert_eq!(status(&cluster, &data, &id).await.payments_not_final, payments);
        // Deeper than any quote asks.
        cluster.chain.mine(30);
        take_back(&cluster, 32).await;

        let again = resume(&cluster, &data, &id).await.unwrap();
        assert_eq!((cluster.charged().await, cluster.transactions().await), (paid.clone(), 2));
        assert_eq!((again.spend.storage_cost, signed(&data, &id)), (paid.paid, 2));
        assert!(again.verified, "what is stored was looked for");
        assert_reads(&cluster, &again, &source).await;
        let seen = status(&cluster, &data, &id).await;
        assert_eq!((seen.stage, seen.finished), (SessionStage::Finished, true));
        assert_eq!(seen.payments_not_final, payments);
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);

        // From a depth on nothing is looked for any more.
        cluster.chain.mine(65);
        resume(&cluster, &data, &id).await.unwrap();
        assert_eq!(status(&cluster, &data, &id).await.payments_not_final, 0);
        let asked = count_questions(&cluster);
        resume(&cluster, &data, &id).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(cluster.charged().await, paid);
    }
}

#[tokio::test]
async fn what_nodes_have_dropped_with_its_payment_is_stored_again() {
    let stores: Vec<Arc<MemoryStore>> =
        (0..5).map(|_| Arc::new(MemoryStore::new(1 << 50))).collect();
    let cluster = Cluster::with_stores(stores.iter().map(|store| {
        let store: Arc<dyn ChunkStore> = store.clone();
        store
    }));
    let data = MemoryDisk::new();
    let source = noise(401, 5 * SEGMENT);
    let id = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
    let paid = cluster.charged().await;
    take_back(&cluster, 2).await;
    let chunks: Vec<_> = cluster.stored().into_keys().collect();
    for store in &stores[..3] {
        for chunk in &chunks {
            assert!(store.rot(*chunk));
            assert_eq!(store.get(*chunk).await.unwrap(), None);
        }
    }
    let again = resume(&cluster, &data, &id).await.unwrap();
    assert_eq!(cluster.charged().await, paid);
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5), "all are back");
    assert_reads(&cluster, &again, &source).await;
}

#[tokio::test]
async fn another_upload_of_such_chunks_sends_their_payment_again_and_pays_for_what_is_new() {
    for is_known in [false, true] {
        let cluster = five();
        let data = MemoryDisk::new();
        let source = noise(402, 12 * SEGMENT);
        let first = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
        assert_eq!(cluster.charged().await.paid, Atto(12 * CHUNK_COST));
        cluster.chain.mine(30);
        take_back(&cluster, 32).await;
        if is_known {
            cluster.chain.set_faults(Some(Box::new(|op| {
                let gone = ChainError::Unreachable { endpoint: "rpc".into() };
                (op == ChainOp::SendRaw).then_some(ChainFault::Refuse(gone))
            })));
            resume(&cluster, &data, &first).await.unwrap_err();
            cluster.chain.set_faults(None);
            assert_eq!(status(&cluster, &data, &first).await.stage, SessionStage::Paying);
        }
        edited_upload(&cluster, &data, (source, &first)).await;
    }
}

/// Uploads the source once more with a byte changed; `first` is finished and not recorded.
async fn edited_upload(cluster: &Cluster, data: &MemoryDisk, (mut source, first): (Vec<u8>, &str)) {
    source[6 * SEGMENT + 5] ^= 1;
    cluster.take_log();
    let edited = upload(cluster, data, &source, direct()).await.unwrap();
    assert_reads(cluster, &edited, &source).await;
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, Atto(15 * CHUNK_COST), "three chunks have changed");
    assert_eq!((charged.paid, charged.vault), (cluster.price_of_all(), charged.credited()));
    assert_eq!((edited.chunks_stored, edited.chunks_already_stored), (12, 0), "all were put");
    let puts = cluster.take_log().into_iter().filter(|asked| asked.kind == RequestKind::Put);
    assert_eq!(puts.count(), 12 * 5);
    // The first two transactions are those of before; what is new needs a payment and an allowance.
    assert_eq!((signed(data, first), cluster.transactions().await), (2, 4));
    let stands = resume(cluster, data, first).await.unwrap();
    assert_eq!((cluster.charged().await, signed(data, first)), (charged.clone(), 2));
    // Counted once.
    let spent = stands.spend.storage_cost.saturating_add(edited.spend.storage_cost);
    assert_eq!(spent, charged.paid);
}

#[tokio::test]
async fn the_same_upload_again_sends_a_payment_again_that_was_taken_back() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(403, 4 * SEGMENT);
    upload(&cluster, &data, &source, direct()).await.unwrap();
    let paid = cluster.charged().await;
    take_back(&cluster, 2).await;
    let again = upload(&cluster, &data, &source, direct()).await.unwrap();
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
    assert_eq!((again.chunks_stored, again.spend.storage_cost), (4, Atto::ZERO));
    assert_reads(&cluster, &again, &source).await;
}

#[tokio::test]
async fn a_session_that_goes_on_sends_a_payment_again_that_was_taken_back_elsewhere() {
    let cluster = five();
    let data = MemoryDisk::new();
    let mut source = noise(407, 4 * SEGMENT);
    let first = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
    take_back(&cluster, 2).await;
    source[SEGMENT + 5] ^= 1;
    // Of a stream the session stays.
    let stream = Source::Stream(StreamSource(Box::new(Cursor::new(source.clone()))));
    let little = UploadOptions { max_cost: Some(Atto(1)), ..direct() };
    let error = cluster.client(&data).upload(stream, &cluster.payer, little).await.unwrap_err();
    assert!(matches!(error, UploadError::OverCost { .. }), "{error:?}");
    let sessions = cluster.client(&data).sessions().await.unwrap();
    let id = sessions.into_iter().map(|session| session.id).find(|id| *id != first).unwrap();
    let edited = resume(&cluster, &data, &id).await.unwrap();
    assert_reads(&cluster, &edited, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(7 * CHUNK_COST), "three chunks have changed");
}

#[tokio::test]
async fn a_payment_that_was_taken_back_too_late_is_given_up_only_when_it_never_can_be() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(404, 4 * SEGMENT);
    let id = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
    let disk: Arc<dyn Disk> = Arc::new(data.clone());
    let options = || ForgetOptions { now: cluster.clock.now(), even_paid: false };
    take_back(&cluster, 2).await;
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(3);
    for _ in 0..2 {
        let error = resume(&cluster, &data, &id).await.unwrap_err();
        let UploadError::PartialUpload { stored, failed, spend, cause, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!((stored.len(), failed.len(), spend.storage_cost), (4, 0, Atto::ZERO));
        assert!(matches!(cause.as_deref(), Some(UploadError::Undecided { .. })), "{cause:?}");
        let seen = status(&cluster, &data, &id).await;
        assert_eq!((seen.stage, seen.stakes.undecided_payments), (SessionStage::Paying, 1));
        // It may be charged yet.
        let refused = forget(&disk, &id, options()).await.unwrap_err();
        assert!(matches!(refused, ForgetError::AtStake { .. }), "{refused:?}");
    }
    cluster.chain.mine(65);
    let kept = resume(&cluster, &data, &id).await.unwrap();
    assert_eq!((kept.verified, kept.spend.storage_cost), (true, Atto::ZERO));
    // The network says that it has them, since no payment does.
    assert_eq!((kept.chunks_stored, kept.chunks_already_stored), (0, 4));
    assert_eq!((cluster.charged().await, signed(&data, &id)), (Charged::nothing(), 2));
    assert_reads(&cluster, &kept, &source).await;
    assert!(forget(&disk, &id, options()).await.unwrap().stakes.is_nothing());
}

#[tokio::test]
async fn a_finished_upload_is_said_again_when_the_chain_does_not_answer_for_it() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(405, 4 * SEGMENT);
    let first = upload(&cluster, &data, &source, direct()).await.unwrap();
    cluster.chain.set_faults(Some(Box::new(|op| {
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::Record).then_some(ChainFault::Refuse(gone))
    })));
    let again = resume(&cluster, &data, &first.upload_id).await.unwrap();
    assert_eq!(again.spend, first.spend);
    let seen = status(&cluster, &data, &first.upload_id).await;
    assert_eq!((seen.stage, seen.payments_not_final), (SessionStage::Finished, 1));
    // A server that is behind says that nothing is there: nothing is signed because of it.
    let paid = cluster.charged().await;
    let mut asked = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        asked += u32::from(op == ChainOp::Record);
        (op == ChainOp::Record && asked <= 3).then_some(ChainFault::Lag(10))
    })));
    let again = resume(&cluster, &data, &first.upload_id).await.unwrap();
    assert_eq!((again.spend.storage_cost, cluster.charged().await), (paid.paid, paid));
    assert_eq!((signed(&data, &first.upload_id), cluster.transactions().await), (2, 2));
    assert!(status(&cluster, &data, &first.upload_id).await.finished);
}

#[tokio::test]
async fn what_was_stored_for_a_payment_that_never_can_be_is_paid_where_the_network_has_lost_it() {
    let (cluster, stores) = losing(5);
    let data = MemoryDisk::new();
    let source = noise(406, 4 * SEGMENT);
    let id = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
    take_back(&cluster, 2).await;
    let lost = *cluster.stored().keys().next().unwrap();
    for store in &stores[..3] {
        lose(store, lost);
    }
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(65);
    // No bytes of it are here: nobody is asked to pay for it.
    match resume(&cluster, &data, &id).await.unwrap_err() {
        UploadError::LostChunks { session, lost: found } => {
            assert_eq!((session, found), (id.clone(), vec![lost]));
        }
        other => panic!("{other:?}"),
    }
    let seen = status(&cluster, &data, &id).await;
    assert_eq!((seen.stage, seen.finished), (SessionStage::Sealed, false));
    assert_eq!(cluster.charged().await, Charged::nothing());

    let again = upload(&cluster, &data, &source, direct()).await.unwrap();
    assert_eq!((&again.upload_id, again.verified), (&id, true));
    assert_eq!((again.chunks_stored, again.chunks_already_stored), (1, 3));
    assert_eq!(again.spend.storage_cost, Atto(CHUNK_COST));
    assert_eq!(cluster.charged().await.paid, Atto(CHUNK_COST));
    assert_eq!(cluster.stored()[&lost].1, 5, "they have it again");
    assert_reads(&cluster, &again, &source).await;
}
