//! Uploads that end in the middle: whatever happens, what was paid is stored and paid once.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use spillway_client::{
    ChunkFailure, CommitChoice, ProgressSender, Remote, Stage, UploadError, UploadOptions, Uploaded,
};
use spillway_disk::{Disk, Fault, FaultPlan, Faults, MemoryDisk, Survival};
use spillway_pay::{ChainError, ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, ClusterOptions, noise};
use spillway_types::{Atto, ChunkAddress};
use tokio_util::sync::CancellationToken;

fn five() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() })
}

async fn upload_with(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
) -> Result<Uploaded, UploadError> {
    upload_with(cluster, data, source, Cluster::options()).await
}

/// Everything is stored, was paid for once, and the disk is clean.
async fn assert_done_once(
    cluster: &Cluster,
    data: &MemoryDisk,
    uploaded: &Uploaded,
    source: &[u8],
) {
    let charged = cluster.charged().await;
    assert_eq!(charged.paid, cluster.price_of_all(), "charged once");
    assert_eq!((charged.vault, charged.credited()), (charged.paid, charged.paid));
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);
    let sessions = cluster.client(data).sessions().await.unwrap();
    assert!(sessions.iter().all(|session| session.finished && session.damage.is_none()));
    let spent: u128 = sessions.iter().map(|session| session.spend.storage_cost.0).sum();
    assert_eq!(spent, charged.paid.0, "and the sessions know");
}

#[tokio::test]
async fn dropped_after_paying_and_run_again_is_charged_once() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(60, 3_500);
    cluster.book().let_through(0);
    tokio::select! {
        result = upload(&cluster, &data, &source) => panic!("{result:?}"),
        () = cluster.wait_for_hanging(5) => {}
    }
    let paid = cluster.charged().await;
    assert_eq!((paid.paid.0, cluster.stored()), (4 * Cluster::CHUNK_COST, [].into()));
    cluster.book().behave();
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.spend.storage_cost), (4, paid.paid));
    assert_eq!(cluster.charged().await, paid);
    assert_eq!(cluster.transactions().await, 2);
    assert_done_once(&cluster, &data, &uploaded, &source).await;
}

#[tokio::test]
async fn dropped_after_storing_half_and_run_again_is_charged_once() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(61, 12_000);
    cluster.book().let_through(6);
    let (progress, mut seen) = ProgressSender::channel();
    let options = UploadOptions { progress, ..Cluster::options() };
    tokio::select! {
        result = upload_with(&cluster, &data, &source, options) => panic!("{result:?}"),
        half = seen.wait_for(|now| now.stage == Stage::Store && now.chunks_done == 6) => {
            assert_eq!(half.unwrap().chunks_total, Some(12));
        }
    }
    let paid = cluster.charged().await;
    let half: BTreeSet<ChunkAddress> = cluster.stored().into_keys().collect();
    assert_eq!(half.len(), 6);
    let sessions = cluster.client(&data).sessions().await.unwrap();
    assert_eq!((sessions[0].chunks_paid, sessions[0].chunks_stored), (12, 6));
    cluster.book().behave();
    cluster.take_log();
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert!(cluster.take_puts().into_keys().all(|address| !half.contains(&address)));
    assert_eq!(cluster.charged().await, paid);
    assert_eq!(uploaded.spend.storage_cost, paid.paid);
    assert_done_once(&cluster, &data, &uploaded, &source).await;
}

#[tokio::test]
async fn a_stop_ends_it_and_it_goes_on_later() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(62, 8_000);
    cluster.book().let_through(4);
    let stop = CancellationToken::new();
    let client = cluster.client_on(Arc::new(data.clone()), stop.clone());
    let upload_until_stopped =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options());
    let (result, ()) = tokio::join!(upload_until_stopped, async {
        cluster.wait_for_hanging(1).await;
        stop.cancel();
    });
    let UploadError::PartialUpload { cause: Some(cause), paid_unstored, .. } = result.unwrap_err()
    else {
        panic!("what was paid is said");
    };
    assert!(matches!(*cause, UploadError::Interrupted));
    assert!(!paid_unstored.is_empty());
    cluster.book().behave();
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_done_once(&cluster, &data, &uploaded, &source).await;
}

#[tokio::test]
async fn a_stop_between_sending_and_seeing_a_payment_says_that_it_may_be_paid() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(69, 2_500);
    let stop = CancellationToken::new();
    let (stopper, mut sent) = (stop.clone(), 0);
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        // The first one is the approval.
        if sent == 2 {
            stopper.cancel();
        }
        None
    })));
    let client = cluster.client_on(Arc::new(data.clone()), stop);
    let result = client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await;
    let UploadError::PartialUpload { cause: Some(cause), failed, .. } = result.unwrap_err() else {
        panic!("what was sent is said");
    };
    assert!(matches!(*cause, UploadError::Interrupted));
    assert_eq!(failed.len(), 3);
    let undecided = |(_, failure): &(_, ChunkFailure)| matches!(failure, ChunkFailure::Undecided);
    assert!(failed.iter().all(undecided), "{failed:?}");
    let paid = cluster.charged().await;
    assert!(paid.paid > Atto::ZERO, "the vault has taken it");
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_eq!(cluster.charged().await, paid);
    assert_done_once(&cluster, &data, &uploaded, &source).await;
}

#[tokio::test]
async fn a_stop_before_anything_is_paid_leaves_nothing_to_say() {
    let cluster = five();
    let data = MemoryDisk::new();
    let stop = CancellationToken::new();
    stop.cancel();
    let client = cluster.client_on(Arc::new(data.clone()), stop);
    let source = noise(68, 2_500);
    let result = client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await;
    assert!(matches!(result, Err(UploadError::Interrupted)), "{result:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    let uploaded = upload(&cluster, &data, &source).await.unwrap();
    assert_done_once(&cluster, &data, &uploaded, &source).await;
}

#[tokio::test]
async fn a_renamed_source_goes_on_as_the_same_upload() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(63, 2_500);
    cluster.book().let_through(0);
    tokio::select! {
        result = upload(&cluster, &data, &source) => panic!("{result:?}"),
        () = cluster.wait_for_hanging(1) => {}
    }
    cluster.book().behave();
    let elsewhere = MemoryDisk::new();
    let path = Path::new("another-name");
    elsewhere.write_durable(path, &source, spillway_client::Overwrite::Never).unwrap();
    let renamed =
        spillway_client::Source::Path { disk: Arc::new(elsewhere), path: path.to_owned() };
    let client = cluster.client(&data);
    let uploaded = client.upload(renamed, &cluster.payer, Cluster::options()).await.unwrap();
    assert_done_once(&cluster, &data, &uploaded, &source).await;
    assert_eq!(cluster.transactions().await, 2);
}

#[tokio::test]
async fn lost_replies_of_the_rpc_charge_once() {
    let lost = || ChainError::Timeout { endpoint: "rpc".into(), after: std::time::Duration::ZERO };
    // The reply to the approval, to the payment, to both, and the first three of everything.
    for which in [&[1_u32][..], &[2], &[1, 2], &[1, 2, 3]] {
        for op in [ChainOp::SendRaw, ChainOp::Receipt, ChainOp::Record, ChainOp::Read] {
            if op == ChainOp::Read && which.contains(&1) {
                // A first look that fails is said at once: nothing has begun.
                continue;
            }
            let cluster = five();
            let (which, mut count) = (which.to_vec(), 0);
            cluster.chain.set_faults(Some(Box::new(move |asked| {
                if asked != op {
                    return None;
                }
                count += 1;
                which.contains(&count).then(|| ChainFault::Lose(lost()))
            })));
            let data = MemoryDisk::new();
            let source = noise(64, 2_500);
            let mut result = upload(&cluster, &data, &source).await;
            if result.is_err() {
                // It may give up; then it goes on when it is run again.
                cluster.chain.set_faults(None);
                result = upload(&cluster, &data, &source).await;
            }
            cluster.chain.set_faults(None);
            let uploaded = result.unwrap();
            assert_done_once(&cluster, &data, &uploaded, &source).await;
            assert_eq!(cluster.transactions().await, 2, "{op:?}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_stays_lost_until_the_process_dies_charges_once() {
    let cluster = five();
    let data = MemoryDisk::new();
    let source = noise(65, 2_500);
    // The payment is taken, and from then on the RPC says nothing any more.
    let mut sent = 0;
    let gone = || ChainError::Unreachable { endpoint: "rpc".into() };
    cluster.chain.set_faults(Some(Box::new(move |op| {
        if op == ChainOp::SendRaw {
            sent += 1;
        }
        (sent >= 2).then(|| ChainFault::Lose(gone()))
    })));
    let error = upload(&cluster, &data, &source).await.unwrap_err();
    assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
    let after = data.crash(Survival::Nothing);
    cluster.chain.set_faults(None);
    let paid = cluster.charged().await;
    assert_ne!(paid.paid.0, 0, "it was taken");
    let uploaded = upload(&cluster, &after, &source).await.unwrap();
    assert_eq!(uploaded.spend.storage_cost, paid.paid);
    assert_eq!((cluster.charged().await, cluster.transactions().await), (paid, 2));
    assert_done_once(&cluster, &after, &uploaded, &source).await;
}

/// How three chunks are paid for: one after the other in batches, all batches at once, or directly.
#[derive(Clone, Copy)]
struct Paying {
    options: fn() -> UploadOptions,
    tips: u128,
}

const DIRECT: Paying = Paying { options: Cluster::options, tips: 0 };
const BATCHES: Paying =
    Paying { options: || Cluster::batch_options(2, CommitChoice::Together), tips: 2 };
const ONE_BY_ONE: Paying =
    Paying { options: || Cluster::batch_options(1, CommitChoice::OneByOne), tips: 3 };

impl Paying {
    fn cluster(self) -> Cluster {
        if self.tips == 0 { five() } else { Cluster::with(ClusterOptions::batches(5)) }
    }

    /// What everything costs that is stored.
    fn cost(self, cluster: &Cluster) -> Atto {
        cluster.price_of_all().saturating_add(Atto(self.tips * Cluster::TIP.0))
    }

    /// Credits are given at once for direct payments, after a draw for batches.
    fn credited(self, charged: &Charged) -> Atto {
        if self.tips == 0 { charged.paid } else { Atto::ZERO }
    }
}

/// Uploads with the disk dying at its Nth change, for every N; then a power cut that leaves what
/// `survival` says; then again on what is left.
async fn power_cut_everywhere(paying: Paying, survival: impl Fn(u64) -> Survival) {
    let source = noise(66, 2_500);
    let (mut unpaid, mut paid, mut part_stored) = (0, 0, 0);
    for at in 1.. {
        let cluster = paying.cluster();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new();
        let dying = data.clone().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let client = cluster.client_on(Arc::new(dying), CancellationToken::new());
        let result =
            client.upload(Cluster::file(&source), &cluster.payer, (paying.options)()).await;
        if faults.count() < at {
            // The power was cut in every part of the work.
            assert!(unpaid > 20 && paid > 20 && part_stored > 0, "{unpaid} {paid} {part_stored}");
            let uploaded = result.unwrap();
            assert_eq!(uploaded.spend.storage_cost, paying.cost(&cluster));
            return;
        }
        let first = result.map(|uploaded| uploaded.spend);
        match cluster.charged().await.paid {
            Atto::ZERO => unpaid += 1,
            _ => paid += 1,
        }
        part_stored += u32::from((1..3).contains(&cluster.stored().len()));
        let after = data.crash(survival(at));
        let again = upload_with(&cluster, &after, &source, (paying.options)()).await;
        let uploaded = match again {
            Ok(uploaded) => uploaded,
            Err(error) => panic!("after a power cut at change {at} ({first:?}): {error:?}"),
        };
        let charged = cluster.charged().await;
        assert_eq!(charged.paid, paying.cost(&cluster), "power cut at change {at}");
        let credited = paying.credited(&charged);
        assert_eq!((charged.vault, charged.credited()), (charged.paid, credited));
        let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
        assert_eq!(cluster.read_back(map).await.unwrap(), source, "power cut at change {at}");
        let sessions = cluster.client(&after).sessions().await.unwrap();
        assert!(
            sessions.iter().all(|session| session.finished && session.damage.is_none()),
            "power cut at change {at}: {sessions:?}"
        );
        let spent: Atto = sessions.iter().map(|session| session.spend.storage_cost).sum();
        assert_eq!(spent, charged.paid, "power cut at change {at}");
    }
}

#[tokio::test]
async fn a_power_cut_at_any_change_of_the_disk_charges_once() {
    power_cut_everywhere(DIRECT, |_| Survival::Nothing).await;
}

#[tokio::test]
async fn a_power_cut_at_any_change_of_the_disk_charges_batches_once() {
    power_cut_everywhere(BATCHES, |_| Survival::Nothing).await;
}

#[tokio::test]
async fn a_power_cut_at_any_change_of_the_disk_charges_each_batch_once() {
    power_cut_everywhere(ONE_BY_ONE, |_| Survival::Nothing).await;
}

#[tokio::test]
async fn a_power_cut_that_spares_some_of_it_charges_once() {
    for round in 0..2 {
        power_cut_everywhere(DIRECT, |at| Survival::Seeded(at * 1_000 + round)).await;
    }
    power_cut_everywhere(ONE_BY_ONE, |at| Survival::Seeded(at * 1_000)).await;
}

#[tokio::test]
async fn a_kill_at_any_change_of_the_disk_charges_once() {
    for paying in [DIRECT, BATCHES, ONE_BY_ONE] {
        power_cut_everywhere(paying, |_| Survival::Everything).await;
    }
}

/// One change of the disk fails; run again in the same place it pays, and then the power goes: what
/// the failed run has left is durable before anything is paid on it.
#[tokio::test]
async fn a_failure_and_later_a_power_cut_charge_once() {
    let source = noise(69, 2_500);
    for at in 1.. {
        let cluster = five();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::once(at, Fault::Io));
        if upload(&cluster, &data, &source).await.is_ok() {
            if faults.count() < at {
                return;
            }
            continue;
        }
        faults.disarm();
        cluster.book().let_through(0);
        // One that failed at its very end has nothing left to store.
        let was_whole = tokio::select! {
            result = upload(&cluster, &data, &source) => result.is_ok(),
            () = cluster.wait_for_hanging(1) => false,
        };
        cluster.book().behave();
        let after = data.crash(Survival::Nothing);
        let uploaded = upload(&cluster, &after, &source).await.unwrap();
        let cost = cluster.price_of_all();
        let charged = cluster.charged().await.paid;
        assert_eq!(charged, cost, "failure at change {at}, then a power cut");
        // A new session of what is stored has cost nothing.
        let spent = uploaded.spend.storage_cost;
        assert!(spent == cost || was_whole && spent == Atto::ZERO, "{at}: {spent:?}");
    }
}

/// One change of the disk fails; run again in the same place, what was signed before goes out, and then
/// the power does: what is out is known afterwards.
#[tokio::test]
async fn signed_bytes_of_a_run_that_failed_are_durable_before_they_are_sent() {
    let source = noise(70, 2_500);
    let mut found_signed = 0;
    for at in 1.. {
        let cluster = five();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::once(at, Fault::Io));
        let done = upload(&cluster, &data, &source).await.is_ok();
        let clean = faults.count() < at;
        faults.disarm();
        if clean {
            assert!(found_signed > 2, "signed bytes were left {found_signed} times");
            return;
        }
        if done {
            continue;
        }
        found_signed += u32::from(!signed(&data).is_empty());
        let mut sent = false;
        let gone = || ChainError::Unreachable { endpoint: "rpc".into() };
        cluster.chain.set_faults(Some(Box::new(move |op| {
            sent |= op == ChainOp::SendRaw;
            sent.then(|| ChainFault::Lose(gone()))
        })));
        // Nothing is left to send when the failure came at the very end.
        drop(upload(&cluster, &data, &source).await);
        let known = signed(&data);
        assert_eq!(signed(&data.crash(Survival::Nothing)), known, "failure at change {at}");
    }
}

/// The files of signed transactions.
fn signed(data: &MemoryDisk) -> BTreeSet<PathBuf> {
    let Ok(sessions) = data.list(Path::new("sessions")) else { return BTreeSet::new() };
    let dirs = sessions.into_iter().map(|entry| Path::new("sessions").join(entry.name));
    let files = dirs.flat_map(|dir| {
        let names = data.list(&dir).unwrap_or_default().into_iter().map(|entry| entry.name);
        names.map(move |name| dir.join(name)).collect::<Vec<_>>()
    });
    let is_signed = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("tx-"))
    };
    files.filter(is_signed).collect()
}

/// One change of the disk fails, and the process lives on: run again in the same place.
async fn one_failure_everywhere(plan: impl Fn(u64) -> FaultPlan) {
    let source = noise(67, 2_500);
    for at in 1.. {
        let cluster = five();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_faults(Arc::clone(&faults));
        faults.arm(plan(at));
        let result = upload(&cluster, &data, &source).await;
        let clean = faults.count() < at;
        faults.disarm();
        let uploaded = match result {
            Ok(uploaded) => uploaded,
            Err(error) => {
                assert!(!clean, "{error:?}");
                match upload(&cluster, &data, &source).await {
                    Ok(uploaded) => uploaded,
                    Err(again) => panic!("failure at change {at}: {error:?}, then {again:?}"),
                }
            }
        };
        let charged = cluster.charged().await;
        assert_eq!(charged.paid, cluster.price_of_all(), "failure at change {at}");
        let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
        assert_eq!(cluster.read_back(map).await.unwrap(), source, "failure at change {at}");
        if clean {
            return;
        }
    }
}

#[tokio::test]
async fn a_single_failure_of_the_disk_is_survived_in_place() {
    one_failure_everywhere(|at| FaultPlan::once(at, Fault::Io)).await;
}

#[tokio::test]
async fn a_disk_that_is_full_from_any_change_on_is_survived_when_there_is_space_again() {
    one_failure_everywhere(|at| FaultPlan::onwards(at, Fault::Full)).await;
}
