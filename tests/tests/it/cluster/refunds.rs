//! What becomes of the money of batches after their chunks are stored: it is settled, or it comes
//! back.

use std::{path::Path, sync::Arc, time::Duration};

use spillway_client::{
    AccountError, CommitChoice, SeedWanted, SettleOptions, SkipReason, UploadError, Uploaded,
    WinsFailure, missing_seeds, refund, refundable, settle,
};
use spillway_disk::{Clock, Disk, MemoryDisk};
use spillway_pay::{Chain, ChainError, ChainFault, ChainOp, SignedTx, TxJournal, Wallet};
use spillway_tests::{Admit, Charged, Cluster, ClusterOptions, SEGMENT, Tricks, noise};
use spillway_types::{Atto, PaymentProof, PeerSecret, Refusal, Seed, UnixTime, Wei};

/// What one whole segment of noise costs.
const CHUNK_COST: u128 = Cluster::CHUNK_COST;

struct NoJournal;

#[async_trait::async_trait]
impl TxJournal for NoJournal {
    async fn signed(&mut self, _tx: &SignedTx) -> Result<(), spillway_pay::JournalError> {
        Ok(())
    }
}

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    max_leaves: usize,
) -> Result<Uploaded, UploadError> {
    let options = Cluster::batch_options(max_leaves, CommitChoice::Together);
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

fn shared(data: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(data.clone())
}

/// Somebody with coins and no tokens.
fn stranger(cluster: &Cluster) -> Wallet {
    let wallet = Wallet::from_bytes(&[9; 32]).unwrap();
    cluster.chain.set_coins(wallet.address(), Wei(1_000_000_000_000_000_000));
    wallet
}

/// A block of at least this time.
fn advance_to(cluster: &Cluster, time: UnixTime) {
    cluster.clock.advance(time.since(cluster.clock.now()));
    cluster.chain.mine(1);
}

#[tokio::test]
async fn what_nobody_settles_comes_back_after_the_claim_window() {
    let cluster = five();
    let data = MemoryDisk::new();
    let uploaded = upload(&cluster, &data, &noise(230, 6 * SEGMENT), 3).await.unwrap();
    let cost = Atto(6 * CHUNK_COST + 2 * Cluster::TIP.0);
    assert_eq!(uploaded.spend.storage_cost, cost);
    let (payments, disk, wallet) = (cluster.payments(), shared(&data), stranger(&cluster));

    // Before its time it is listed, and stays.
    let listed = refundable(&payments, &disk).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed.iter().map(|batch| batch.amount).sum::<Atto>(), cost);
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    for batch in &listed {
        assert_eq!((&batch.session, batch.due), (&uploaded.upload_id, false));
        assert_eq!((batch.draws, batch.settled), (1, 0));
        let known = status.batches.iter().find(|known| known.payment == batch.payment).unwrap();
        assert_eq!((known.refundable_from, known.escrow), (Some(batch.from), batch.amount));
    }
    let from = listed[0].from;
    let report = refund(&payments, &wallet, &disk, None).await.unwrap();
    assert_eq!((report.refunded.len(), report.waiting), (0, listed));

    // To the second.
    advance_to(&cluster, UnixTime(from.0 - 2));
    assert!(!refundable(&payments, &disk).await.unwrap()[0].due);
    advance_to(&cluster, from.saturating_add(Duration::from_secs(1)));
    assert!(refundable(&payments, &disk).await.unwrap()[0].due);
    let report = refund(&payments, &wallet, &disk, None).await.unwrap();
    assert_eq!((report.amount(), report.refunded.len(), report.waiting.len()), (cost, 2, 0));
    assert!(report.spend.gas_used > 0);
    assert_eq!(cluster.charged().await, Charged::nothing(), "it is back with its payer");

    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert!(status.is_over());
    assert_eq!(status.batches.iter().filter_map(|b| b.refunded).sum::<Atto>(), cost);
    assert_eq!((status.spend.storage_cost, status.spend.refunded), (cost, cost));
    assert_eq!(status.spend.net_storage_cost(), Atto::ZERO);

    // Nothing comes back twice.
    assert_eq!(refundable(&payments, &disk).await.unwrap(), []);
    for session in [None, Some(uploaded.upload_id.as_str())] {
        let sent = cluster.chain.pending_nonce(wallet.address()).await.unwrap();
        let report = refund(&payments, &wallet, &disk, session).await.unwrap();
        assert_eq!((report.amount(), report.waiting.len()), (Atto::ZERO, 0));
        assert_eq!(cluster.chain.pending_nonce(wallet.address()).await.unwrap(), sent);
    }
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!(status.spend.refunded, cost);
}

#[tokio::test]
async fn only_the_session_that_is_named_is_refunded() {
    let cluster = five();
    let data = MemoryDisk::new();
    let first = upload(&cluster, &data, &noise(231, 2 * SEGMENT), 4).await.unwrap();
    let second = upload(&cluster, &data, &noise(232, 3 * SEGMENT), 4).await.unwrap();
    let (payments, disk) = (cluster.payments(), shared(&data));
    let from = refundable(&payments, &disk).await.unwrap().iter().map(|b| b.from).max().unwrap();
    advance_to(&cluster, from.saturating_add(Duration::from_secs(1)));
    let id = Some(second.upload_id.as_str());
    let report = refund(&payments, &cluster.payer, &disk, id).await.unwrap();
    assert_eq!(report.amount(), second.spend.storage_cost);
    assert_eq!(report.refunded[0].session, second.upload_id);
    let left = refundable(&payments, &disk).await.unwrap();
    assert_eq!((left.len(), &left[0].session), (1, &first.upload_id));
}

#[tokio::test]
async fn what_came_back_without_being_written_down_is_found() {
    let cluster = five();
    let data = MemoryDisk::new();
    let uploaded = upload(&cluster, &data, &noise(233, 2 * SEGMENT), 4).await.unwrap();
    let cost = uploaded.spend.storage_cost;
    let (payments, disk, wallet) = (cluster.payments(), shared(&data), stranger(&cluster));
    let from = refundable(&payments, &disk).await.unwrap()[0].from;
    advance_to(&cluster, from.saturating_add(Duration::from_secs(1)));

    // It is asked for, and the answer never comes: the transaction is taken.
    cluster.chain.set_faults(Some(Box::new(|op| {
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::SendRaw || op == ChainOp::Receipt).then_some(ChainFault::Lose(gone))
    })));
    match refund(&payments, &wallet, &disk, None).await.map_err(|stopped| stopped.error) {
        Err(AccountError::Payment(_) | AccountError::Chain(_)) => {}
        Ok(report) => assert_eq!(report.amount(), cost, "seen by the record alone"),
        Err(other) => panic!("{other:?}"),
    }
    cluster.chain.set_faults(None);
    assert_eq!(cluster.charged().await, Charged::nothing());
    refund(&payments, &wallet, &disk, None).await.unwrap();
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!((status.spend.refunded, status.batches[0].refunded), (cost, Some(cost)));
}

#[tokio::test]
async fn a_refund_by_somebody_else_counts_when_it_was_seen_to_come() {
    let cluster = five();
    let data = MemoryDisk::new();
    cluster.book().keep_puts();
    let uploaded = upload(&cluster, &data, &noise(234, 2 * SEGMENT), 4).await.unwrap();
    let cost = uploaded.spend.storage_cost;
    let (payments, disk, wallet) = (cluster.payments(), shared(&data), stranger(&cluster));
    let from = refundable(&payments, &disk).await.unwrap()[0].from;
    advance_to(&cluster, from.saturating_add(Duration::from_secs(1)));
    // Nothing can be sent, but what there is to come is written down.
    cluster.chain.set_faults(Some(Box::new(|op| {
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::SendRaw).then_some(ChainFault::Refuse(gone))
    })));
    refund(&payments, &wallet, &disk, None).await.unwrap_err();
    cluster.chain.set_faults(None);
    assert_eq!(cluster.charged().await.paid, cost);
    // As any node knows the batch.
    let put = cluster.book().take_puts().remove(0);
    let PaymentProof::Batch(proof) = put.proof else { panic!("{:?}", put.proof) };
    payments.refund(&wallet, &[proof.terms], &mut NoJournal).await.unwrap();
    assert_eq!(cluster.charged().await, Charged::nothing());

    let report = refund(&payments, &cluster.payer, &disk, None).await.unwrap();
    assert_eq!((report.amount(), report.spend.gas_used), (cost, 0));
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!((status.spend.refunded, status.is_over()), (cost, true));
}

#[tokio::test]
async fn a_session_that_another_process_works_on_is_left() {
    let cluster = five();
    let data = MemoryDisk::new();
    let uploaded = upload(&cluster, &data, &noise(235, 2 * SEGMENT), 4).await.unwrap();
    let (payments, disk) = (cluster.payments(), shared(&data));
    let from = refundable(&payments, &disk).await.unwrap()[0].from;
    advance_to(&cluster, from.saturating_add(Duration::from_secs(1)));
    let entries = data.list(Path::new("sessions")).unwrap();
    let name = entries.iter().find(|e| e.name.as_os_str().len() == 64 + 5).unwrap().name.clone();
    let lock = data.lock(&Path::new("sessions").join(name)).unwrap();
    let report = refund(&payments, &cluster.payer, &disk, None).await.unwrap();
    assert_eq!((report.busy, report.refunded.len()), (vec![uploaded.upload_id], 0));
    assert_eq!(cluster.charged().await.paid, uploaded.spend.storage_cost);
    drop(lock);
    let report = refund(&payments, &cluster.payer, &disk, None).await.unwrap();
    assert_eq!((report.busy.len(), report.amount()), (0, uploaded.spend.storage_cost));
}

/// The draw's time passes, and its seed becomes known.
async fn draw(cluster: &Cluster, data: &MemoryDisk) {
    let status = &cluster.client(data).sessions().await.unwrap()[0];
    let batch = &status.batches[0];
    // Past the boundary of the epoch after the draw.
    advance_to(cluster, batch.draw_time.unwrap().saturating_add(Duration::from_hours(24)));
    let (payments, disk) = (cluster.payments(), shared(data));
    assert_eq!(missing_seeds(&payments, &disk).await.unwrap(), [batch.upload_by]);
    cluster.chain.put_seed(cluster.domain.vault, batch.upload_by, Seed([3; 32]));
    assert_eq!(missing_seeds(&payments, &disk).await.unwrap(), []);
    cluster.chain.mine(1);
    cluster.tend().await;
}

#[tokio::test]
async fn wins_are_gathered_from_nodes_and_settled() {
    let cluster = five();
    let data = MemoryDisk::new();
    let uploaded = upload(&cluster, &data, &noise(236, 10 * SEGMENT), 2).await.unwrap();
    let (payments, disk, wallet) = (cluster.payments(), shared(&data), stranger(&cluster));
    let peers = cluster.peers();
    let nobody = PeerSecret::from_seed(&[0xbb; 32]).peer();
    let mut from: Vec<_> = cluster.members.iter().map(spillway_tests::Member::peer).collect();
    from.push(nobody);
    let options = SettleOptions { from, ..SettleOptions::default() };
    // Before the draw nobody has won.
    let report = settle(&*peers, &payments, &wallet, options.clone()).await.unwrap();
    assert_eq!((report.wins, report.settled.draws), (0, 0));
    assert!(matches!(report.silent[..], [(peer, WinsFailure::Peer(_))] if peer == nobody));

    draw(&cluster, &data).await;
    let report = settle(&*peers, &payments, &wallet, options.clone()).await.unwrap();
    assert_eq!((report.wins, report.settled.draws), (5, 5), "each is known to five nodes");
    assert_eq!(report.settled.prizes, Atto(10 * CHUNK_COST));
    assert_eq!(report.settled.tips, Atto(5 * Cluster::TIP.0));
    assert_eq!(report.settled.skipped, []);
    let tips = cluster.chain.tokens(cluster.token, wallet.address()).await.unwrap();
    assert_eq!(tips, Atto(5 * Cluster::TIP.0));
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, uploaded.spend.storage_cost);
    assert_eq!((charged.vault, charged.credited()), (Atto(10 * CHUNK_COST), charged.vault));

    // Whoever comes second pays for nothing.
    let second = settle(&*peers, &payments, &cluster.payer, options).await.unwrap();
    assert_eq!((second.settled.draws, second.settled.spend.gas_used), (0, 0));
    assert!(second.settled.skipped.iter().all(|s| s.reason == SkipReason::AlreadySettled));

    // Nothing comes back, and after the claim window the session knows it.
    let listed = refundable(&payments, &disk).await.unwrap();
    assert_eq!(listed, []);
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert!(!status.is_over());
    let over = status.batches[0].refundable_from.unwrap();
    advance_to(&cluster, over.saturating_add(Duration::from_secs(1)));
    let report = refund(&payments, &wallet, &disk, None).await.unwrap();
    assert_eq!((report.amount(), report.spend.gas_used), (Atto::ZERO, 0));
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert!(status.is_over());
    assert_eq!(status.spend.net_storage_cost(), uploaded.spend.storage_cost);
}

#[tokio::test]
async fn a_seed_that_cannot_be_known_yet_is_said_and_nothing_is_sent() {
    let cluster = five();
    let data = MemoryDisk::new();
    upload(&cluster, &data, &noise(237, SEGMENT), 2).await.unwrap();
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    let upload_by = status.batches[0].upload_by;
    let (payments, wallet) = (cluster.payments(), stranger(&cluster));
    let seeds = vec![SeedWanted { upload_by, proof: Vec::new() }];
    let options = SettleOptions { seeds, ..SettleOptions::default() };
    let report = settle(&*cluster.peers(), &payments, &wallet, options).await.unwrap();
    assert_eq!(report.seeds, [(upload_by, None)]);
    assert_eq!(cluster.chain.pending_nonce(wallet.address()).await.unwrap(), 0);
}

#[tokio::test]
async fn the_draw_of_a_chunk_that_no_node_has_comes_back() {
    let cluster = five();
    let data = MemoryDisk::new();
    // Nobody takes the chunks with an odd address; each chunk is a batch, with a draw of its own.
    let odd = |address: spillway_types::ChunkAddress| address.0[0] % 2 == 1;
    for member in &cluster.members {
        member.play(Tricks {
            admit: Some(Box::new(move |put| {
                if odd(put.leaf.address) {
                    Admit::Refuse(Refusal::StorageFailed)
                } else {
                    Admit::Serve
                }
            })),
            ..Tricks::default()
        });
    }
    let error = upload(&cluster, &data, &noise(238, 8 * SEGMENT), 1).await.unwrap_err();
    let UploadError::PartialUpload { stored, paid_unstored, spend, .. } = error else {
        panic!("{error:?}")
    };
    let (with, without) = (stored.len() as u128, paid_unstored.len() as u128);
    assert!(with > 0 && without > 0, "{with} {without}");
    assert_eq!(spend.storage_cost, Atto(8 * (CHUNK_COST + Cluster::TIP.0)));

    draw(&cluster, &data).await;
    let (payments, disk, wallet) = (cluster.payments(), shared(&data), stranger(&cluster));
    let from = cluster.members.iter().map(spillway_tests::Member::peer).collect();
    let options = SettleOptions { from, ..SettleOptions::default() };
    let report = settle(&*cluster.peers(), &payments, &wallet, options).await.unwrap();
    assert_eq!(u128::from(report.settled.draws), with);
    let back = Atto(without * (CHUNK_COST + Cluster::TIP.0));
    let listed = refundable(&payments, &disk).await.unwrap();
    assert_eq!(listed.iter().map(|batch| batch.amount).sum::<Atto>(), back);
    advance_to(&cluster, listed[0].from.saturating_add(Duration::from_secs(1)));
    let report = refund(&payments, &wallet, &disk, None).await.unwrap();
    assert_eq!(report.amount(), back);

    // The nodes have what they stored, the settler the tips of that, the payer the rest.
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, spend.storage_cost.saturating_sub(back));
    assert_eq!(charged.credited(), Atto(with * CHUNK_COST));
    assert_eq!(charged.vault, charged.credited());
    let status = &cluster.client(&data).sessions().await.unwrap()[0];
    assert_eq!(status.spend.net_storage_cost(), charged.paid);
    assert!(!status.is_over(), "chunks are missing");
}
