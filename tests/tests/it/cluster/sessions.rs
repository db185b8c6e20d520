//! What is remembered of an upload: other uploads of the same chunks, payments that were never
//! taken or were taken back, and files that are torn or damaged.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use spillway_client::{ChunkFailure, Remote, Spend, UploadError, UploadOptions, Uploaded};
use spillway_disk::{Disk, MemoryDisk, Overwrite, Survival};
use spillway_pay::{ChainError, ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, ClusterOptions, Picture, SEGMENT, noise};
use spillway_types::{
    Atto, ChunkAddress,
    limits::{CLOSE_GROUP, MAX_DIRECT_LEAVES},
};

/// What one whole segment of noise costs.
const CHUNK_COST: u128 = Cluster::CHUNK_COST;

fn five() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() })
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
) -> Result<Uploaded, UploadError> {
    let client = cluster.client(data);
    client.upload(Cluster::file(source), &cluster.payer, Cluster::options()).await
}

/// An upload that was paid and of which the first so many chunks were stored.
async fn interrupted(cluster: &Cluster, source: &[u8], chunks: usize) -> MemoryDisk {
    let data = MemoryDisk::new();
    cluster.book().let_through(chunks);
    cluster.book().forget_hanging();
    tokio::select! {
        result = upload(cluster, &data, source) => panic!("{result:?}"),
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
async fn an_edit_of_what_is_paid_and_half_stored_pays_for_what_changed() {
    let cluster = five();
    let mut source = noise(130, 20 * SEGMENT);
    let data = interrupted(&cluster, &source, 10).await;
    let paid = cluster.charged().await;
    assert_eq!(paid.paid, Atto(20 * CHUNK_COST));
    let original = source.clone();
    source[12 * SEGMENT + 5] ^= 1;
    let edited = upload(&cluster, &data, &source).await.unwrap();
    assert_reads(&cluster, &edited, &source).await;
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, Atto(23 * CHUNK_COST), "three chunks have changed");
    assert_eq!((charged.vault, charged.credited()), (charged.paid, charged.paid));

    // The old contents are paid for too, and finish without another payment.
    let first = upload(&cluster, &data, &original).await.unwrap();
    assert_reads(&cluster, &first, &original).await;
    assert_eq!(cluster.charged().await, charged);
    assert_eq!(charged.paid, cluster.price_of_all());
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);
}

#[tokio::test]
async fn a_payment_that_a_reorganisation_undoes_goes_out_again_and_charges_once() {
    let cluster = five();
    let source = noise(131, 2_500);
    let data = interrupted(&cluster, &source, 0).await;
    let paid = cluster.charged().await;
    // Both transactions are gone, as if they had never been.
    cluster.chain.reorg(2);
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));
    // What nodes remember of the chain is of before, too.
    for member in &cluster.members {
        cluster.start_member(member);
    }
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn a_plan_that_was_never_taken_is_planned_anew_only_when_it_never_can_be() {
    let cluster = five();
    let source = noise(132, 2_500);
    let data = MemoryDisk::new();
    // The approval is taken; no payment ever arrives, though the RPC says otherwise.
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    let error = upload(&cluster, &data, &source).await.unwrap_err();
    assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
    assert_eq!((cluster.charged().await, cluster.stored()), (Charged::nothing(), [].into()));
    let signed = plans(&data);
    assert_eq!(signed.len(), 1);
    cluster.chain.set_faults(None);

    // Its time is over, but a block before that may still be undone: nothing may be planned.
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(3);
    match upload(&cluster, &data, &source).await.unwrap_err() {
        UploadError::Undecided { valid_until } => {
            let now = spillway_disk::Clock::now(&cluster.clock);
            assert!(valid_until < now, "{valid_until} is over at {now}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((plans(&data), cluster.charged().await), (signed.clone(), Charged::nothing()));

    // Now it can never be taken: a second plan is made and charged, once.
    cluster.chain.mine(65);
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!(plans(&data).len(), 2);
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    assert_reads(&cluster, &uploaded, &source).await;
}

/// The plan files of the only session.
fn plans(data: &MemoryDisk) -> Vec<PathBuf> {
    let dir = session_dir(data);
    let names = data.list(&dir).unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| name.to_str().unwrap().starts_with("plan-")).collect()
}

fn session_dir(data: &MemoryDisk) -> PathBuf {
    let entries = data.list(Path::new("sessions")).unwrap();
    let mut dirs = entries.iter().filter(|entry| entry.kind == spillway_disk::EntryKind::Dir);
    let dir = Path::new("sessions").join(&dirs.next().unwrap().name);
    assert_eq!(dirs.next(), None, "one session");
    dir
}

#[tokio::test]
async fn a_plan_that_was_never_signed_is_made_anew_when_it_is_late() {
    let cluster = five();
    let source = noise(136, 2_500);
    let data = MemoryDisk::new();
    // Not even the approval is taken.
    cluster.chain.set_faults(Some(Box::new(|op| {
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::SendRaw).then_some(ChainFault::Refuse(gone))
    })));
    upload(&cluster, &data, &source).await.unwrap_err();
    assert_eq!(plans(&data).len(), 1);
    cluster.chain.set_faults(None);
    // Nobody waits until the chain is sure that what nobody has signed will not come.
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(3);
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!(plans(&data).len(), 2);
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn what_was_not_stored_in_its_window_is_paid_for_anew_and_the_rest_is_not() {
    let cluster = five();
    let source = noise(133, 10 * SEGMENT);
    let data = interrupted(&cluster, &source, 4).await;
    let held: BTreeSet<ChunkAddress> = cluster.stored().into_keys().collect();
    assert_eq!((held.len(), cluster.charged().await.paid), (4, Atto(10 * CHUNK_COST)));
    cluster.clock.advance(Duration::from_hours(26));
    cluster.chain.mine(1);
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!(cluster.charged().await.paid, Atto((10 + 6) * CHUNK_COST));
    assert_eq!(uploaded.spend.storage_cost, Atto((10 + 6) * CHUNK_COST), "and it says so");
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn when_a_later_transaction_fails_what_is_paid_is_stored_and_the_rest_is_listed() {
    let cluster = five();
    let count = MAX_DIRECT_LEAVES + 2;
    let source = noise(134, count * 50);
    let options = UploadOptions { segment_bytes: 50, ..Cluster::options() };
    let data = MemoryDisk::new();
    // The approval and the first payment are taken; then the RPC is gone for transactions.
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (op == ChainOp::SendRaw && sent >= 3).then_some(ChainFault::Refuse(gone))
    })));
    let client = cluster.client(&data);
    let result = client.upload(Cluster::file(&source), &cluster.payer, options.clone()).await;
    let UploadError::PartialUpload { stored, failed, paid_unstored, total, spend, cause, .. } =
        result.unwrap_err()
    else {
        panic!("a partial upload");
    };
    assert_eq!((stored.len(), failed.len(), total), (100, 2, 102));
    assert!(failed.iter().all(|(_, why)| *why == ChunkFailure::Undecided), "{failed:?}");
    assert_eq!(paid_unstored, []);
    assert!(matches!(cause.as_deref(), Some(UploadError::Payment { .. })), "{cause:?}");
    let held = cluster.stored();
    assert_eq!(stored.iter().copied().collect::<BTreeSet<_>>(), held.keys().copied().collect());
    assert_eq!(
        (spend.storage_cost, cluster.charged().await.paid),
        (cluster.price_of_all(), cluster.price_of_all())
    );

    cluster.chain.set_faults(None);
    let uploaded = client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
    assert_eq!(uploaded.chunks_stored, 102);
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    assert_eq!((uploaded.spend.tx_hashes.len(), cluster.transactions().await), (3, 3));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn a_damaged_file_of_a_session_stops_it_and_stays_as_it_is() {
    let cluster = five();
    let source = noise(135, 2_500);
    let healthy = interrupted(&cluster, &source, 1).await;
    let paid = cluster.charged().await;
    let dir = session_dir(&healthy);
    for name in ["manifest", "map", "plan-0", "tx-0", "tx-1"] {
        let path = dir.join(name);
        let bytes = healthy.read(&path, u64::MAX).unwrap();
        for at in [0, 4, 5, 12, bytes.len() / 2, bytes.len() - 1] {
            let data = healthy.crash(Survival::Everything);
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            data.write_durable(&path, &damaged, Overwrite::Replace).unwrap();
            let before = Picture::of(&data, &dir);
            match upload(&cluster, &data, &source).await.unwrap_err() {
                UploadError::DamagedSession { session, what } => {
                    assert_eq!(Path::new("sessions").join(session), dir);
                    assert!(what.starts_with(name), "byte {at} of {name}: {what}");
                }
                other => panic!("byte {at} of {name}: {other:?}"),
            }
            assert_eq!(Picture::of(&data, &dir), before, "byte {at} of {name}");
        }
    }
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
}

#[tokio::test]
async fn a_journal_cut_anywhere_goes_on_and_charges_once() {
    let cluster = five();
    let source = noise(136, 5 * SEGMENT);
    let whole = interrupted(&cluster, &source, 3).await;
    let paid = cluster.charged().await;
    let journal = session_dir(&whole).join("journal");
    let len = whole.stat(&journal).unwrap().len;
    assert!(len > 1_000, "payment and receipts are in it: {len}");
    for cut in (0..len).step_by(131) {
        let data = whole.crash(Survival::Everything);
        data.truncate(&journal, cut).unwrap();
        let uploaded = upload(&cluster, &data, &source).await.unwrap();
        assert_eq!(cluster.charged().await, paid, "cut at {cut}");
        assert_eq!(uploaded.spend.storage_cost, paid.paid, "cut at {cut}");
        assert_eq!(cluster.transactions().await, 2, "cut at {cut}");
        assert_eq!(data.list(Path::new("spill")).unwrap(), [], "cut at {cut}");
    }
}

#[tokio::test]
async fn two_machines_that_hold_the_same_session_charge_once() {
    let cluster = five();
    let source = noise(137, 3_500);
    let here = interrupted(&cluster, &source, 1).await;
    // Handed over: a copy of the data directory goes on elsewhere.
    let there = here.crash(Survival::Everything);
    let paid = cluster.charged().await;
    let moved = upload(&cluster, &there, &source).await.unwrap();
    let stayed = upload(&cluster, &here, &source).await.unwrap();
    assert_eq!((moved.spend.storage_cost, stayed.spend.storage_cost), (paid.paid, paid.paid));
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
    let third = upload(&cluster, &MemoryDisk::new(), &source).await.unwrap();
    assert_eq!(third.spend, Spend::default());
}

#[tokio::test]
async fn two_uploads_that_share_chunks_at_the_same_time_pay_for_them_once() {
    let cluster = Arc::new(five());
    let first = noise(138, 8 * SEGMENT);
    let mut second = first.clone();
    second[3 * SEGMENT] ^= 1;
    let data = MemoryDisk::new();
    let (a, b) = tokio::join!(upload(&cluster, &data, &first), upload(&cluster, &data, &second));
    // Either may be told that the other is at it, or that the wallet is in use; run again it ends.
    for (result, source) in [(a, &first), (b, &second)] {
        let uploaded = match result {
            Ok(uploaded) => uploaded,
            Err(_) => upload(&cluster, &data, source).await.unwrap(),
        };
        assert_reads(&cluster, &uploaded, source).await;
    }
    let charged = cluster.charged().await;
    assert_eq!(cluster.stored().len(), 8 + 3);
    assert_eq!(charged.paid, cluster.price_of_all());
    assert_eq!((charged.vault, charged.credited()), (charged.paid, charged.paid));
}
