//! Uploads that are only done when their chunks were found where they were stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use spillway_client::{
    ChunkFailure, Remote, SessionStage, SessionStatus, UploadError, UploadOptions, VerifyUpload,
};
use spillway_disk::{Clock, Disk, Fault, FaultPlan, Faults, MemoryDisk, Survival};
use spillway_net::RequestKind;
use spillway_tests::{Cluster, ClusterOptions, HookedDisk, Tricks, noise};
use spillway_types::ChunkAddress;
use tokio_util::sync::CancellationToken;

use super::steps::{lose, losing, resume, upload};

fn five() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() })
}

fn waiting() -> UploadOptions {
    UploadOptions { verify: VerifyUpload::Wait, ..Cluster::options() }
}

async fn session(cluster: &Cluster, data: &MemoryDisk) -> SessionStatus {
    cluster.client(data).sessions().await.unwrap().remove(0)
}

/// The chunks in the only spill.
fn spilled(data: &MemoryDisk) -> BTreeSet<ChunkAddress> {
    let spills = data.list(Path::new("spill")).unwrap();
    assert_eq!(spills.len(), 1, "{spills:?}");
    let names = data.list(&Path::new("spill").join(&spills[0].name)).unwrap().into_iter();
    let names = names.map(|entry| entry.name).filter(|name| name != Path::new("lock"));
    names.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
}

/// Says of these chunks that it does not have them.
fn denies(chunks: BTreeSet<ChunkAddress>) -> Tricks {
    let has = move |address, is_there| is_there && !chunks.contains(&address);
    Tricks { has: Some(Box::new(has)), ..Tricks::default() }
}

/// The chunks that an upload of this would have, in no order.
async fn chunks_of(source: &[u8]) -> BTreeSet<ChunkAddress> {
    let other = five();
    upload(&other, &MemoryDisk::new(), source, Cluster::options()).await.unwrap();
    other.stored().into_keys().collect()
}

/// A cluster whose first three nodes lose every chunk once, after they have signed for it.
fn forgetful() -> (Cluster, Arc<AtomicUsize>) {
    let (cluster, stores) = losing(5);
    let losses = Arc::new(AtomicUsize::new(0));
    for (member, store) in cluster.members.iter().zip(stores).take(3) {
        let (lost, losses) = (std::sync::Mutex::new(BTreeSet::new()), Arc::clone(&losses));
        let receipt = move |receipt: spillway_types::Receipt| {
            let address = receipt.body.address;
            if lost.lock().unwrap().insert(address) {
                lose(&store, address);
                losses.fetch_add(1, Ordering::Relaxed);
            }
            receipt
        };
        member.play(Tricks { receipt: Some(Box::new(receipt)), ..Tricks::default() });
    }
    (cluster, losses)
}

#[tokio::test]
async fn one_that_waits_is_verified_and_one_that_does_not_is_not() {
    let source = noise(320, 16_500);
    for (options, verified) in [(waiting(), true), (Cluster::options(), false)] {
        let cluster = five();
        let data = MemoryDisk::new();
        let uploaded = upload(&cluster, &data, &source, options).await.unwrap();
        assert_eq!((uploaded.verified, uploaded.chunks_stored), (verified, 17));
        let mut counts: BTreeMap<RequestKind, usize> = BTreeMap::new();
        for asked in cluster.take_log() {
            *counts.entry(asked.kind).or_default() += 1;
        }
        // Of 17 chunks one is read or two are, of five copies each.
        let (gets, puts) = (counts.remove(&RequestKind::Get), counts[&RequestKind::Put]);
        assert!(matches!((gets, verified), (None, false) | (Some(5 | 10), true)), "{gets:?}");
        assert_eq!(puts, 17 * 5);
        assert_eq!(counts.contains_key(&RequestKind::Has), verified);
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);
        assert_eq!(session(&cluster, &data).await.stage, SessionStage::Finished);
        // What it came to is said again.
        let id = uploaded.upload_id;
        let client = cluster.client(&data);
        let again = client.resume(&id, &cluster.payer, None, Cluster::options()).await.unwrap();
        assert_eq!(again.verified, verified);
    }
}

#[tokio::test]
async fn what_was_lost_after_its_receipts_is_stored_again_without_paying() {
    let (cluster, losses) = forgetful();
    let data = MemoryDisk::new();
    let source = noise(321, 5_500);
    let uploaded = upload(&cluster, &data, &source, waiting()).await.unwrap();
    assert!(uploaded.verified);
    assert_eq!((uploaded.chunks_stored, losses.load(Ordering::Relaxed)), (6, 18));
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5), "all are back");
    // Only where it was missing.
    let puts = cluster.take_puts();
    assert!(puts.values().all(|count| *count == 5 + 3), "{puts:?}");
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    assert_eq!(cluster.transactions().await, 2);
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn what_is_not_found_keeps_its_bytes_and_is_said_and_goes_on_later() {
    let source = noise(322, 5_500);
    let chunks = chunks_of(&source).await;
    let denied: BTreeSet<_> = chunks.iter().copied().take(2).collect();
    let cluster = five();
    for member in &cluster.members[..3] {
        member.play(denies(denied.clone()));
    }
    let data = MemoryDisk::new();
    let error = upload(&cluster, &data, &source, waiting()).await.unwrap_err();
    let UploadError::PartialUpload { stored, failed, paid_unstored, cause, .. } = error else {
        panic!("{error:?}");
    };
    assert!(cause.is_none(), "{cause:?}");
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), chunks, "all have their receipts");
    assert_eq!(paid_unstored, []);
    let why = ChunkFailure::NotVerified { copies: 2 };
    let expected: BTreeMap<_, _> = denied.iter().map(|chunk| (*chunk, why.clone())).collect();
    assert_eq!(failed.into_iter().collect::<BTreeMap<_, _>>(), expected);
    // What was found is let go of.
    assert_eq!(spilled(&data), denied);
    let status = session(&cluster, &data).await;
    assert_eq!((status.stage, status.finished), (SessionStage::Verifying, false));
    let charged = cluster.charged().await;

    // Also who does not ask for it now waits: it was begun so.
    let again = upload(&cluster, &data, &source, Cluster::options()).await.unwrap_err();
    assert!(matches!(again, UploadError::PartialUpload { .. }), "{again:?}");
    assert_eq!(spilled(&data), denied);

    cluster.book().behave();
    let client = cluster.client(&data);
    let uploaded = client.resume(&status.id, &cluster.payer, None, Cluster::options()).await;
    let uploaded = uploaded.unwrap();
    assert!(uploaded.verified);
    assert_eq!((cluster.charged().await, cluster.transactions().await), (charged, 2));
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);
}

#[tokio::test]
async fn peers_that_only_say_that_they_have_a_chunk_are_found_out() {
    let cluster = five();
    for member in &cluster.members {
        let has = Box::new(|_, _| true);
        let get = Box::new(|_, _| None);
        member.play(Tricks { has: Some(has), get: Some(get), ..Tricks::default() });
    }
    let data = MemoryDisk::new();
    let source = noise(323, 2_500);
    let error = upload(&cluster, &data, &source, waiting()).await.unwrap_err();
    let UploadError::PartialUpload { failed, .. } = error else { panic!("{error:?}") };
    // One is read, the others are believed.
    let [(address, ChunkFailure::NotVerified { copies: 0 })] = failed[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(spilled(&data), [address].into());
    cluster.book().behave();
    let uploaded = upload(&cluster, &data, &source, waiting()).await.unwrap();
    assert!(uploaded.verified);
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn after_the_window_it_is_offered() {
    let source = noise(324, 2_500);
    let (cluster, _) = forgetful();
    let data = MemoryDisk::new();
    // Nobody takes it again for now.
    let chunks = chunks_of(&source).await;
    let tries = Arc::new(AtomicUsize::new(0));
    for member in &cluster.members[3..] {
        member.play(denies(chunks.clone()));
    }
    let counted = Arc::clone(&tries);
    cluster.set_faults(move |_, kind| {
        let late = kind == RequestKind::Put && counted.fetch_add(1, Ordering::Relaxed) >= 15;
        if late { spillway_net::Fault::Unreachable } else { spillway_net::Fault::Deliver }
    });
    let error = upload(&cluster, &data, &source, waiting()).await.unwrap_err();
    assert!(matches!(error, UploadError::PartialUpload { .. }), "{error:?}");
    assert!(tries.load(Ordering::Relaxed) > 15, "it was tried");
    let charged = cluster.charged().await;
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 2));

    cluster.heal();
    cluster.book().behave();
    cluster.clock.advance(Duration::from_hours(20 * 24));
    cluster.take_log();
    let uploaded = upload(&cluster, &data, &source, waiting()).await.unwrap();
    assert!(uploaded.verified);
    let log = cluster.take_log();
    let count = |kind| log.iter().filter(|asked| asked.kind == kind).count();
    assert_eq!((count(RequestKind::Offer), count(RequestKind::Put)), (9, 0));
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5));
    assert_eq!(cluster.charged().await, charged);
}

#[tokio::test]
async fn chunks_that_the_network_had_before_are_looked_for_too() {
    let source = noise(325, 2_500);
    let cluster = five();
    upload(&cluster, &MemoryDisk::new(), &source, Cluster::options()).await.unwrap();
    let chunks: BTreeSet<_> = cluster.stored().into_keys().collect();
    let charged = cluster.charged().await;
    let one: BTreeSet<_> = chunks.iter().copied().take(1).collect();
    for member in &cluster.members[..3] {
        member.play(denies(one.clone()));
    }
    let data = MemoryDisk::new();
    let error = upload(&cluster, &data, &source, waiting()).await.unwrap_err();
    let UploadError::PartialUpload { failed, .. } = error else { panic!("{error:?}") };
    let address = *one.first().unwrap();
    assert_eq!(failed, [(address, ChunkFailure::NotVerified { copies: 2 })]);
    cluster.book().behave();
    let uploaded = upload(&cluster, &data, &source, waiting()).await.unwrap();
    assert_eq!((uploaded.verified, uploaded.chunks_already_stored), (true, 3));
    assert_eq!(cluster.charged().await, charged);
}

/// The disk dies at its Nth change, for every N, while nodes forget what they have signed for; then
/// it goes on with what is left.
async fn dies_everywhere(survival: impl Fn(u64) -> Survival) {
    let source = noise(326, 2_500);
    let mut half_verified = 0;
    for at in 1.. {
        let (cluster, _) = forgetful();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new();
        let dying = data.clone().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let client = cluster.client_on(Arc::new(dying), CancellationToken::new());
        let first = client.upload(Cluster::file(&source), &cluster.payer, waiting()).await;
        if faults.count() < at {
            assert!(first.unwrap().verified);
            assert!(half_verified > 3, "it died while it was verified: {half_verified}");
            return;
        }
        let after = data.crash(survival(at));
        let before = cluster.client(&after).sessions().await.unwrap();
        half_verified += u32::from(before.iter().any(|it| it.stage == SessionStage::Verifying));
        let again = upload(&cluster, &after, &source, waiting()).await;
        let uploaded = match again {
            Ok(uploaded) => uploaded,
            Err(error) => panic!("died at change {at} ({first:?}): {error:?}"),
        };
        assert!(uploaded.verified, "died at change {at}");
        let charged = cluster.charged().await;
        assert_eq!(charged.paid, cluster.price_of_all(), "died at change {at}");
        let copies: Vec<_> = cluster.stored().into_values().map(|(_, copies)| copies).collect();
        assert!(copies.iter().all(|copies| *copies >= 3), "died at change {at}: {copies:?}");
        let map = Remote::DataMap(uploaded.data_map.unwrap());
        assert_eq!(cluster.read_back(map).await.unwrap(), source, "died at change {at}");
        // One that was finished leaves its spill to the reaper.
        if before.iter().any(|session| !session.finished) {
            let spills = after.list(Path::new("spill")).unwrap().into_iter();
            let mut spills = spills.filter(|it| !it.name.to_string_lossy().starts_with(".tmp-"));
            assert_eq!(spills.next(), None, "died at change {at}");
        }
    }
}

#[tokio::test]
async fn a_power_cut_at_any_change_leaves_the_rest_to_be_verified() {
    dies_everywhere(|_| Survival::Nothing).await;
}

#[tokio::test]
async fn a_kill_at_any_change_leaves_the_rest_to_be_verified() {
    dies_everywhere(|_| Survival::Everything).await;
}

#[tokio::test]
async fn verifying_begins_while_other_chunks_are_stored() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(327, 11_500);
    cluster.book().let_through(6);
    let client = cluster.client(&data);
    let uploading = client.upload(Cluster::file(&source), &cluster.payer, waiting());
    let asked = async {
        loop {
            cluster.wait_for_hanging(1).await;
            let log = cluster.take_log();
            if log.iter().any(|asked| asked.kind == RequestKind::Has) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = uploading => panic!("{result:?}"),
        () = asked => {}
    }
    let stored: BTreeSet<_> = cluster.stored().into_keys().collect();
    assert_eq!(stored.len(), 6, "the others are not stored yet");
}

#[tokio::test]
async fn a_finished_upload_is_verified_as_often_as_it_is_asked_for() {
    let (cluster, stores) = losing(5);
    let data = MemoryDisk::new();
    let source = noise(328, 2_500);
    let first = upload(&cluster, &data, &source, Cluster::options()).await.unwrap();
    assert!(!first.verified);
    let charged = cluster.charged().await;
    let chunks: Vec<_> = cluster.stored().into_keys().collect();
    for lost in [&chunks[..1], &chunks[1..]] {
        for store in &stores[..3] {
            for address in lost {
                lose(store, *address);
            }
        }
        let again = resume(&cluster, &data, &first.upload_id, waiting()).await.unwrap();
        assert!(again.verified);
        assert_eq!((again.chunks_stored, &again.data_map), (3, &first.data_map));
        assert!(cluster.stored().values().all(|&(_, copies)| copies == 5), "all are back");
        assert_eq!(cluster.charged().await, charged);
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);
        assert_eq!(session(&cluster, &data).await.stage, SessionStage::Finished);
    }
    // Nobody is asked anything by who does not want it.
    cluster.take_log();
    let said = resume(&cluster, &data, &first.upload_id, Cluster::options()).await.unwrap();
    assert!(said.verified);
    assert_eq!(cluster.take_log(), []);
}

#[tokio::test]
async fn a_finished_upload_that_is_not_found_is_said_and_goes_on_later() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(329, 2_500);
    let id = upload(&cluster, &data, &source, Cluster::options()).await.unwrap().upload_id;
    let denied: BTreeSet<_> = cluster.stored().into_keys().take(1).collect();
    for member in &cluster.members[..3] {
        member.play(denies(denied.clone()));
    }
    // Who asks, and who goes on after that.
    for options in [waiting(), Cluster::options()] {
        let error = resume(&cluster, &data, &id, options).await.unwrap_err();
        let UploadError::PartialUpload { failed, .. } = error else { panic!("{error:?}") };
        let [(address, ChunkFailure::NotVerified { copies: 2 })] = failed[..] else {
            panic!("{failed:?}");
        };
        assert!(denied.contains(&address));
    }
    cluster.book().behave();
    assert!(resume(&cluster, &data, &id, Cluster::options()).await.unwrap().verified);
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn what_another_session_has_stored_and_the_network_lost_is_stored_again_with_its_proof() {
    let (cluster, stores) = losing(5);
    let data = MemoryDisk::new();
    let source = noise(330, 3_500);
    upload(&cluster, &data, &source, Cluster::options()).await.unwrap();
    let charged = cluster.charged().await;
    let lost = *cluster.stored().keys().next().unwrap();
    for store in &stores[1..4] {
        lose(store, lost);
    }
    // The same contents once more: its receipts say that all is stored.
    let again = upload(&cluster, &data, &source, waiting()).await.unwrap();
    assert_eq!((again.verified, again.chunks_already_stored), (true, 4));
    assert_eq!(cluster.stored()[&lost].1, 5);
    assert_eq!(cluster.charged().await, charged);
}

#[tokio::test]
async fn one_good_copy_and_two_that_are_only_said_to_be_are_too_few() {
    let cluster = five();
    for (at, member) in cluster.members.iter().enumerate() {
        member.play(match at {
            0 | 1 => Tricks { get: Some(Box::new(|_, _| None)), ..Tricks::default() },
            2 => Tricks::default(),
            _ => Tricks { has: Some(Box::new(|_, _| false)), ..Tricks::default() },
        });
    }
    let data = MemoryDisk::new();
    let source = noise(331, 900);
    let error = upload(&cluster, &data, &source, waiting()).await.unwrap_err();
    let UploadError::PartialUpload { failed, .. } = error else { panic!("{error:?}") };
    let [(address, ChunkFailure::NotVerified { copies: 1 })] = failed[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(spilled(&data), [address].into());
    cluster.book().behave();
    assert!(upload(&cluster, &data, &source, waiting()).await.unwrap().verified);
}

#[tokio::test]
async fn which_chunk_is_read_is_another_one_in_other_runs() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(332, 2_500);
    let id = upload(&cluster, &data, &source, waiting()).await.unwrap().upload_id;
    let chunks: BTreeSet<_> = cluster.stored().into_keys().collect();
    assert_eq!(chunks.len(), 3);
    let mut read = cluster.take_gets();
    // That one of three is never chosen happens once in 10^11 times.
    for _ in 0..64 {
        resume(&cluster, &data, &id, waiting()).await.unwrap();
        let gets = cluster.take_gets();
        assert_eq!(gets.len(), 1, "{gets:?}");
        read.extend(gets);
    }
    assert_eq!(read, chunks);
}

#[tokio::test]
async fn a_clock_that_was_ahead_when_a_chunk_was_missed_is_not_caught_up_with() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(333, 2_500);
    let id = upload(&cluster, &data, &source, Cluster::options()).await.unwrap().upload_id;
    let chunks: BTreeSet<_> = cluster.stored().into_keys().collect();
    for member in &cluster.members[..3] {
        member.play(denies(chunks.clone()));
    }
    let right = cluster.clock.now();
    cluster.clock.advance(Duration::from_hours(365 * 24));
    resume(&cluster, &data, &id, waiting()).await.unwrap_err();
    cluster.clock.set(right);
    let before = cluster.clock.monotonic();
    resume(&cluster, &data, &id, waiting()).await.unwrap_err();
    let waited = cluster.clock.monotonic().saturating_sub(before);
    assert!(waited > Duration::from_mins(1), "it was left alone: {waited:?}");
    assert!(waited < Duration::from_hours(1), "{waited:?}");
    cluster.book().behave();
    assert!(resume(&cluster, &data, &id, waiting()).await.unwrap().verified);
}

/// How many journals are read while these sessions, which are finished, are verified this long after, when
/// most nodes have lost so many chunks. What another session has paid for is looked for too.
async fn journals_read(lost: usize, is_paid_there: bool, later: Duration) -> usize {
    let (cluster, stores) = losing(5);
    let data = MemoryDisk::new();
    let source = noise(334, 24_000);
    let mut uploaded = upload(&cluster, &data, &source, Cluster::options()).await.unwrap();
    if is_paid_there {
        uploaded = upload(&cluster, &data, &source, Cluster::options()).await.unwrap();
        assert_eq!(uploaded.chunks_stored, 0);
    }
    for address in cluster.stored().into_keys().take(lost) {
        for store in &stores[..3] {
            lose(store, address);
        }
    }
    cluster.clock.advance(later);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let watched = HookedDisk::whole(Arc::new(data.clone()), move |path: &Path| {
        counted.fetch_add(usize::from(path.ends_with("journal")), Ordering::Relaxed);
    });
    let client = cluster.client_on(Arc::new(watched), CancellationToken::new());
    let again = client.resume(&uploaded.upload_id, &cluster.payer, None, waiting()).await.unwrap();
    assert!(again.verified);
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5), "all are back");
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_many_missed_chunks_need_is_looked_up_together() {
    let later = Duration::from_hours(20 * 24);
    for is_paid_there in [false, true] {
        let one = journals_read(1, is_paid_there, later).await;
        // A look-up for each would read a journal more for each. What is missed while one is made is
        // looked up together after it.
        let twenty = journals_read(20, is_paid_there, later).await;
        assert!(twenty < one + 19, "{is_paid_there}: {one}, {twenty}");
    }
    // What this session has paid for can be put again with what is in memory.
    let none = journals_read(0, false, Duration::ZERO).await;
    assert_eq!(journals_read(20, false, Duration::ZERO).await, none);
}
