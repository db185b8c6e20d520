//! What may go wrong on the way: a node that dies while its chunks are stored, a beacon that nobody
//! tends. And which way of paying is chosen, on the figures of a devnet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use spillway_client::{
    BatchOptions, BatchRefused, ModeChoice, ModeReason, PaymentMode, UploadError, UploadOptions,
};
use spillway_pay::CommitChoice;
use spillway_testnet::{TestClient, TestnetOptions};
use spillway_tests::{Admit, Cluster, Deal, Draws, Network, Notes, Tricks, at_small_chunks, noise};
use spillway_types::{Atto, Refusal, TokenRate, Wei, limits::STORE_QUORUM};

/// Plaintext bytes of a segment.
const SEGMENT: usize = 1_000;

/// What a token is worth to these clients: what it is to the nodes.
const RATE: TokenRate = TestnetOptions::TOKEN_RATE;

fn options(mode: ModeChoice) -> UploadOptions {
    UploadOptions {
        segment_bytes: SEGMENT,
        mode,
        token_rate: Some(RATE),
        ..UploadOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_are_paid_at_once_and_stored_though_a_node_dies() {
    let mut network = Network::batches(7).await;
    let client = network.testnet.client(&network.place().join("client")).await.unwrap();
    let (victim, chunks) = (2, 24);
    let source = noise(800, chunks * SEGMENT);
    let before = network.balances().await;
    network.book.keep_puts();
    // It stores five and never answers again.
    let served = AtomicUsize::new(0);
    let admit = move |_: &spillway_types::PutRequest| {
        if served.fetch_add(1, Ordering::SeqCst) < 5 { Admit::Serve } else { Admit::Hang }
    };
    network.book.play(victim, Tricks { admit: Some(Box::new(admit)), ..Tricks::default() });
    let batch = BatchOptions { max_leaves: chunks / 2, commit: CommitChoice::Together };
    let wallet = Arc::clone(network.testnet.wallet());
    let file = Cluster::file(&source);
    let in_two = UploadOptions { batch, ..options(ModeChoice::Batch) };
    let uploading = client.client().upload(file, &wallet, in_two.clone());
    let book = network.book.clone();
    let killing = async {
        book.wait_for_hanging(1).await;
        network.testnet.stop_node(victim).await;
    };
    let (uploaded, ()) = tokio::join!(uploading, killing);
    let uploaded = uploaded.unwrap();

    let id = |terms: &spillway_types::BatchTerms| terms.id(network.testnet.domain());
    let batches = Draws::of_puts(&network.book.take_puts(), id);
    let leaves: Vec<usize> = batches.iter().map(Draws::leaves).collect();
    assert_eq!(leaves, [chunks / 2, chunks / 2]);
    let escrow: Atto = batches.iter().map(|batch| batch.terms.escrow()).sum();
    assert_eq!(uploaded.chunks_stored, chunks as u64);
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Batch));
    assert_eq!(uploaded.spend.storage_cost, escrow);
    assert_eq!(uploaded.spend.tx_hashes.len(), 2, "an approval and one payment for both");
    let after = before.after_batches(escrow, 2);
    assert_eq!(network.balances().await, after);
    // Those that run have a quorum of each.
    let files = network.chunk_files();
    assert_eq!(files.len(), chunks);
    assert!(files.values().all(|&copies| copies >= STORE_QUORUM), "{files:?}");

    // The same again with all of them: nothing is paid.
    network.book.behave();
    network.testnet.restart_node(victim).await.unwrap();
    let again = client.client().upload(Cluster::file(&source), &wallet, in_two).await.unwrap();
    assert_eq!(again.chunks_already_stored, chunks as u64);
    assert_eq!((again.payment_mode, again.mode_reason), (None, None));
    assert_eq!(network.balances().await, after);
    client.shutdown().await;
    network.shutdown().await;
}

/// Seeds so often that the beacon can be on time when nodes quote, and behind before their quotes end.
const EPOCH: Duration = Duration::from_mins(20);
/// More than two epochs, less than a quote lasts.
const SILENCE: Duration = Duration::from_mins(50);

#[tokio::test(flavor = "multi_thread")]
async fn without_seeds_what_was_paid_is_stored_and_no_new_batch_is_taken() {
    let network =
        Network::with(5, |options| at_small_chunks(TestnetOptions { epoch: EPOCH, ..options }));
    let network = network.await;
    let client = network.testnet.client(&network.place().join("client")).await.unwrap();
    let wallet = network.testnet.wallet();
    network.testnet.silence_beacon().await;
    let deal = Deal::ask(&network, &client, 820..824, SEGMENT).await;
    let plan = deal.batch(&network, 1);
    pay(&network, &client, &plan).await;
    for (node, answer) in deal.store(&network, &client, &plan, 0).await {
        assert_eq!(answer.unwrap().len(), 1, "node {node}");
    }

    // The beacon dies in the middle of this upload.
    network.testnet.advance(SILENCE).await.unwrap();
    network.testnet.refresh().await.unwrap();
    let beacon =
        || async { network.testnet.chain().beacon(network.testnet.domain().vault).await.unwrap() };
    let latest = beacon().await.latest;
    assert!(beacon().await.is_behind(network.time().await));
    // What was paid before is stored, what is paid now is not.
    for (node, answer) in deal.store(&network, &client, &plan, 1).await {
        assert_eq!(answer.unwrap().len(), 1, "node {node}");
    }
    let late = deal.batch(&network, 1);
    pay(&network, &client, &late).await;
    let behind = Refusal::BeaconBehind { latest };
    for (node, answer) in deal.store(&network, &client, &late, 2).await {
        assert_eq!(answer, Err(behind.clone()), "node {node}");
    }
    let before = network.balances().await;
    let source = noise(830, 30 * SEGMENT);
    let upload = |mode| client.client().upload(Cluster::file(&source), wallet, options(mode));
    let refused = BatchRefused::BeaconBehind { latest };
    match upload(ModeChoice::Batch).await {
        Err(UploadError::NoBatch(found)) => assert_eq!(found, refused),
        other => panic!("{other:?}"),
    }
    assert_eq!(network.balances().await, before, "nothing was charged");
    let uploaded = upload(ModeChoice::Auto).await.unwrap();
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Direct));
    assert_eq!(uploaded.mode_reason, Some(ModeReason::NoBatch(refused)));
    let said = uploaded.mode_reason.unwrap().to_string();
    assert!(said.starts_with("direct: the beacon is behind"), "{said}");
    let after = before.after(uploaded.spend.storage_cost, 2);
    assert_eq!(network.balances().await, after);

    // Somebody tends it again.
    network.testnet.wake_beacon().await;
    network.testnet.post_seeds().await.unwrap();
    assert!(!beacon().await.is_behind(network.time().await));
    for (node, answer) in deal.store(&network, &client, &late, 2).await {
        assert_eq!(answer.unwrap().len(), 1, "node {node}");
    }
    client.shutdown().await;
    network.shutdown().await;
}

async fn pay(network: &Network, client: &TestClient, plan: &spillway_pay::Plan) {
    let request = spillway_pay::PayRequest {
        plans: std::slice::from_ref(plan),
        wallet: network.testnet.wallet(),
        earlier: &[],
        caps: spillway_pay::Caps::default(),
        confirmations: 0,
        commit: CommitChoice::Together,
    };
    client.payments().pay(request, &mut Notes::new()).await.unwrap();
}

/// On the figures of a devnet, but for the size of a chunk, which is a thousandth at the same
/// price.
#[tokio::test(flavor = "multi_thread")]
async fn few_chunks_are_paid_directly_and_many_as_a_batch() {
    let network = Network::batches(5).await;
    let client = network.testnet.client(&network.place().join("client")).await.unwrap();
    let wallet = network.testnet.wallet();
    let mut chosen = Vec::new();
    for chunks in [1, 24, 60] {
        let source = Cluster::file(&noise(840 + chunks as u64, chunks * SEGMENT));
        let cost = client.client().cost(source, wallet, options(ModeChoice::Auto)).await.unwrap();
        let (mode, reason) = (cost.offer.mode.unwrap(), cost.offer.reason.unwrap());
        assert_eq!(reason.mode(), mode);
        assert_eq!(cost.offer.tips > Atto::ZERO, mode == PaymentMode::Batch);
        chosen.push((chunks, mode));
    }
    let (direct, batch) = (PaymentMode::Direct, PaymentMode::Batch);
    assert_eq!(chosen, [(1, direct), (24, batch), (60, batch)]);

    // And so they are paid, for less than the other way would have cost.
    for (chunks, mode) in [(1, direct), (24, batch)] {
        let source = noise(850 + chunks as u64, chunks * SEGMENT);
        let file = || Cluster::file(&source);
        let other = if mode == direct { ModeChoice::Batch } else { ModeChoice::Direct };
        let dearer = client.client().cost(file(), wallet, options(other)).await;
        let uploaded = client.client().upload(file(), wallet, options(ModeChoice::Auto)).await;
        let uploaded = uploaded.unwrap();
        assert_eq!(uploaded.payment_mode, Some(mode));
        match (mode, uploaded.mode_reason.unwrap(), dearer) {
            (
                PaymentMode::Direct,
                ModeReason::NoBatch(refused),
                Err(UploadError::NoBatch(found)),
            ) => {
                assert_eq!(found, refused);
                assert!(matches!(found, BatchRefused::PrizeTooSmall { .. }), "{found:?}");
            }
            (PaymentMode::Batch, ModeReason::Cheaper { mode, saved }, Ok(dearer)) => {
                assert_eq!(mode, batch);
                assert!(saved > Wei::ZERO);
                let spent = RATE.coins(uploaded.spend.storage_cost);
                let spent = spent.saturating_add(uploaded.spend.gas_cost);
                let instead = RATE.coins(dearer.offer.total());
                let instead = instead.saturating_add(dearer.offer.gas_cost);
                assert!(spent < instead, "{spent} < {instead}");
            }
            other => panic!("{other:?}"),
        }
    }
    client.shutdown().await;
    network.shutdown().await;
}
