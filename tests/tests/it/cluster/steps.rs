//! What tests of sessions do again and again: upload, be cut off, go on, and hand over.

use std::{fmt, path::Path, sync::Arc};

use futures::FutureExt;
use spillway_client::{
    ExportOptions, Exported, ImportOptions, Imported, ModeChoice, Remote, SessionError,
    UploadError, UploadOptions, Uploaded, export_session, import_session,
};
use spillway_disk::{Clock, Disk, MemoryDisk, Overwrite, Survival};
use spillway_store::{ChunkStore, MemoryStore};
use spillway_tests::{Cluster, ClusterOptions, Tricks};
use spillway_types::{ChunkAddress, QuoteRequest, QuoteResponse, limits::CLOSE_GROUP};

/// Five nodes that take batches.
pub(super) fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

/// So many nodes whose chunks can be lost.
pub(super) fn losing(nodes: usize) -> (Cluster, Vec<Arc<MemoryStore>>) {
    let stores: Vec<_> = (0..nodes).map(|_| Arc::new(MemoryStore::new(1 << 50))).collect();
    let all = stores.iter().map(|store| {
        let store: Arc<dyn ChunkStore> = store.clone();
        store
    });
    (Cluster::with_stores(all), stores)
}

/// A node has the chunk no more.
pub(super) fn lose(store: &MemoryStore, address: ChunkAddress) {
    assert!(store.rot(address));
    assert_eq!(store.get(address).now_or_never().unwrap().unwrap(), None);
    assert!(!store.has(address));
}

pub(super) fn direct() -> UploadOptions {
    UploadOptions { mode: ModeChoice::Direct, ..Cluster::options() }
}

pub(super) async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

/// Goes on from the spill alone.
pub(super) async fn resume(
    cluster: &Cluster,
    data: &MemoryDisk,
    session: &str,
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).resume(session, &cluster.payer, None, options).await
}

/// From now on nobody gives a price: what is uploaded is sealed and not planned.
pub(super) fn give_no_prices(cluster: &Cluster) {
    for member in &cluster.members {
        let none = |_: &QuoteRequest, _| QuoteResponse { answers: Ok(Vec::new()) };
        member.play(Tricks { quote: Some(Box::new(none)), ..Tricks::default() });
    }
}

/// Lets so many chunks of what is done next be stored, and stops it then.
pub(super) async fn interrupt<T: fmt::Debug>(
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

/// An upload that was paid and of which the first so many chunks were stored when the power went: its
/// disk, and its session.
pub(super) async fn interrupted(
    cluster: &Cluster,
    source: &[u8],
    chunks: usize,
    options: UploadOptions,
) -> (MemoryDisk, String) {
    let data = MemoryDisk::new();
    interrupt(cluster, chunks, upload(cluster, &data, source, options)).await;
    let data = data.crash(Survival::Nothing);
    let id = the_only(cluster, &data).await;
    (data, id)
}

/// The only session there.
pub(super) async fn the_only(cluster: &Cluster, data: &MemoryDisk) -> String {
    let sessions = cluster.client(data).sessions().await.unwrap();
    let [session] = &sessions[..] else { panic!("{sessions:?}") };
    session.id.clone()
}

pub(super) async fn assert_reads(cluster: &Cluster, uploaded: &Uploaded, source: &[u8]) {
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

pub(super) fn arc(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// What an archive is called on the disk on which it travels.
pub(super) fn archive() -> &'static Path {
    Path::new("session.spillway")
}

pub(super) async fn export(
    cluster: &Cluster,
    data: &MemoryDisk,
    session: &str,
    to: &MemoryDisk,
) -> Result<Exported, SessionError> {
    let options = ExportOptions { now: cluster.clock.now(), overwrite: Overwrite::Replace };
    export_session(&arc(data), session, &arc(to), archive(), options).await
}

/// The same onto a disk of its own.
pub(super) async fn exported(cluster: &Cluster, data: &MemoryDisk, session: &str) -> MemoryDisk {
    let to = MemoryDisk::new();
    export(cluster, data, session, &to).await.unwrap();
    to
}

pub(super) async fn import(
    cluster: &Cluster,
    data: &MemoryDisk,
    from: &MemoryDisk,
) -> Result<Imported, SessionError> {
    let options = ImportOptions { now: cluster.clock.now() };
    import_session(&arc(data), &arc(from), archive(), options).await
}
