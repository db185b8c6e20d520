//! Payments that are sent when an upload ends: it says so, whatever has ended it, and whoever goes on
//! waits for them as the upload would have.

use std::{path::Path, sync::Arc, time::Duration};

use spillway_client::{ChunkFailure, UploadError, Uploaded};
use spillway_disk::{Disk, Fault, FaultPlan, Faults, MemoryDisk, Survival};
use spillway_pay::ChainOp;
use spillway_tests::{Charged, Cluster, ClusterOptions, SEGMENT, TOKENS, noise};
use spillway_types::Atto;

use super::steps::{assert_reads, direct, exported, five, import, resume, the_only, upload};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;

#[tokio::test]
async fn an_upload_whose_disk_fails_after_sending_says_that_it_has_sent() {
    let cluster = five();
    let source = noise(370, 3 * SEGMENT);
    let (data, faults) = (MemoryDisk::new(), Arc::new(Faults::default()));
    let dying = data.clone().with_faults(Arc::clone(&faults));
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        if op == ChainOp::SendRaw {
            sent += 1;
            // The first is the approval. What is sent is written before; what comes of it cannot be.
            if sent == 2 {
                faults.arm(FaultPlan::onwards(1, Fault::Io));
            }
        }
        None
    })));
    let error = upload(&cluster, &dying, &source, direct()).await.unwrap_err();
    cluster.chain.set_faults(None);
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
    let UploadError::PartialUpload { session, failed, cause, .. } = error else {
        panic!("money is gone: {error:?}");
    };
    assert!(matches!(cause.as_deref(), Some(UploadError::Disk(_))), "{cause:?}");
    assert_eq!(failed.len(), 3);
    assert!(failed.iter().all(|(_, why)| *why == ChunkFailure::Undecided), "{failed:?}");

    let data = data.crash(Survival::Nothing);
    let uploaded = resume(&cluster, &data, &session, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

/// A block every twelve seconds while this goes on. Time passes with each, and by waiting.
async fn with_blocks<T>(cluster: &Cluster, work: impl Future<Output = T>) -> T {
    let blocks = async {
        loop {
            // Others have something to do between two blocks.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            cluster.clock.advance(Duration::from_secs(12));
            cluster.chain.mine(1);
        }
    };
    tokio::select! {
        done = work => done,
        () = blocks => unreachable!("they never end"),
    }
}

/// Until a payment is recorded.
async fn is_recorded(cluster: &Cluster) {
    while cluster.chain.recorded(cluster.domain.vault).is_empty() {
        tokio::task::yield_now().await;
    }
}

/// An upload that was killed when its payment was recorded, and before it counted.
async fn killed_while_it_deepens(cluster: &Cluster, source: &[u8]) -> (MemoryDisk, String) {
    let data = MemoryDisk::new();
    tokio::select! {
        done = upload(cluster, &data, source, direct()) => panic!("{done:?}"),
        () = is_recorded(cluster) => {}
    }
    let data = data.crash(Survival::Nothing);
    let id = the_only(cluster, &data).await;
    cluster.take_log();
    (data, id)
}

fn asks_for_twelve() -> Cluster {
    Cluster::with(ClusterOptions { confirmations: 12, ..ClusterOptions::batches(5) })
}

/// Nobody was sent a chunk that is not paid for as far as it can see.
fn puts(cluster: &Cluster) -> usize {
    cluster.take_puts().values().sum()
}

#[tokio::test]
async fn one_resume_finishes_what_was_killed_while_its_payment_deepened() {
    let cluster = asks_for_twelve();
    let source = noise(371, 3 * SEGMENT);
    let (data, id) = killed_while_it_deepens(&cluster, &source).await;
    let goes_on = resume(&cluster, &data, &id, direct());
    let uploaded: Uploaded = with_blocks(&cluster, goes_on).await.unwrap();
    assert_eq!(puts(&cluster), 3 * 5, "each is sent once to each");
    assert_eq!(uploaded.spend.storage_cost, Atto(3 * CHUNK_COST));
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

#[tokio::test]
async fn a_payment_of_another_session_that_deepens_is_waited_for() {
    let cluster = asks_for_twelve();
    let source = noise(372, 6 * SEGMENT);
    let mut edit = source.clone();
    edit[4 * SEGMENT + 1] ^= 1;
    let (data, id) = killed_while_it_deepens(&cluster, &source).await;
    let edited = with_blocks(&cluster, upload(&cluster, &data, &edit, direct())).await.unwrap();
    assert_eq!(puts(&cluster), 6 * 5, "each is sent once to each");
    assert_reads(&cluster, &edited, &edit).await;
    let uploaded = with_blocks(&cluster, resume(&cluster, &data, &id, direct())).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    let both = edited.spend.storage_cost.saturating_add(uploaded.spend.storage_cost);
    assert_eq!(both, Atto(9 * CHUNK_COST), "told once");
    assert_eq!(cluster.charged().await.paid, both);
}

/// A reorganisation while it deepens: the same bytes go out again.
#[tokio::test]
async fn a_payment_that_is_taken_back_while_it_deepens_is_sent_again() {
    let cluster = asks_for_twelve();
    let source = noise(373, 3 * SEGMENT);
    let (data, id) = killed_while_it_deepens(&cluster, &source).await;
    let sent = cluster.transactions().await;
    let uploaded = with_reorg(&cluster, resume(&cluster, &data, &id, direct())).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.transactions().await, sent, "nothing else was signed");
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

/// Blocks come while this goes on, and the only payment is taken back when it is known to be recorded.
async fn with_reorg<T>(cluster: &Cluster, work: impl Future<Output = T>) -> T {
    let mut asked = 0;
    let (chain, reorganised) = (cluster.chain.clone(), Arc::new(tokio::sync::Notify::new()));
    let seen = Arc::clone(&reorganised);
    cluster.chain.set_faults(Some(Box::new(move |op| {
        asked += u32::from(op == ChainOp::Record);
        // It is known to be recorded by then.
        if asked == 4 {
            seen.notify_one();
        }
        None
    })));
    let reorganises = async {
        reorganised.notified().await;
        chain.reorg(1);
        assert!(chain.recorded(cluster.domain.vault).is_empty());
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = with_blocks(cluster, work) => done,
        () = reorganises => unreachable!("it never ends"),
    };
    cluster.chain.set_faults(None);
    done
}

/// A plan that came with an archive was paid from a copy of its session, and nobody was asked here.
#[tokio::test]
async fn what_was_paid_elsewhere_is_not_signed_here_when_it_is_taken_back_while_it_deepens() {
    let cluster = asks_for_twelve();
    let source = noise(374, 3 * SEGMENT);
    let (here, there) = (MemoryDisk::new(), MemoryDisk::new());
    cluster.chain.set_tokens(cluster.token, cluster.payer.address(), Atto::ZERO);
    upload(&cluster, &here, &source, direct()).await.unwrap_err();
    cluster.chain.set_tokens(cluster.token, cluster.payer.address(), TOKENS);
    let id = the_only(&cluster, &here).await;
    let copy = here.crash(Survival::Everything);
    import(&cluster, &there, &exported(&cluster, &here, &id).await).await.unwrap();
    tokio::select! {
        done = resume(&cluster, &copy, &id, direct()) => panic!("{done:?}"),
        () = is_recorded(&cluster) => {}
    }
    let asked_for = with_reorg(&cluster, resume(&cluster, &there, &id, direct())).await;
    asked_for.unwrap_err();
    let files = there.list(&Path::new("sessions").join(&id)).unwrap();
    let is_signed = |name: &Path| name.to_str().unwrap().starts_with("tx-");
    assert!(!files.iter().any(|file| is_signed(&file.name)), "{files:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
}
