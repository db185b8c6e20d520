//! What is remembered of uploads that are paid in batches: edits, shared chunks, payments that were
//! never taken or were taken back.

use std::{path::Path, time::Duration};

use spillway_client::{
    CommitChoice, ModeChoice, PaymentMode, Remote, UploadError, UploadOptions, Uploaded,
};
use spillway_disk::{Disk, MemoryDisk, Overwrite, Survival};
use spillway_pay::{ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, ClusterOptions, Picture, SEGMENT, noise};
use spillway_types::{Atto, limits::CLOSE_GROUP};

/// What one whole segment of noise costs.
const CHUNK_COST: u128 = Cluster::CHUNK_COST;

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

fn batches(max_leaves: usize) -> UploadOptions {
    Cluster::batch_options(max_leaves, CommitChoice::Together)
}

fn direct() -> UploadOptions {
    UploadOptions { mode: ModeChoice::Direct, ..Cluster::options() }
}

/// What so many chunks in so many batches of one draw cost.
fn cost(chunks: u128, batches: u128) -> Atto {
    Atto(chunks * CHUNK_COST + batches * Cluster::TIP.0)
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

/// An upload that was paid and of which the first so many chunks were stored.
async fn interrupted(
    cluster: &Cluster,
    source: &[u8],
    options: UploadOptions,
    chunks: usize,
) -> MemoryDisk {
    let data = MemoryDisk::new();
    cluster.book().let_through(chunks);
    cluster.book().forget_hanging();
    tokio::select! {
        result = upload(cluster, &data, source, options) => panic!("{result:?}"),
        () = cluster.wait_for_hanging(CLOSE_GROUP) => {}
    }
    cluster.book().behave();
    data.crash(Survival::Nothing)
}

async fn assert_reads(cluster: &Cluster, uploaded: &Uploaded, source: &[u8]) {
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn an_edit_of_what_a_batch_has_paid_pays_for_what_changed() {
    // Whatever the second upload pays with.
    for (options, tips, mode) in
        [(batches(4_096), 2, PaymentMode::Batch), (direct(), 1, PaymentMode::Mixed)]
    {
        let cluster = five();
        let mut source = noise(210, 20 * SEGMENT);
        let data = interrupted(&cluster, &source, batches(4_096), 10).await;
        assert_eq!(cluster.charged().await.paid, cost(20, 1));
        let original = source.clone();
        source[12 * SEGMENT + 5] ^= 1;
        let edited = upload(&cluster, &data, &source, options).await.unwrap();
        assert_reads(&cluster, &edited, &source).await;
        let charged = cluster.charged().await;
        assert_eq!(charged.paid, cost(23, tips), "three chunks have changed");
        assert_eq!(edited.payment_mode, Some(mode));
        assert_eq!(edited.spend.storage_cost, cost(3, tips - 1), "the rest is the other session's");

        // The old contents are paid for too, and finish without another payment.
        let first = upload(&cluster, &data, &original, batches(4_096)).await.unwrap();
        assert_reads(&cluster, &first, &original).await;
        assert_eq!((first.payment_mode, first.mode_reason), (Some(PaymentMode::Batch), None));
        assert_eq!(first.spend.storage_cost, cost(20, 1));
        assert_eq!(cluster.charged().await, charged);
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);
    }
}

#[tokio::test]
async fn a_payment_of_several_batches_that_another_session_has_signed_is_taken_over() {
    let cluster = five();
    let original = noise(211, 12 * SEGMENT);
    let data = MemoryDisk::new();
    // The approval is taken; the payment of all three batches is signed and never arrives.
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    let error = upload(&cluster, &data, &original, batches(4)).await.unwrap_err();
    assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    cluster.chain.set_faults(None);

    // An edit at the end needs the chunks of the first batches: those that are signed.
    let mut source = original.clone();
    source.truncate(10 * SEGMENT + 7);
    let edited = upload(&cluster, &data, &source, batches(4)).await.unwrap();
    assert_reads(&cluster, &edited, &source).await;
    let first = upload(&cluster, &data, &original, batches(4)).await.unwrap();
    assert_reads(&cluster, &first, &original).await;

    // Every chunk was paid for once, by whichever session: each of the three batches, and one batch of
    // what the edit has changed.
    let stored = cluster.price_of_all();
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, stored.saturating_add(Atto(4 * Cluster::TIP.0)));
    assert_eq!(charged.vault, charged.paid);
    assert!(stored > Atto(12 * CHUNK_COST));
    let both = edited.spend.storage_cost.saturating_add(first.spend.storage_cost);
    assert_eq!(both, charged.paid, "and counted once");
}

#[tokio::test]
async fn a_batch_that_was_planned_and_never_signed_is_given_up_for_another_session() {
    let cluster = five();
    let original = noise(212, 6 * SEGMENT);
    let data = MemoryDisk::new();
    // Not even the approval is taken, so no payment is signed.
    cluster.chain.set_faults(Some(Box::new(|op| {
        let gone = spillway_pay::ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::SendRaw).then_some(ChainFault::Refuse(gone))
    })));
    upload(&cluster, &data, &original, batches(3)).await.unwrap_err();
    cluster.chain.set_faults(None);
    let mut source = original.clone();
    source[5] ^= 1;
    let edited = upload(&cluster, &data, &source, batches(4_096)).await.unwrap();
    assert_reads(&cluster, &edited, &source).await;
    assert_eq!(edited.spend.storage_cost, cost(6, 1));
    // The first session goes on with what is stored, and pays for what the edit has not.
    let first = upload(&cluster, &data, &original, batches(4_096)).await.unwrap();
    assert_reads(&cluster, &first, &original).await;
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, cluster.price_of_all().saturating_add(Atto(2 * Cluster::TIP.0)));
}

#[tokio::test]
async fn batches_that_a_reorganisation_undoes_go_out_again_and_charge_once() {
    let cluster = five();
    let source = noise(213, 9 * SEGMENT);
    let data = interrupted(&cluster, &source, batches(3), 0).await;
    let paid = cluster.charged().await;
    assert_eq!(paid.paid, cost(9, 3));
    cluster.chain.reorg(2);
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));
    for member in &cluster.members {
        cluster.start_member(member);
    }
    let uploaded = upload(&cluster, &data, &source, batches(3)).await.unwrap();
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn batches_that_were_never_taken_are_planned_anew_only_when_they_never_can_be() {
    let cluster = five();
    let source = noise(214, 6 * SEGMENT);
    let data = MemoryDisk::new();
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    upload(&cluster, &data, &source, batches(3)).await.unwrap_err();
    cluster.chain.set_faults(None);
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(3);
    let error = upload(&cluster, &data, &source, batches(3)).await.unwrap_err();
    assert!(matches!(error, UploadError::Undecided { .. }), "{error:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    cluster.chain.mine(65);
    // Planned anew, in the other mode even.
    let uploaded = upload(&cluster, &data, &source, direct()).await.unwrap();
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Direct), "what was paid, not planned");
    assert_eq!(uploaded.spend.storage_cost, cost(6, 0));
    assert_eq!(cluster.charged().await.paid, cost(6, 0));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn what_a_batch_did_not_store_in_its_window_is_paid_for_anew_and_the_rest_is_not() {
    let cluster = five();
    let source = noise(215, 10 * SEGMENT);
    let data = interrupted(&cluster, &source, batches(4_096), 4).await;
    cluster.clock.advance(Duration::from_hours(26));
    cluster.chain.mine(1);
    let uploaded = upload(&cluster, &data, &source, direct()).await.unwrap();
    assert_eq!(uploaded.spend.storage_cost, cost(10 + 6, 1));
    assert_eq!(cluster.charged().await.paid, cost(10 + 6, 1));
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Mixed));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn two_machines_that_hold_the_same_batches_charge_once() {
    let cluster = five();
    let source = noise(216, 6 * SEGMENT);
    let here = interrupted(&cluster, &source, batches(2), 1).await;
    let there = here.crash(Survival::Everything);
    let paid = cluster.charged().await;
    let moved = upload(&cluster, &there, &source, batches(2)).await.unwrap();
    let stayed = upload(&cluster, &here, &source, batches(2)).await.unwrap();
    assert_eq!((moved.spend.storage_cost, stayed.spend.storage_cost), (paid.paid, paid.paid));
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
}

#[tokio::test]
async fn a_damaged_file_of_a_session_with_batches_stops_it_and_stays_as_it_is() {
    let cluster = five();
    let source = noise(217, 3 * SEGMENT);
    let healthy = interrupted(&cluster, &source, batches(2), 1).await;
    let paid = cluster.charged().await;
    let sessions = cluster.client(&healthy).sessions().await.unwrap();
    let dir = Path::new("sessions").join(&sessions[0].id);
    for name in ["plan-0", "plan-1", "vault", "tx-1"] {
        let path = dir.join(name);
        let bytes = healthy.read(&path, u64::MAX).unwrap();
        for at in [0, 4, 5, 12, bytes.len() / 2, bytes.len() - 1] {
            let data = healthy.crash(Survival::Everything);
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            data.write_durable(&path, &damaged, Overwrite::Replace).unwrap();
            let before = Picture::of(&data, &dir);
            match upload(&cluster, &data, &source, batches(2)).await.unwrap_err() {
                UploadError::DamagedSession { what, .. } => {
                    assert!(what.starts_with(name), "byte {at} of {name}: {what}");
                }
                other => panic!("byte {at} of {name}: {other:?}"),
            }
            assert_eq!(Picture::of(&data, &dir), before, "byte {at} of {name}");
        }
    }
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
}
