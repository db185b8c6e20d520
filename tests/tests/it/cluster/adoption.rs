//! Payments that another session has signed: the user is asked before they are paid here, each is
//! counted once, and one that is too late does not hold up the rest.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use spillway_client::{
    Approve, BatchOptions, ChunkFailure, CommitChoice, ForgetOptions, Offer, Remote, UploadError,
    UploadOptions, Uploaded, forget,
};
use spillway_disk::{Clock, Disk, MemoryDisk, Overwrite};
use spillway_net::{Fault, RequestKind};
use spillway_pay::{ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, ClusterOptions, SEGMENT, Tricks, noise};
use spillway_types::{Atto, QuoteAnswer};
use tokio_util::sync::CancellationToken;

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

fn direct() -> UploadOptions {
    UploadOptions { mode: spillway_client::ModeChoice::Direct, ..Cluster::options() }
}

fn batches(max_leaves: usize) -> UploadOptions {
    Cluster::batch_options(max_leaves, CommitChoice::Together)
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

async fn assert_reads(cluster: &Cluster, uploaded: &Uploaded, source: &[u8]) {
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

/// A session of which everything is signed and nothing ever arrived.
async fn signed(cluster: &Cluster, source: &[u8], options: UploadOptions) -> MemoryDisk {
    let data = MemoryDisk::new();
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    let error = upload(cluster, &data, source, options).await.unwrap_err();
    assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    cluster.chain.set_faults(None);
    data
}

/// Another session signs its plan between the look at it and the moment at which it would be given up.
#[tokio::test]
async fn a_plan_that_is_signed_while_it_is_looked_at_is_not_given_up() {
    let cluster = five();
    let original = noise(227, 6 * SEGMENT);
    let data = signed(&cluster, &original, batches(4_096)).await;
    let session = cluster.client(&data).sessions().await.unwrap()[0].id.clone();
    let dir = Path::new("sessions").join(&session);
    let mut payments = Vec::new();
    // The first is the approval; a fee may have been raised since.
    for number in 1.. {
        let path = dir.join(format!("tx-{number}"));
        let Ok(bytes) = data.read(&path, u64::MAX) else { break };
        data.remove_file(&path).unwrap();
        payments.push((path, bytes));
    }
    assert_ne!(payments, []);
    let disk = data.clone();
    cluster.chain.set_faults(Some(Box::new(move |op| {
        if op == ChainOp::Record {
            // At the first look; later they are there.
            for (path, bytes) in &payments {
                let _ = disk.write_durable(path, bytes, Overwrite::Never);
            }
        }
        None
    })));
    let mut source = original.clone();
    source[5] ^= 1;
    let error = upload(&cluster, &data, &source, batches(4_096)).await.unwrap_err();
    assert!(matches!(&error, UploadError::Busy { session: busy } if *busy == session), "{error:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    // Run again it takes over what is signed, and both are paid for once.
    cluster.chain.set_faults(None);
    let edited = upload(&cluster, &data, &source, batches(4_096)).await.unwrap();
    assert_reads(&cluster, &edited, &source).await;
    let first = upload(&cluster, &data, &original, batches(4_096)).await.unwrap();
    assert_reads(&cluster, &first, &original).await;
    let cost = cluster.price_of_all().saturating_add(Atto(2 * Cluster::TIP.0));
    assert_eq!(cluster.charged().await.paid, cost);
}

/// Says the same each time, and counts how often it was asked.
struct Answer(bool, AtomicUsize);

#[async_trait]
impl Approve for Answer {
    async fn approve(&self, _offer: &Offer) -> bool {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0
    }
}

#[tokio::test]
async fn a_payment_of_another_session_is_not_paid_until_the_user_agrees() {
    for options in [direct(), batches(4)] {
        let cluster = five();
        let original = noise(240, 12 * SEGMENT);
        let data = signed(&cluster, &original, options.clone()).await;
        let edit = &original[..10 * SEGMENT + 7];
        let mut offered = Vec::new();
        let no = Arc::new(Answer(false, AtomicUsize::new(0)));
        let declines = UploadOptions { approve: Some(no.clone()), ..options.clone() };
        for time in 1..=3 {
            let error = upload(&cluster, &data, edit, declines.clone()).await.unwrap_err();
            let UploadError::Declined { offer } = error else { panic!("declined: {error:?}") };
            assert_eq!(no.1.load(Ordering::Relaxed), time, "asked each time");
            assert_eq!(offer.chunks_to_pay, 11, "not those that only the other session has");
            offered.push(offer.total());
            let capped = UploadOptions { max_cost: Some(Atto(1)), ..options.clone() };
            let error = upload(&cluster, &data, edit, capped).await.unwrap_err();
            assert!(matches!(error, UploadError::OverCost { .. }), "{error:?}");
            assert_eq!(cluster.charged().await, Charged::nothing());
        }
        let yes: Arc<dyn Approve> = Arc::new(Answer(true, AtomicUsize::new(0)));
        let agrees = UploadOptions { approve: Some(yes), ..options.clone() };
        let edited = upload(&cluster, &data, edit, agrees).await.unwrap();
        assert_reads(&cluster, &edited, edit).await;
        let paid = cluster.charged().await.paid;
        assert_eq!(edited.spend.storage_cost, paid);
        assert_eq!(offered, [paid; 3], "the whole of what was signed");

        // What is counted there is not counted here again.
        let first = upload(&cluster, &data, &original, options).await.unwrap();
        assert_reads(&cluster, &first, &original).await;
        let both = edited.spend.storage_cost.saturating_add(first.spend.storage_cost);
        assert_eq!(both, cluster.charged().await.paid);
        // Nor is what may come back.
        let sessions = cluster.client(&data).sessions().await.unwrap();
        let escrow: Atto = sessions.iter().flat_map(|s| &s.batches).map(|b| b.escrow).sum();
        let paid = if first.payment_mode == Some(spillway_client::PaymentMode::Direct) {
            Atto::ZERO
        } else {
            both
        };
        assert_eq!(escrow, paid);
    }
}

#[tokio::test]
async fn a_payment_of_another_session_that_is_too_late_does_not_hold_up_the_rest() {
    let cluster = five();
    let original = noise(241, 12 * SEGMENT);
    let data = signed(&cluster, &original, direct()).await;
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(3);
    let mut edit = original.clone();
    edit[6 * SEGMENT + 5] ^= 1;
    let error = upload(&cluster, &data, &edit, direct()).await.unwrap_err();
    let UploadError::PartialUpload { stored, failed, spend, cause, .. } = error else {
        panic!("what has changed is paid and stored: {error:?}");
    };
    assert!(matches!(cause.as_deref(), Some(UploadError::Undecided { .. })), "{cause:?}");
    assert_eq!((stored.len(), failed.len()), (3, 9));
    assert!(failed.iter().all(|(_, why)| *why == ChunkFailure::Undecided), "{failed:?}");
    assert!(spend.storage_cost > Atto::ZERO);
    assert_eq!(cluster.charged().await.paid, spend.storage_cost);

    // When it never can be taken, the rest is planned here.
    cluster.chain.mine(65);
    let edited = upload(&cluster, &data, &edit, direct()).await.unwrap();
    assert_reads(&cluster, &edited, &edit).await;
    assert_eq!(cluster.charged().await.paid, spend.storage_cost.saturating_mul(4), "12 for 3");
}

#[tokio::test]
async fn what_an_old_session_has_paid_late_is_taken_over() {
    let cluster = five();
    let original = noise(242, 6 * SEGMENT);
    let data = MemoryDisk::new();
    // Made, but not paid: nobody gives a price.
    for member in &cluster.members {
        let none = |_: &_, mut response: spillway_types::QuoteResponse| {
            response.answers.as_mut().unwrap().clear();
            response
        };
        member.play(Tricks { quote: Some(Box::new(none)), ..Tricks::default() });
    }
    let error = upload(&cluster, &data, &original, direct()).await.unwrap_err();
    assert!(matches!(error, UploadError::TooFewQuotes { .. }), "{error:?}");
    cluster.book().behave();
    cluster.clock.advance(Duration::from_hours(40 * 24));
    cluster.chain.mine(1);
    upload(&cluster, &data, &original, direct()).await.unwrap();
    assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 1, "it was the same session");

    // Nodes that deny to have it are paid nothing again, whatever the session's age.
    for member in &cluster.members {
        let deny = |_: &_, mut response: spillway_types::QuoteResponse| {
            for answer in response.answers.as_mut().unwrap() {
                if let QuoteAnswer::Offered { receipt, .. } = answer {
                    *receipt = None;
                }
            }
            response
        };
        member.play(Tricks { quote: Some(Box::new(deny)), ..Tricks::default() });
    }
    let mut edit = original.clone();
    edit.truncate(5 * SEGMENT);
    let before = cluster.charged().await.paid;
    upload(&cluster, &data, &edit, direct()).await.unwrap();
    let more = cluster.charged().await.paid.saturating_sub(before);
    assert_eq!(more.saturating_mul(3), before, "two of six have other neighbours");
}

#[tokio::test]
async fn a_payment_that_one_round_takes_over_counts_in_all_rounds() {
    let cluster = five();
    let mut source = noise(243, 8 * SEGMENT);
    let data = MemoryDisk::new();
    cluster.book().let_through(0);
    tokio::select! {
        result = upload(&cluster, &data, &source, direct()) => panic!("{result:?}"),
        () = cluster.wait_for_hanging(1) => {}
    }
    cluster.book().behave();
    assert_eq!(cluster.charged().await.paid, Atto(8 * Cluster::CHUNK_COST));
    let first = cluster.client(&data).sessions().await.unwrap().remove(0).id;

    // The edit changes three chunks. It is stopped in its first round, and the first session goes.
    source[7 * SEGMENT + 5] ^= 1;
    let batch = BatchOptions { max_leaves: 4, commit: CommitChoice::OneByOne };
    let rounds = || UploadOptions { batch, ..direct() };
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    cluster.set_faults(move |_, kind| {
        if kind == RequestKind::Put {
            stopper.cancel();
        }
        Fault::Deliver
    });
    let disk: Arc<dyn Disk> = Arc::new(data.clone());
    let client = cluster.client_on(Arc::clone(&disk), stop);
    let stopped = client.upload(Cluster::file(&source), &cluster.payer, rounds()).await;
    assert!(matches!(stopped, Err(UploadError::PartialUpload { .. })), "{stopped:?}");
    cluster.heal();
    let options = ForgetOptions { now: cluster.clock.now(), even_paid: true };
    forget(&disk, &first, options).await.unwrap();

    let edited = upload(&cluster, &data, &source, rounds()).await.unwrap();
    assert_reads(&cluster, &edited, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(11 * Cluster::CHUNK_COST), "three have changed");
}
