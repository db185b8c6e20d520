//! Archives whose author is not to be believed: what they say was paid and stored was not, what is in
//! them was never signed here, and older ones do not take the place of newer ones.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use spillway_client::{
    Approve, ChunkFailure, ForgetOptions, Offer, SessionError, SessionStage, Source, StreamSource,
    UploadError, UploadOptions, forget,
};
use spillway_disk::{Clock, Disk, MemoryDisk, Overwrite, Survival};
use spillway_pay::{ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, SEGMENT, noise};
use spillway_types::{Atto, ChunkAddress};

use super::steps::{
    arc, archive, assert_reads, direct, exported, five, give_no_prices, import, interrupt,
    interrupted, lose, losing, resume, the_only, upload,
};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;

/// An edit of one of six segments: three chunks are others.
fn edited(source: &[u8]) -> Vec<u8> {
    let mut edit = source.to_vec();
    edit[4 * SEGMENT + 1] ^= 1;
    edit
}

/// The archive of an upload that was paid and stored on another network: it has the same keys and
/// names as ours, so everything in it is signed well, and on ours nothing of it has happened.
async fn of_another_network(source: &[u8], stored: usize) -> MemoryDisk {
    let other = five();
    let (data, id) = interrupted(&other, source, stored, direct()).await;
    exported(&other, &data, &id).await
}

#[tokio::test]
async fn what_the_chain_has_not_recorded_is_not_stored() {
    let source = noise(340, 6 * SEGMENT);
    let way = of_another_network(&source, 4).await;
    // The same contents go on with the session that was imported, as a stream too; an edit has chunks
    // of it. What this wallet has signed there is good here, too, and pays once.
    let piped = Source::Stream(StreamSource(Box::new(std::io::Cursor::new(source.clone()))));
    for (from, contents, chunks) in [
        (Cluster::file(&source), source.clone(), 6),
        (piped, source.clone(), 6),
        (Cluster::file(&edited(&source)), edited(&source), 9),
    ] {
        let (cluster, data) = (five(), MemoryDisk::new());
        import(&cluster, &data, &way).await.unwrap();
        let client = cluster.client(&data);
        let uploaded = client.upload(from, &cluster.payer, direct()).await.unwrap();
        assert_reads(&cluster, &uploaded, &contents).await;
        assert_eq!(cluster.charged().await.paid, Atto(chunks * CHUNK_COST));
    }
}

#[tokio::test]
async fn a_resumed_import_says_what_it_does_not_have() {
    let source = noise(341, 4 * SEGMENT);
    let way = of_another_network(&source, 3).await;
    let (cluster, data) = (five(), MemoryDisk::new());
    let imported = import(&cluster, &data, &way).await.unwrap();
    let error = resume(&cluster, &data, &imported.session, direct()).await.unwrap_err();
    // Their bytes are not in the archive: they were stored, it says. What this wallet has signed is paid.
    let UploadError::PartialUpload { stored, failed, paid_unstored, spend, cause, .. } = error
    else {
        panic!("{error:?}");
    };
    assert!(cause.is_none(), "{cause:?}");
    assert!(failed.iter().all(|(_, why)| *why == ChunkFailure::LostBytes), "{failed:?}");
    let lost: BTreeSet<ChunkAddress> = failed.into_iter().map(|(address, _)| address).collect();
    assert_eq!((stored.len(), lost.len()), (1, 3));
    assert_eq!(paid_unstored.into_iter().collect::<BTreeSet<_>>(), lost);
    assert_eq!(cluster.stored().into_keys().collect::<Vec<_>>(), stored);
    assert_eq!(spend.storage_cost, Atto(4 * CHUNK_COST));
    assert_eq!(cluster.charged().await.paid, Atto(4 * CHUNK_COST));
}

/// A session with a plan of which nothing is signed: its process died in between.
async fn planned(cluster: &Cluster, source: &[u8]) -> (MemoryDisk, String) {
    let data = MemoryDisk::new();
    cluster
        .chain
        .set_faults(Some(Box::new(|op| (op == ChainOp::SendRaw).then_some(ChainFault::Forget))));
    upload(cluster, &data, source, direct()).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = the_only(cluster, &data).await;
    let dir = Path::new("sessions").join(&id);
    for entry in data.list(&dir).unwrap() {
        if entry.name.to_str().unwrap().starts_with("tx-") {
            data.remove_file(&dir.join(entry.name)).unwrap();
        }
    }
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!(status.stage, SessionStage::Planned);
    (data, id)
}

/// Says the same to every price, and counts.
struct Says(bool, AtomicUsize);

#[async_trait]
impl Approve for Says {
    async fn approve(&self, offer: &Offer) -> bool {
        assert_eq!(offer.total(), Atto(3 * CHUNK_COST));
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0
    }
}

#[tokio::test]
async fn a_plan_that_came_with_an_archive_is_not_paid_unasked() {
    let cluster = five();
    let source = noise(342, 3 * SEGMENT);
    let (here, id) = planned(&cluster, &source).await;
    let there = MemoryDisk::new();
    import(&cluster, &there, &exported(&cluster, &here, &id).await).await.unwrap();

    // Nobody to ask, and no cap.
    for error in [
        resume(&cluster, &there, &id, direct()).await.unwrap_err(),
        upload(&cluster, &there, &source, direct()).await.unwrap_err(),
    ] {
        match error {
            UploadError::ImportedPlans { session, cost } => {
                assert_eq!((session.as_str(), cost), (id.as_str(), Atto(3 * CHUNK_COST)));
            }
            other => panic!("{other:?}"),
        }
    }
    let no = Arc::new(Says(false, AtomicUsize::new(0)));
    let options = UploadOptions { approve: Some(no.clone()), ..direct() };
    let error = resume(&cluster, &there, &id, options).await.unwrap_err();
    assert!(matches!(error, UploadError::Declined { .. }), "{error:?}");
    let little = UploadOptions { max_cost: Some(Atto(1)), ..direct() };
    let error = resume(&cluster, &there, &id, little).await.unwrap_err();
    assert!(matches!(error, UploadError::OverCost { .. }), "{error:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());

    let yes = Arc::new(Says(true, AtomicUsize::new(0)));
    let options = UploadOptions { approve: Some(yes.clone()), ..direct() };
    let uploaded = resume(&cluster, &there, &id, options).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!((no.1.load(Ordering::SeqCst), yes.1.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

#[tokio::test]
async fn what_this_wallet_has_signed_goes_on_unasked() {
    let cluster = five();
    let source = noise(343, 3 * SEGMENT);
    let here = MemoryDisk::new();
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    upload(&cluster, &here, &source, direct()).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = the_only(&cluster, &here).await;
    let there = MemoryDisk::new();
    import(&cluster, &there, &exported(&cluster, &here, &id).await).await.unwrap();
    let uploaded = resume(&cluster, &there, &id, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

#[tokio::test]
async fn a_plan_that_came_with_an_archive_gives_way_to_what_was_paid_here() {
    let cluster = five();
    let source = noise(344, 6 * SEGMENT);
    let (elsewhere, id) = planned(&cluster, &source).await;
    let way = exported(&cluster, &elsewhere, &id).await;
    // Here an edit was paid, and is being stored.
    let (here, edit) = (MemoryDisk::new(), edited(&source));
    interrupt(&cluster, 1, upload(&cluster, &here, &edit, direct())).await;
    let here = here.crash(Survival::Nothing);
    assert_eq!(cluster.charged().await.paid, Atto(6 * CHUNK_COST));
    import(&cluster, &here, &way).await.unwrap();
    let options = UploadOptions { max_cost: Some(Atto(u128::MAX)), ..direct() };
    let uploaded = resume(&cluster, &here, &id, options).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    let uploaded = upload(&cluster, &here, &edit, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &edit).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST), "three are others");
}

#[tokio::test]
async fn an_older_archive_does_not_replace_what_has_stored_more_since() {
    let cluster = five();
    let source = noise(345, 4 * SEGMENT);
    let data = MemoryDisk::new();
    interrupt(&cluster, 1, upload(&cluster, &data, &source, direct())).await;
    let here = data.crash(Survival::Nothing);
    let id = the_only(&cluster, &here).await;
    let older = exported(&cluster, &here, &id).await;
    // It comes back, stores more of the same payment, and goes away again.
    let back = import(&cluster, &here, &older).await.unwrap();
    interrupt(&cluster, 2, resume(&cluster, &here, &back.session, direct())).await;
    let here = here.crash(Survival::Everything);
    let newer = exported(&cluster, &here, &back.session).await;
    match import(&cluster, &here, &older).await.unwrap_err() {
        SessionError::OlderThanHere { session } => assert_eq!(session, back.session),
        other => panic!("{other:?}"),
    }
    let back = import(&cluster, &here, &newer).await.unwrap();
    let uploaded = resume(&cluster, &here, &back.session, direct()).await.unwrap();
    assert_eq!(uploaded.chunks_stored, 4);
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(4 * CHUNK_COST));
}

/// An upload that is finished here, and its archive.
async fn finished(cluster: &Cluster, source: &[u8]) -> (String, MemoryDisk) {
    let data = MemoryDisk::new();
    let id = upload(cluster, &data, source, direct()).await.unwrap().upload_id;
    let way = exported(cluster, &data, &id).await;
    cluster.take_log();
    (id, way)
}

#[tokio::test]
async fn a_finished_session_is_looked_for_before_it_is_finished_where_it_is_imported() {
    let (cluster, stores) = losing(5);
    let source = noise(346, 4 * SEGMENT);
    let (id, way) = finished(&cluster, &source).await;
    let charged = cluster.charged().await;
    let chunks: Vec<_> = cluster.stored().into_keys().collect();
    // Three have lost one, and nobody has another one any more.
    for (lost, nodes) in [(chunks[0], &stores[2..]), (chunks[1], &stores[..])] {
        let there = MemoryDisk::new();
        import(&cluster, &there, &way).await.unwrap();
        let status = &cluster.client(&there).sessions().await.unwrap()[0];
        assert_eq!((status.finished, status.stage), (false, SessionStage::Verifying));
        for store in nodes {
            lose(store, lost);
        }
        let resumed = resume(&cluster, &there, &id, direct()).await;
        if lost == chunks[0] {
            assert!(resumed.unwrap().verified);
        } else {
            let UploadError::PartialUpload { failed, .. } = resumed.unwrap_err() else { panic!() };
            assert_eq!(failed, [(lost, ChunkFailure::NotVerified { copies: 0 })]);
            // With the source its bytes are there again.
            let uploaded = upload(&cluster, &there, &source, direct()).await.unwrap();
            assert_eq!((&uploaded.upload_id, uploaded.verified), (&id, true));
        }
        assert!(cluster.stored().values().all(|&(_, copies)| copies == 5), "all are back");
        assert_eq!(cluster.charged().await, charged);
        // From now on it is known.
        cluster.take_log();
        assert!(resume(&cluster, &there, &id, direct()).await.unwrap().verified);
        assert_eq!(cluster.take_log(), []);
        assert!(cluster.client(&there).sessions().await.unwrap()[0].finished);
    }
}

#[tokio::test]
async fn a_finished_session_of_payments_that_never_were_is_not_finished() {
    let source = noise(347, 3 * SEGMENT);
    let (id, way) = finished(&five(), &source).await;
    let (cluster, there) = (five(), MemoryDisk::new());
    import(&cluster, &there, &way).await.unwrap();
    let error = resume(&cluster, &there, &id, direct()).await.unwrap_err();
    let UploadError::PartialUpload { failed, .. } = error else { panic!("{error:?}") };
    assert_eq!(failed.len(), 3);
    assert!(failed.iter().all(|(_, why)| *why == ChunkFailure::LostBytes), "{failed:?}");
    let uploaded = upload(&cluster, &there, &source, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

#[tokio::test]
async fn an_edit_does_not_believe_what_nobody_has_looked_for_yet() {
    let (cluster, stores) = losing(5);
    let source = noise(348, 6 * SEGMENT);
    let (_, way) = finished(&cluster, &source).await;
    let there = MemoryDisk::new();
    import(&cluster, &there, &way).await.unwrap();
    for address in cluster.stored().into_keys() {
        for store in &stores {
            lose(store, address);
        }
    }
    let edit = edited(&source);
    let uploaded = upload(&cluster, &there, &edit, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &edit).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST), "three are others");
}

#[tokio::test]
async fn what_the_network_is_said_to_have_had_is_asked_for_again() {
    let (cluster, stores) = losing(5);
    let source = noise(349, 3 * SEGMENT);
    upload(&cluster, &MemoryDisk::new(), &source, direct()).await.unwrap();
    let charged = cluster.charged().await;
    // Nothing of this one is paid, and no bytes of it are in its archive.
    let (id, way) = finished(&cluster, &source).await;
    let there = MemoryDisk::new();
    import(&cluster, &there, &way).await.unwrap();
    let uploaded = resume(&cluster, &there, &id, direct()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_already_stored), (0, 3));
    assert_eq!(cluster.charged().await, charged);

    let lost = *cluster.stored().keys().next().unwrap();
    for store in &stores[..3] {
        lose(store, lost);
    }
    let there = MemoryDisk::new();
    import(&cluster, &there, &way).await.unwrap();
    match resume(&cluster, &there, &id, direct()).await.unwrap_err() {
        UploadError::LostChunks { session, lost: found } => {
            assert_eq!((session, found), (id.clone(), vec![lost]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.charged().await, charged);
    let uploaded = upload(&cluster, &there, &source, direct()).await.unwrap();
    assert_eq!((&uploaded.upload_id, uploaded.chunks_stored), (&id, 1));
    assert_reads(&cluster, &uploaded, &source).await;
}

/// The checksum that ends these bytes. An address is a BLAKE3 hash, as this is.
fn put_checksum(bytes: &mut [u8]) {
    let whole = bytes.len() - 32;
    let checksum = ChunkAddress::of(&bytes[..whole]).0;
    bytes[whole..].copy_from_slice(&checksum);
}

/// The archive of a session of four segments with one chunk that is another: everything in it fits together, and the
/// hashes of the plaintext, which make the session's key, are those of the source.
fn with_another_chunk(way: &MemoryDisk) -> MemoryDisk {
    let bytes = way.read(archive(), u64::MAX).unwrap();
    let (mut made, mut at, mut swapped) = (bytes[..6].to_vec(), 6, None);
    // Chunks come last, so what they are is looked at from behind.
    let mut entries = Vec::new();
    while at < bytes.len() {
        let len = u64::from_le_bytes(bytes[at + 1..at + 9].try_into().unwrap());
        let end = at + 9 + usize::try_from(len).unwrap();
        entries.push((bytes[at], bytes[at + 9..end].to_vec()));
        at = end + 32;
    }
    for (kind, body) in entries.iter_mut().rev() {
        match (*kind, swapped) {
            (7, None) => {
                let old = ChunkAddress::of(body);
                *body = noise(350, body.len());
                swapped = Some((old, ChunkAddress::of(body)));
            }
            // Manifest and data map.
            (1 | 4, Some((old, new))) => {
                let places: Vec<usize> =
                    (0..body.len()).filter(|at| body[*at..].starts_with(&old.0)).collect();
                assert!(!places.is_empty(), "an address stands in kind {kind}");
                for at in places {
                    body[at..at + 32].copy_from_slice(&new.0);
                }
                let is_map = |at: &usize| body[*at..].starts_with(b"SPILLMAP");
                let map = (0..body.len()).find(is_map).unwrap();
                // Four segments.
                put_checksum(&mut body[map..map + 60 + 4 * 68 + 32]);
                put_checksum(body);
            }
            _ => {}
        }
    }
    for (kind, body) in entries {
        made.push(kind);
        made.extend((body.len() as u64).to_le_bytes());
        made.extend(body);
        made.extend([0; 32]);
        put_checksum(&mut made);
    }
    let forged = MemoryDisk::new();
    forged.write_durable(archive(), &made, Overwrite::Never).unwrap();
    forged
}

#[tokio::test]
async fn a_session_with_other_chunks_than_its_source_is_not_gone_on_with() {
    let cluster = five();
    let source = noise(351, 4 * SEGMENT);
    let here = MemoryDisk::new();
    give_no_prices(&cluster);
    upload(&cluster, &here, &source, direct()).await.unwrap_err();
    cluster.book().behave();
    let id = the_only(&cluster, &here).await;
    let forged = with_another_chunk(&exported(&cluster, &here, &id).await);
    let there = MemoryDisk::new();
    import(&cluster, &there, &forged).await.unwrap();
    let piped = Source::Stream(StreamSource(Box::new(std::io::Cursor::new(source.clone()))));
    for from in [Cluster::file(&source), piped] {
        let client = cluster.client(&there);
        match client.upload(from, &cluster.payer, direct()).await.unwrap_err() {
            UploadError::DamagedSession { session, .. } => assert_eq!(session, id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cluster.charged().await, Charged::nothing());
    assert_eq!(cluster.stored(), [].into());
    // As it says, it can be forgotten.
    let now = cluster.clock.now();
    forget(&arc(&there), &id, ForgetOptions { now, even_paid: false }).await.unwrap();
    let uploaded = upload(&cluster, &there, &source, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
}
