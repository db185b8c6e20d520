//! Sessions by their names: going on with one, forgetting one, and what another one knows already.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use spillway_client::{
    ChunkFailure, CommitChoice, ForgetError, ForgetOptions, SessionError, SessionStage, Source,
    UploadError, UploadOptions, Uploaded, forget, refund, session_data_map,
};
use spillway_disk::{Clock, Disk, Fault, FaultPlan, Faults, MemoryDisk, Overwrite, Survival};
use spillway_net::RequestKind;
use spillway_pay::{ChainFault, ChainOp, Wallet};
use spillway_tests::{Charged, Cluster, ClusterOptions, Picture, SEGMENT, Tricks, noise};
use spillway_types::{
    Atto, ChunkAddress, QuoteAnswer, QuoteRequest, QuoteResponse,
    limits::{CLOSE_GROUP, QUOTE_LIFETIME},
};

use super::steps::{self, arc, assert_reads, give_no_prices, interrupted, the_only};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;
const DAY: Duration = Duration::from_hours(24);

fn five() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() })
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
) -> Result<Uploaded, UploadError> {
    steps::upload(cluster, data, source, Cluster::options()).await
}

async fn resume(
    cluster: &Cluster,
    data: &MemoryDisk,
    session: &str,
    source: Option<Source>,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).resume(session, &cluster.payer, source, Cluster::options()).await
}

fn options(cluster: &Cluster) -> ForgetOptions {
    ForgetOptions { now: cluster.clock.now(), even_paid: false }
}

/// The sealed chunks that wait.
fn spilled(data: &MemoryDisk) -> Vec<PathBuf> {
    let paths = Picture::of(data, Path::new("spill")).paths();
    let is_chunk = |path: &String| path.len() > 64 && !path.ends_with("lock");
    paths.into_iter().filter(is_chunk).map(|path| Path::new("spill").join(path)).collect()
}

#[tokio::test]
async fn a_session_goes_on_from_its_spill_alone_and_charges_nothing_more() {
    let cluster = five();
    let source = noise(300, 10 * SEGMENT);
    let (data, id) = interrupted(&cluster, &source, 4, Cluster::options()).await;
    let paid = cluster.charged().await;
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!((status.stage, status.chunks_stored), (SessionStage::Storing, 4));
    cluster.take_log();
    let uploaded = resume(&cluster, &data, &id[..6], None).await.unwrap();
    assert_eq!((uploaded.upload_id.as_str(), uploaded.chunks_stored), (id.as_str(), 10));
    assert_eq!((cluster.charged().await, uploaded.spend.storage_cost), (paid.clone(), paid.paid));
    let log = cluster.take_log();
    assert!(log.iter().all(|asked| asked.kind == RequestKind::Put), "nothing was priced anew");
    assert_eq!(spilled(&data), [] as [PathBuf; 0]);
    assert_reads(&cluster, &uploaded, &source).await;
    cluster.take_log();

    // Once more: it is said again, and nobody is asked anything.
    let again = resume(&cluster, &data, &id, None).await.unwrap();
    assert_eq!((again.data_map.clone(), again.spend.clone()), (uploaded.data_map, uploaded.spend));
    assert_eq!(session_data_map(&arc(&data), &id[..4]).await.unwrap(), again.data_map.unwrap());
    assert_eq!(cluster.take_log(), []);
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!((status.stage, status.stakes.is_nothing()), (SessionStage::Finished, true));
}

#[tokio::test]
async fn a_session_is_found_by_the_one_name_that_begins_so_and_by_its_wallet_only() {
    let cluster = five();
    let (data, id) = interrupted(&cluster, &noise(301, SEGMENT), 0, Cluster::options()).await;
    for name in ["", "zz", "../sessions", "/"] {
        match resume(&cluster, &data, name, None).await.unwrap_err() {
            UploadError::Session(SessionError::NotFound { session }) => assert_eq!(session, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let stranger = Arc::new(Wallet::from_bytes(&[8; 32]).unwrap());
    let client = cluster.client(&data);
    match client.resume(&id, &stranger, None, Cluster::options()).await.unwrap_err() {
        UploadError::Session(SessionError::OtherPayer { payer, .. }) => {
            assert_eq!(payer, cluster.payer.address());
        }
        other => panic!("{other:?}"),
    }
    // A copy of it whose name begins so too.
    let twin = Path::new("sessions").join(format!("{id}-2"));
    data.create_dir_all(&twin).unwrap();
    match resume(&cluster, &data, &id[..8], None).await.unwrap_err() {
        UploadError::Session(SessionError::Ambiguous { found: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    resume(&cluster, &data, &id, None).await.unwrap();
}

#[tokio::test]
async fn the_same_contents_under_another_name_are_the_same_session() {
    let cluster = five();
    let source = noise(302, 3 * SEGMENT);
    let (data, id) = interrupted(&cluster, &source, 1, Cluster::options()).await;
    let paid = cluster.charged().await;
    let renamed = || {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("moved")).unwrap();
        let path = PathBuf::from("moved/renamed");
        disk.write_durable(&path, &source, Overwrite::Never).unwrap();
        Source::Path { disk: Arc::new(disk), path }
    };
    let there = data.crash(Survival::Everything);
    let client = cluster.client(&there);
    let uploaded = client.upload(renamed(), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((uploaded.upload_id.as_str(), cluster.charged().await), (id.as_str(), paid.clone()));
    // Chunks that the spill has lost come from there, too.
    for chunk in spilled(&data) {
        data.remove_file(&chunk).unwrap();
    }
    let resumed = resume(&cluster, &data, &id, Some(renamed())).await.unwrap();
    assert_eq!((resumed.chunks_stored, cluster.charged().await), (3, paid));
    assert_reads(&cluster, &resumed, &source).await;
}

#[tokio::test]
async fn a_source_that_has_changed_seals_nothing_and_stops_nothing() {
    let cluster = five();
    let source = noise(303, 4 * SEGMENT);
    let (data, id) = interrupted(&cluster, &source, 1, Cluster::options()).await;
    let paid = cluster.charged().await;
    let held: BTreeSet<String> = cluster.stored().keys().map(ToString::to_string).collect();
    let mut chunks = spilled(&data);
    chunks.retain(|path| !held.contains(path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(chunks.len(), 3);
    data.remove_file(&chunks[0]).unwrap();
    for lost in [None, Some(Cluster::file(&noise(304, 4 * SEGMENT)))] {
        let error = resume(&cluster, &data, &id, lost).await.unwrap_err();
        let UploadError::PartialUpload { stored, failed, .. } = error else { panic!("{error:?}") };
        assert_eq!((stored.len(), failed.len()), (3, 1));
        assert_eq!(failed[0].1, ChunkFailure::LostBytes);
    }
    resume(&cluster, &data, &id, Some(Cluster::file(&source))).await.unwrap();
    assert_eq!(cluster.charged().await, paid);
}

#[tokio::test]
async fn nothing_is_paid_for_chunks_that_are_lost() {
    let cluster = five();
    let source = noise(305, 4 * SEGMENT);
    let data = MemoryDisk::new();
    give_no_prices(&cluster);
    upload(&cluster, &data, &source).await.unwrap_err();
    cluster.book().behave();
    let id = the_only(&cluster, &data).await;
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!(status.stage, SessionStage::Sealed);
    // Gone, and rotten.
    let chunks = spilled(&data);
    data.remove_file(&chunks[0]).unwrap();
    let mut bytes = data.read(&chunks[1], u64::MAX).unwrap();
    bytes[7] ^= 1;
    data.write_durable(&chunks[1], &bytes, Overwrite::Replace).unwrap();
    match resume(&cluster, &data, &id, None).await.unwrap_err() {
        UploadError::LostChunks { session, lost } => {
            assert_eq!(session, id);
            let names = lost.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
            let expected = chunks[..2].iter().map(|path| path.file_name().unwrap());
            let expected = expected.map(|name| name.to_str().unwrap().to_owned()).collect();
            assert_eq!(names, expected);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.charged().await, Charged::nothing());
    let uploaded = resume(&cluster, &data, &id, Some(Cluster::file(&source))).await.unwrap();
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    assert_reads(&cluster, &uploaded, &source).await;
}

/// Planned and not signed, with the disk failing in between, and then the chunks are gone.
#[tokio::test]
async fn a_plan_that_was_never_signed_is_not_paid_for_chunks_that_are_lost() {
    let cluster = five();
    let source = noise(307, 4 * SEGMENT);
    let has = |data: &MemoryDisk, id: &str, prefix: &str| {
        let entries = data.list(&Path::new("sessions").join(id)).unwrap();
        entries.iter().any(|entry| entry.name.to_str().unwrap().starts_with(prefix))
    };
    for at in 1.. {
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let done = upload(&cluster, &data, &source).await;
        faults.disarm();
        assert!(done.is_err(), "it never came to a plan without a signature");
        let sessions = cluster.client(&data).sessions().await.unwrap();
        let Some(id) = sessions.first().map(|session| session.id.clone()) else { continue };
        if !has(&data, &id, "plan-") || has(&data, &id, "tx-") {
            continue;
        }
        let before = cluster.charged().await;
        let chunks = spilled(&data);
        data.remove_file(&chunks[0]).unwrap();
        match resume(&cluster, &data, &id, None).await.unwrap_err() {
            UploadError::LostChunks { session, lost } => {
                assert_eq!((session, lost.len()), (id.clone(), 1));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(cluster.charged().await, before, "nothing is paid");
        resume(&cluster, &data, &id, Some(Cluster::file(&source))).await.unwrap();
        assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
        return;
    }
}

#[tokio::test]
async fn an_edit_asks_nothing_and_stores_nothing_of_what_another_session_has_stored() {
    let cluster = five();
    let mut source = noise(306, 20 * SEGMENT);
    let data = MemoryDisk::new();
    upload(&cluster, &data, &source).await.unwrap();
    let held: BTreeSet<ChunkAddress> = cluster.stored().into_keys().collect();
    // Nodes that deny to have anything, and remember what they were asked.
    let asked: Arc<Mutex<BTreeSet<ChunkAddress>>> = Arc::default();
    for member in &cluster.members {
        let asked = Arc::clone(&asked);
        let deny = move |request: &QuoteRequest, mut response: QuoteResponse| {
            asked.lock().unwrap().extend(request.items.iter().map(|item| item.address));
            for answer in response.answers.as_mut().unwrap() {
                if let QuoteAnswer::Offered { receipt, .. } = answer {
                    *receipt = None;
                }
            }
            response
        };
        member.play(Tricks { quote: Some(Box::new(deny)), ..Tricks::default() });
    }
    source[12 * SEGMENT + 5] ^= 1;
    cluster.take_log();
    let edited = upload(&cluster, &data, &source).await.unwrap();
    let changed: BTreeSet<ChunkAddress> =
        cluster.stored().into_keys().filter(|address| !held.contains(address)).collect();
    assert_eq!(changed.len(), 3);
    assert_eq!(*asked.lock().unwrap(), changed, "prices");
    let puts = cluster.take_puts();
    assert_eq!(puts.keys().copied().collect::<BTreeSet<_>>(), changed, "puts");
    assert_eq!(puts.values().sum::<usize>(), 3 * CLOSE_GROUP);
    assert_eq!((edited.chunks_stored, edited.chunks_already_stored), (3, 17));
    assert_eq!(cluster.charged().await.paid, Atto(23 * CHUNK_COST));
    assert_reads(&cluster, &edited, &source).await;

    // When the upload windows are over, the network is asked again.
    cluster.book().behave();
    cluster.clock.advance(DAY + QUOTE_LIFETIME + Duration::from_mins(1));
    cluster.chain.mine(1);
    source[3 * SEGMENT] ^= 1;
    cluster.take_log();
    let later = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!((later.chunks_stored, later.chunks_already_stored), (3, 17));
    let quotes = cluster.take_log().iter().filter(|it| it.kind == RequestKind::Quote).count();
    assert!(quotes >= CLOSE_GROUP, "{quotes}");
    assert_eq!(cluster.charged().await.paid, Atto(26 * CHUNK_COST));
}

#[tokio::test]
async fn what_is_paid_and_not_stored_is_forgotten_only_when_its_proof_is_over() {
    let cluster = five();
    let source = noise(307, 10 * SEGMENT);
    let (data, id) = interrupted(&cluster, &source, 4, Cluster::options()).await;
    let before = Picture::of(&data, Path::new(""));
    let upload_by = cluster.client(&data).sessions().await.unwrap()[0].upload_by.unwrap();
    let last = upload_by.saturating_add(QUOTE_LIFETIME);
    for now in [cluster.clock.now(), upload_by, last] {
        cluster.clock.set(now);
        match forget(&arc(&data), &id, options(&cluster)).await.unwrap_err() {
            ForgetError::AtStake { session, stakes } => {
                assert_eq!((session, stakes.unstored_chunks), (id.clone(), 6));
                assert_eq!(stakes.unstored, Atto(6 * CHUNK_COST));
                assert_eq!(stakes.store_until, Some(upload_by));
                assert_eq!((stakes.undecided_payments, stakes.refundable_batches), (0, 0));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(Picture::of(&data, Path::new("")), before);
    }
    let told = data.crash(Survival::Everything);
    let even = ForgetOptions { even_paid: true, ..options(&cluster) };
    let forgotten = forget(&arc(&told), &id[..5], even).await.unwrap();
    assert_eq!((forgotten.session, forgotten.stakes.unstored_chunks), (id.clone(), 6));
    assert_eq!(Picture::of(&told, Path::new("")).paths(), ["", "sessions", "spill"]);

    cluster.clock.set(last.saturating_add(Duration::from_secs(1)));
    let forgotten = forget(&arc(&data), &id, options(&cluster)).await.unwrap();
    assert!(forgotten.stakes.is_nothing());
    assert_eq!(Picture::of(&data, Path::new("")).paths(), ["", "sessions", "spill"]);
    match forget(&arc(&data), &id, options(&cluster)).await.unwrap_err() {
        ForgetError::Session(SessionError::NotFound { session }) => assert_eq!(session, id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_signed_and_not_decided_is_not_forgotten() {
    let cluster = five();
    let source = noise(308, 3 * SEGMENT);
    let data = MemoryDisk::new();
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    upload(&cluster, &data, &source).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = the_only(&cluster, &data).await;
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!(status.stage, SessionStage::Paying);
    match forget(&arc(&data), &id, options(&cluster)).await.unwrap_err() {
        ForgetError::AtStake { stakes, .. } => {
            assert_eq!((stakes.undecided_payments, stakes.unstored_chunks), (1, 0));
            assert_eq!(stakes.undecided, Atto(3 * CHUNK_COST));
            assert_eq!(status.stakes, *stakes);
            let text = format!("1 payments of {} are signed and may be taken", 3 * CHUNK_COST);
            assert_eq!(stakes.to_string(), text);
        }
        other => panic!("{other:?}"),
    }
    // The chain says that it never will be taken.
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(70);
    let none = UploadOptions { max_cost: Some(Atto(1)), ..Cluster::options() };
    steps::upload(&cluster, &data, &source, none).await.unwrap_err();
    forget(&arc(&data), &id, options(&cluster)).await.unwrap();
    assert_eq!(
        Picture::of(&data, Path::new("")).paths(),
        ["", "sessions", "sessions/planning.lock", "spill"]
    );
}

#[tokio::test]
async fn what_may_come_back_of_a_batch_is_not_forgotten_before_it_has() {
    let cluster = Cluster::with(ClusterOptions::batches(5));
    let source = noise(309, 6 * SEGMENT);
    let data = MemoryDisk::new();
    let batches = Cluster::batch_options(4, CommitChoice::Together);
    let uploaded = steps::upload(&cluster, &data, &source, batches).await.unwrap();
    let refuse = || async {
        match forget(&arc(&data), &uploaded.upload_id, options(&cluster)).await.unwrap_err() {
            ForgetError::AtStake { stakes, .. } => *stakes,
            other => panic!("{other:?}"),
        }
    };
    let stakes = refuse().await;
    assert_eq!((stakes.refundable_batches, stakes.unstored_chunks), (2, 0));
    assert_eq!(stakes.refundable, cluster.charged().await.paid);
    let from = stakes.refundable_from.unwrap();
    cluster.clock.set(from);
    cluster.chain.mine(1);
    assert_eq!(refuse().await, stakes, "nobody has asked for it");
    refund(&cluster.payments(), &cluster.payer, &arc(&data), None).await.unwrap();
    assert_eq!(cluster.charged().await.paid, Atto::ZERO);
    forget(&arc(&data), &uploaded.upload_id, options(&cluster)).await.unwrap();
    assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_session_that_runs_is_not_forgotten() {
    let cluster = five();
    let data = MemoryDisk::new();
    cluster.book().let_through(0);
    let source = noise(310, 2 * SEGMENT);
    tokio::select! {
        result = upload(&cluster, &data, &source) => panic!("{result:?}"),
        () = async {
            cluster.wait_for_hanging(CLOSE_GROUP).await;
            let id = the_only(&cluster, &data).await;
            let even = ForgetOptions { even_paid: true, ..options(&cluster) };
            let before = Picture::of(&data, Path::new(""));
            match forget(&arc(&data), &id, even).await.unwrap_err() {
                ForgetError::Session(SessionError::Busy { .. }) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(Picture::of(&data, Path::new("")), before);
        } => {}
    }
}
