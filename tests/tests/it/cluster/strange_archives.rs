//! Archives whose author is not to be believed: what they say was paid and stored was not, what is in
//! them was never signed here, and older ones do not take the place of newer ones.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use spillway_client::{
    Approve, ExportOptions, ImportOptions, Imported, ModeChoice, Offer, Remote, SessionError,
    SessionStage, Source, StreamSource, UploadError, UploadOptions, Uploaded, export_session,
    import_session,
};
use spillway_disk::{Clock, Disk, MemoryDisk, Overwrite, Survival};
use spillway_pay::{ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, ClusterOptions, SEGMENT, noise};
use spillway_types::{Atto, limits::CLOSE_GROUP};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

fn direct() -> UploadOptions {
    UploadOptions { mode: ModeChoice::Direct, ..Cluster::options() }
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, direct()).await
}

async fn resume(
    cluster: &Cluster,
    data: &MemoryDisk,
    session: &str,
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).resume(session, &cluster.payer, None, options).await
}

/// Lets so many chunks of what is done next be stored, and stops it then.
async fn interrupt<T: std::fmt::Debug>(
    cluster: &Cluster,
    chunks: usize,
    work: impl Future<Output = T>,
) {
    cluster.book().let_through(chunks);
    cluster.book().forget_hanging();
    tokio::select! {
        result = work => panic!("{result:?}"),
        () = cluster.wait_for_hanging(CLOSE_GROUP) => {}
    }
    cluster.book().behave();
}

async fn only_session(cluster: &Cluster, data: &MemoryDisk) -> String {
    cluster.client(data).sessions().await.unwrap()[0].id.clone()
}

fn arc(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn archive() -> &'static Path {
    Path::new("session.spillway")
}

async fn export(cluster: &Cluster, data: &MemoryDisk, session: &str) -> MemoryDisk {
    let to = MemoryDisk::new();
    let options = ExportOptions { now: cluster.clock.now(), overwrite: Overwrite::Never };
    export_session(&arc(data), session, &arc(&to), archive(), options).await.unwrap();
    to
}

async fn import(
    cluster: &Cluster,
    data: &MemoryDisk,
    from: &MemoryDisk,
) -> Result<Imported, SessionError> {
    let options = ImportOptions { now: cluster.clock.now() };
    import_session(&arc(data), &arc(from), archive(), options).await
}

async fn assert_reads(cluster: &Cluster, uploaded: &Uploaded, source: &[u8]) {
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

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
    let data = MemoryDisk::new();
    interrupt(&other, stored, upload(&other, &data, source)).await;
    let data = data.crash(Survival::Nothing);
    let id = only_session(&other, &data).await;
    export(&other, &data, &id).await
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
    // Their bytes are not in the archive: they were stored, it says.
    assert!(matches!(error, UploadError::PartialUpload { .. }), "{error:?}");
}

/// A session with a plan of which nothing is signed: its process died in between.
async fn planned(cluster: &Cluster, source: &[u8]) -> (MemoryDisk, String) {
    let data = MemoryDisk::new();
    cluster
        .chain
        .set_faults(Some(Box::new(|op| (op == ChainOp::SendRaw).then_some(ChainFault::Forget))));
    upload(cluster, &data, source).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = only_session(cluster, &data).await;
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
    import(&cluster, &there, &export(&cluster, &here, &id).await).await.unwrap();

    // Nobody to ask, and no cap.
    for error in [
        resume(&cluster, &there, &id, direct()).await.unwrap_err(),
        upload(&cluster, &there, &source).await.unwrap_err(),
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
    upload(&cluster, &here, &source).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = only_session(&cluster, &here).await;
    let there = MemoryDisk::new();
    import(&cluster, &there, &export(&cluster, &here, &id).await).await.unwrap();
    let uploaded = resume(&cluster, &there, &id, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(3 * CHUNK_COST));
}

#[tokio::test]
async fn a_plan_that_came_with_an_archive_gives_way_to_what_was_paid_here() {
    let cluster = five();
    let source = noise(344, 6 * SEGMENT);
    let (elsewhere, id) = planned(&cluster, &source).await;
    let way = export(&cluster, &elsewhere, &id).await;
    // Here an edit was paid, and is being stored.
    let (here, edit) = (MemoryDisk::new(), edited(&source));
    interrupt(&cluster, 1, upload(&cluster, &here, &edit)).await;
    let here = here.crash(Survival::Nothing);
    assert_eq!(cluster.charged().await.paid, Atto(6 * CHUNK_COST));
    import(&cluster, &here, &way).await.unwrap();
    let options = UploadOptions { max_cost: Some(Atto(u128::MAX)), ..direct() };
    let uploaded = resume(&cluster, &here, &id, options).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    let uploaded = upload(&cluster, &here, &edit).await.unwrap();
    assert_reads(&cluster, &uploaded, &edit).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST), "three are others");
}

#[tokio::test]
async fn an_older_archive_does_not_replace_what_has_stored_more_since() {
    let cluster = five();
    let source = noise(345, 4 * SEGMENT);
    let data = MemoryDisk::new();
    interrupt(&cluster, 1, upload(&cluster, &data, &source)).await;
    let here = data.crash(Survival::Nothing);
    let id = only_session(&cluster, &here).await;
    let older = export(&cluster, &here, &id).await;
    // It comes back, stores more of the same payment, and goes away again.
    let back = import(&cluster, &here, &older).await.unwrap();
    interrupt(&cluster, 2, resume(&cluster, &here, &back.session, direct())).await;
    let here = here.crash(Survival::Everything);
    let newer = export(&cluster, &here, &back.session).await;
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
