//! Uploads that are paid in batches: when they are, what they cost, and what is left when one of
//! several cannot be paid.

use std::{collections::BTreeSet, path::Path, time::Duration};

use spillway_client::{
    BatchRefused, ChunkFailure, CommitChoice, ModeChoice, ModeReason, PaymentMode, ProgressSender,
    Remote, UploadError, UploadOptions, Uploaded,
};
use spillway_disk::{Disk, MemoryDisk};
use spillway_pay::{ChainError, ChainFault, ChainOp, PRIZE_PER_TIP, PayFailure, PlanError};
use spillway_tests::{Charged, Cluster, ClusterOptions, SEGMENT, noise};
use spillway_types::{Atto, ChunkAddress, Retry, Wei, limits::MAX_BATCH_LEAVES};

/// What one whole segment of noise costs.
const CHUNK_COST: u128 = Cluster::CHUNK_COST;

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

fn together(max_leaves: usize) -> UploadOptions {
    Cluster::batch_options(max_leaves, CommitChoice::Together)
}

fn one_by_one(max_leaves: usize) -> UploadOptions {
    Cluster::batch_options(max_leaves, CommitChoice::OneByOne)
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

#[tokio::test]
async fn many_chunks_are_one_batch_and_come_back() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(200, 30 * SEGMENT);
    let (progress, seen) = ProgressSender::channel();
    let options = UploadOptions { progress, ..together(4_096) };
    let uploaded = upload(&cluster, &data, &source, options).await.unwrap();

    let asked = ModeReason::Asked { mode: PaymentMode::Batch };
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Batch));
    assert_eq!(uploaded.mode_reason, Some(asked));
    let said = *seen.borrow();
    assert_eq!((said.mode, said.mode_reason), (Some(PaymentMode::Batch), Some(asked)));

    // One draw, one tip; nobody is credited before the draw.
    let cost = Atto(30 * CHUNK_COST + Cluster::TIP.0);
    let charged = cluster.charged().await;
    assert_eq!(charged, Charged { paid: cost, vault: cost, credits: [].into() });
    assert_eq!((uploaded.spend.storage_cost, uploaded.spend.refunded), (cost, Atto::ZERO));
    assert_eq!((cluster.transactions().await, uploaded.spend.tx_hashes.len()), (2, 2));
    assert_eq!((uploaded.chunks_stored, cluster.stored().len()), (30, 30));
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5));
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);

    // The session knows when its draw is over.
    let sessions = cluster.client(&data).sessions().await.unwrap();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert!(session.finished && !session.is_over());
    let [batch] = session.batches.as_slice() else { panic!("{:?}", session.batches) };
    assert_eq!((batch.draws, batch.escrow, batch.refunded), (1, cost, None));
    let draw_time = batch.upload_by.saturating_add(Duration::from_mins(15));
    assert_eq!(batch.draw_time, Some(draw_time));
    let from = draw_time.saturating_add(Duration::from_secs(30 * 24 * 3_600 + 1));
    assert_eq!(batch.refundable_from, Some(from));

    // Uploaded again it is there, and nothing is chosen or paid.
    let again = upload(&cluster, &MemoryDisk::new(), &source, together(4_096)).await.unwrap();
    assert_eq!((again.chunks_already_stored, again.payment_mode), (30, None));
    assert_eq!((again.mode_reason, cluster.charged().await), (None, charged));
}

#[tokio::test]
async fn auto_takes_what_costs_the_payer_least_and_says_why() {
    let cluster = five();
    // One tip is worth twice what nodes ask for, 306,000 gas: more than crediting five payees for the
    // first time, less than listing 300 entries.
    let rate = cluster.rate_of(Atto(Cluster::TIP.0 / 2));
    let auto = |chunks: u8| {
        let options = UploadOptions { mode: ModeChoice::Auto, token_rate: rate, ..together(4_096) };
        let source = noise(u64::from(chunks), usize::from(chunks) * SEGMENT);
        let (client, cluster) = (cluster.client(&MemoryDisk::new()), &cluster);
        async move {
            let cost =
                client.cost(Cluster::file(&source), &cluster.payer, options.clone()).await.unwrap();
            let uploaded =
                client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
            assert_eq!(cost.offer.mode, uploaded.payment_mode);
            (cost.offer, uploaded)
        }
    };
    let (offer, few) = auto(1).await;
    assert_eq!((few.payment_mode, offer.tips), (Some(PaymentMode::Direct), Atto::ZERO));
    assert!(
        matches!(few.mode_reason, Some(ModeReason::Cheaper { mode: PaymentMode::Direct, .. })),
        "{:?}",
        few.mode_reason
    );
    assert_eq!(few.spend.storage_cost, offer.total());
    let (offer, many) = auto(60).await;
    assert_eq!((many.payment_mode, offer.tips), (Some(PaymentMode::Batch), Cluster::TIP));
    assert!(
        matches!(many.mode_reason, Some(ModeReason::Cheaper { mode: PaymentMode::Batch, .. })),
        "{:?}",
        many.mode_reason
    );
    assert_eq!(offer.storage_cost, Atto(60 * CHUNK_COST));
    assert_eq!(many.spend.storage_cost, offer.total());
}

#[tokio::test]
async fn without_a_token_price_auto_compares_gas_and_says_so() {
    let cluster = five();
    let options = UploadOptions { mode: ModeChoice::Auto, ..together(4_096) };
    let source = noise(201, 60 * SEGMENT);
    let uploaded = upload(&cluster, &MemoryDisk::new(), &source, options).await.unwrap();
    match uploaded.mode_reason {
        Some(ModeReason::CheaperGas { mode: PaymentMode::Batch, saved, tips }) => {
            assert!(saved > Wei::ZERO);
            assert_eq!(tips, Cluster::TIP);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn where_there_can_be_no_batch_auto_pays_directly_and_batch_says_why() {
    type Make = fn() -> Cluster;
    let makes: [(Make, Retry); 3] = [
        // Prizes of five nodes that take none.
        (
            || Cluster::with(ClusterOptions { max_prize: Atto(10), ..ClusterOptions::batches(5) }),
            Retry::Never,
        ),
        // A tip that is worth more than the chunks.
        (
            || {
                Cluster::with(ClusterOptions {
                    min_tip: Atto(1_000_000),
                    ..ClusterOptions::batches(5)
                })
            },
            Retry::Never,
        ),
        // Nobody has heard of the beacon for three days.
        (
            || {
                let cluster = five();
                cluster.clock.advance(Duration::from_hours(3 * 24));
                cluster.chain.mine(1);
                cluster
            },
            Retry::Backoff,
        ),
    ];
    for (which, (make, retry)) in makes.into_iter().enumerate() {
        let cluster = make();
        let data = MemoryDisk::new();
        let source = noise(202, 5 * SEGMENT);
        let error = upload(&cluster, &data, &source, together(4_096)).await.unwrap_err();
        assert_eq!(error.retry(), retry);
        let UploadError::NoBatch(refused) = error else { panic!("{error:?}") };
        match (which, refused) {
            (0, BatchRefused::PrizeTooLarge { most, .. }) => assert_eq!(most, Atto(10)),
            (1, BatchRefused::PrizeTooSmall { prize, least }) => {
                assert_eq!(prize, Atto(5 * CHUNK_COST));
                assert_eq!(least, Atto(PRIZE_PER_TIP * 1_000_000));
            }
            (2, BatchRefused::BeaconBehind { .. }) => {}
            other => panic!("{other:?}"),
        }
        // Nothing was paid, and nothing is left of it.
        assert_eq!(cluster.charged().await, Charged::nothing());
        assert_eq!(cluster.transactions().await, 0);
        assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 0);
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);

        let auto = UploadOptions { mode: ModeChoice::Auto, ..together(4_096) };
        let uploaded = upload(&cluster, &data, &source, auto).await.unwrap();
        assert_eq!(uploaded.payment_mode, Some(PaymentMode::Direct));
        assert_eq!(uploaded.mode_reason, Some(ModeReason::NoBatch(refused)));
        assert_eq!(uploaded.spend.storage_cost, Atto(5 * CHUNK_COST));
        assert_reads(&cluster, &uploaded, &source).await;
    }
}

#[tokio::test]
async fn a_size_of_batches_that_cannot_be_is_refused_before_anything_is_asked() {
    let cluster = five();
    for found in [0, MAX_BATCH_LEAVES + 1] {
        let data = MemoryDisk::new();
        let error = upload(&cluster, &data, &noise(203, 100), together(found)).await.unwrap_err();
        match error {
            UploadError::Plan(PlanError::BatchSize { found: said }) => assert_eq!(said, found),
            other => panic!("{other:?}"),
        }
        assert_eq!((cluster.take_log(), cluster.transactions().await), (vec![], 0));
        assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn the_cap_on_cost_counts_tips() {
    let cluster = five();
    let source = noise(204, 10 * SEGMENT);
    // Two batches, two tips.
    let cost = Atto(10 * CHUNK_COST + 2 * Cluster::TIP.0);
    let cap = cost.saturating_sub(Atto(1));
    let options = UploadOptions { max_cost: Some(cap), ..together(5) };
    match upload(&cluster, &MemoryDisk::new(), &source, options).await.unwrap_err() {
        UploadError::OverCost { cost: found, cap: said } => assert_eq!((found, said), (cost, cap)),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.charged().await, Charged::nothing());
    let options = UploadOptions { max_cost: Some(cost), ..together(5) };
    let uploaded = upload(&cluster, &MemoryDisk::new(), &source, options).await.unwrap();
    assert_eq!(uploaded.spend.storage_cost, cost);
}

#[tokio::test]
async fn several_batches_go_into_one_transaction_or_into_one_each() {
    // One by one, each batch is priced when those before are stored, and has its own approval.
    for (options, transactions) in [(together(3), 2), (one_by_one(3), 8)] {
        let cluster = five();
        let source = noise(205, 10 * SEGMENT);
        let data = MemoryDisk::new();
        let uploaded = upload(&cluster, &data, &source, options).await.unwrap();
        assert_eq!(cluster.transactions().await, transactions);
        assert_eq!(uploaded.spend.tx_hashes.len() as u64, transactions);
        let cost = Atto(10 * CHUNK_COST + 4 * Cluster::TIP.0);
        assert_eq!((uploaded.spend.storage_cost, cluster.charged().await.paid), (cost, cost));
        let sessions = cluster.client(&data).sessions().await.unwrap();
        assert_eq!(sessions[0].batches.len(), 4);
        assert_reads(&cluster, &uploaded, &source).await;
    }
}

/// From the so manieth transaction on (counted from 1, an approval is the first) none is taken.
fn refuse_from(cluster: &Cluster, number: usize) {
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += usize::from(op == ChainOp::SendRaw);
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::SendRaw && sent >= number).then_some(ChainFault::Refuse(gone))
    })));
}

/// How many plans a session has kept.
fn plan_files(data: &MemoryDisk, session: &str) -> usize {
    let names = data.list(&Path::new("sessions").join(session)).unwrap();
    names.iter().filter(|entry| entry.name.to_str().unwrap().starts_with("plan-")).count()
}

/// Payment `k` of `n` cannot be made, and none after it; the payments before have these chunks.
/// Then it can. One by one each payment has its own approval, and nothing of a later one is planned.
async fn one_payment_fails(
    options: &UploadOptions,
    (k, n): (usize, usize),
    chunks: usize,
    tip: Atto,
) {
    let rounds = options.batch.commit == CommitChoice::OneByOne;
    let sent = |payments: usize| if rounds { 2 * payments } else { 1 + payments };
    let cluster = five();
    let data = MemoryDisk::new();
    let size = options.segment_bytes;
    let source = noise((100 * n + k) as u64, n * chunks * size);
    refuse_from(&cluster, sent(k + 1));
    let error = upload(&cluster, &data, &source, options.clone()).await.unwrap_err();
    let cost = |payments: usize| Atto(payments as u128 * (chunks as u128 * CHUNK_COST + tip.0));
    let at = format!("payment {k} of {n}");
    let done = (cost(n), sent(n));
    let UploadError::PartialUpload {
        stored,
        failed,
        paid_unstored,
        total,
        spend,
        payment_mode,
        cause,
        session,
        ..
    } = error
    else {
        // Without a payment there is nothing to be partial.
        assert!(k == 0 && matches!(error, UploadError::Payment { .. }), "{at}: {error:?}");
        assert_eq!((cluster.charged().await, cluster.stored()), (Charged::nothing(), [].into()));
        return finish(&cluster, &data, &source, options, done).await;
    };
    assert!(k > 0, "{at}");
    // What is signed and refused may be taken still; what comes after it is not signed.
    let unpaid = [ChunkFailure::NotPaid, ChunkFailure::Undecided];
    assert_eq!(failed.iter().filter(|(_, why)| *why == unpaid[1]).count(), chunks, "{at}");
    assert_eq!(
        (stored.len(), failed.len(), usize::try_from(total).unwrap()),
        (k * chunks, (n - k) * chunks, n * chunks),
        "{at}"
    );
    assert!(failed.iter().all(|(_, why)| unpaid.contains(why)), "{at}: {failed:?}");
    assert_eq!(paid_unstored, [], "{at}");
    match cause.as_deref() {
        Some(UploadError::Payment { source, .. }) => {
            assert!(matches!(*source.failure, PayFailure::Chain(_)), "{at}: {source:?}");
        }
        other => panic!("{at}: {other:?}"),
    }
    let mode = if tip > Atto::ZERO { PaymentMode::Batch } else { PaymentMode::Direct };
    assert_eq!(payment_mode, Some(mode), "{at}");
    let held: BTreeSet<ChunkAddress> = cluster.stored().into_keys().collect();
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), held, "{at}");
    assert!(failed.iter().all(|(address, _)| !held.contains(address)), "{at}");
    let charged = cluster.charged().await;
    assert_eq!(
        (spend.storage_cost, charged.paid, charged.vault),
        (cost(k), cost(k), cost(k)),
        "{at}"
    );
    assert_eq!(spend.tips, Atto(k as u128 * tip.0), "{at}");
    assert_eq!(cluster.transactions().await, sent(k + 1) as u64 - 1, "{at}");

    // All plans are kept, so that the chunks which are paid are never paid again.
    let sessions = cluster.client(&data).sessions().await.unwrap();
    assert_eq!((sessions.len(), &sessions[0].id), (1, &session), "{at}");
    assert_eq!(sessions[0].chunks_paid, (k * chunks) as u64, "{at}");
    assert_eq!(plan_files(&data, &session), if rounds { k + 1 } else { n }, "{at}");
    cluster.take_log();
    finish(&cluster, &data, &source, options, done).await;
    let puts = cluster.take_puts();
    assert!(puts.keys().all(|address| !held.contains(address)), "{at}: stored once");
    assert_eq!(puts.len(), (n - k) * chunks, "{at}");
}

/// The chain is well again: the same upload pays for the rest only.
async fn finish(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: &UploadOptions,
    (cost, transactions): (Atto, usize),
) {
    cluster.chain.set_faults(None);
    let uploaded = upload(cluster, data, source, options.clone()).await.unwrap();
    let charged = cluster.charged().await;
    assert_eq!((uploaded.spend.storage_cost, charged.paid, charged.vault), (cost, cost, cost));
    assert_eq!(cluster.transactions().await, transactions as u64);
    assert_eq!(uploaded.chunks_stored, uploaded.chunks_total);
    assert_reads(cluster, &uploaded, source).await;
}

#[tokio::test]
async fn when_one_batch_of_several_cannot_be_paid_those_before_it_are_stored() {
    for n in 2..=8 {
        for k in 0..n {
            one_payment_fails(&one_by_one(2), (k, n), 2, Cluster::TIP).await;
        }
    }
}

#[tokio::test]
async fn when_the_last_of_several_direct_payments_fails_those_before_it_are_stored() {
    let options =
        UploadOptions { mode: ModeChoice::Direct, segment_bytes: 50, ..Cluster::options() };
    one_payment_fails(&options, (2, 3), 100, Atto::ZERO).await;
}

#[tokio::test]
async fn batches_that_are_paid_together_are_paid_all_or_none() {
    for n in 2..=8 {
        let cluster = five();
        let data = MemoryDisk::new();
        let source = noise(300 + n as u64, n * 2 * SEGMENT);
        refuse_from(&cluster, 2);
        let error = upload(&cluster, &data, &source, together(2)).await.unwrap_err();
        assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
        assert_eq!((cluster.charged().await, cluster.stored()), (Charged::nothing(), [].into()));
        let cost = Atto(n as u128 * (2 * CHUNK_COST + Cluster::TIP.0));
        finish(&cluster, &data, &source, &together(2), (cost, 2)).await;
    }
}

#[tokio::test]
async fn a_lost_reply_to_a_payment_of_several_batches_charges_once() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(206, 6 * SEGMENT);
    // It is taken, and from then on the RPC says nothing any more.
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (sent >= 2).then_some(ChainFault::Lose(gone))
    })));
    let error = upload(&cluster, &data, &source, together(2)).await.unwrap_err();
    assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
    let cost = Atto(6 * CHUNK_COST + 3 * Cluster::TIP.0);
    cluster.chain.set_faults(None);
    assert_eq!(cluster.charged().await.paid, cost, "it was taken");
    finish(&cluster, &data, &source, &together(2), (cost, 2)).await;
}
