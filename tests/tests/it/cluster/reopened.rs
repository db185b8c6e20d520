//! Chunks that somebody else has paid for, that the network loses after it has said that it has them.

use std::time::Duration;

use spillway_client::{ChunkFailure, UploadError, UploadOptions, VerifyUpload};
use spillway_disk::{MemoryDisk, Survival};
use spillway_tests::{Cluster, SEGMENT, noise};
use spillway_types::Atto;

use super::steps::{assert_reads, direct, interrupted, lose, losing, resume, the_only, upload};

fn waiting() -> UploadOptions {
    UploadOptions { verify: VerifyUpload::Wait, ..direct() }
}

#[tokio::test]
async fn what_others_have_paid_for_and_the_network_lost_is_priced_when_nobody_here_has_a_proof() {
    for payer_mends in [false, true] {
        let (cluster, stores) = losing(5);
        let source = noise(375, 3 * SEGMENT);
        let payer = MemoryDisk::new();
        upload(&cluster, &payer, &source, direct()).await.unwrap();
        let charged = cluster.charged().await;
        let data = MemoryDisk::new();
        let free = upload(&cluster, &data, &source, direct()).await.unwrap();
        assert_eq!(free.chunks_already_stored, 3);
        assert_eq!(cluster.charged().await, charged);
        let lost = *cluster.stored().keys().next().unwrap();
        stores[..3].iter().for_each(|store| lose(store, lost));

        let error = resume(&cluster, &data, &free.upload_id, waiting()).await.unwrap_err();
        let UploadError::PartialUpload { failed, already_stored, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(failed, [(lost, ChunkFailure::NotVerified { copies: 2 })]);
        assert_eq!(already_stored.len(), 3);
        assert_eq!(cluster.charged().await, charged, "in the run that misses it, nothing is paid");
        if payer_mends {
            assert!(upload(&cluster, &payer, &source, waiting()).await.unwrap().verified);
        } else {
            let little = UploadOptions { max_cost: Some(Atto(1)), ..waiting() };
            let error = upload(&cluster, &data, &source, little).await.unwrap_err();
            assert!(matches!(error, UploadError::OverCost { .. }), "{error:?}");
        }
        let uploaded = upload(&cluster, &data, &source, waiting()).await.unwrap();
        assert!(uploaded.verified);
        assert_reads(&cluster, &uploaded, &source).await;
        assert!(cluster.stored().values().all(|&(_, copies)| copies >= 3));
        let paid = Atto(charged.paid.0 + if payer_mends { 0 } else { Cluster::CHUNK_COST });
        assert_eq!(cluster.charged().await.paid, paid);
    }
}

#[tokio::test]
async fn what_is_open_again_goes_on_after_a_crash_and_is_paid_once() {
    let (cluster, stores) = losing(5);
    let source = noise(376, 3 * SEGMENT);
    upload(&cluster, &MemoryDisk::new(), &source, direct()).await.unwrap();
    let charged = cluster.charged().await;
    let data = MemoryDisk::new();
    let id = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
    let lost = *cluster.stored().keys().next().unwrap();
    stores[..3].iter().for_each(|store| lose(store, lost));
    resume(&cluster, &data, &id, waiting()).await.unwrap_err();
    let data = data.crash(Survival::Nothing);
    let source_again = Cluster::file(&source);
    cluster.book().let_through(0);
    cluster.book().forget_hanging();
    let client = cluster.client(&data);
    // The power goes when it is paid and not stored.
    tokio::select! {
        result = client.upload(source_again, &cluster.payer, waiting()) => panic!("{result:?}"),
        () = cluster.wait_for_hanging(1) => {}
    }
    cluster.book().behave();
    let data = data.crash(Survival::Nothing);
    assert_eq!(the_only(&cluster, &data).await, id);
    assert!(resume(&cluster, &data, &id, direct()).await.unwrap().verified);
    assert_eq!(cluster.charged().await.paid, Atto(charged.paid.0 + Cluster::CHUNK_COST));
}

#[tokio::test]
async fn a_payment_that_can_store_nothing_any_more_is_no_proof() {
    let (cluster, stores) = losing(5);
    let source = noise(378, 3 * SEGMENT);
    // Paid, and nothing of it stored until the window is over. Then somebody else stores it.
    let (data, id) = interrupted(&cluster, &source, 0, direct()).await;
    cluster.clock.advance(Duration::from_hours(26));
    cluster.chain.mine(1);
    upload(&cluster, &MemoryDisk::new(), &source, direct()).await.unwrap();
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, Atto(6 * Cluster::CHUNK_COST));
    let free = upload(&cluster, &data, &source, direct()).await.unwrap();
    assert_eq!((&free.upload_id, free.chunks_already_stored), (&id, 3));
    let lost = *cluster.stored().keys().next().unwrap();
    stores[..3].iter().for_each(|store| lose(store, lost));

    resume(&cluster, &data, &id, waiting()).await.unwrap_err();
    let uploaded = upload(&cluster, &data, &source, waiting()).await.unwrap();
    assert!(uploaded.verified);
    assert_eq!(
        the_only(&cluster, &data).await,
        id,
        "it is this session's chunk that is open again"
    );
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(charged.paid.0 + Cluster::CHUNK_COST));
}
