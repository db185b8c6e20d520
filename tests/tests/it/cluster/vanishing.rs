//! Sessions that go while somebody looks through all of them: that is nothing to say, and stops nothing.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use spillway_client::{ReadData, Remote, VerifyOptions};
use spillway_disk::{Disk, MemoryDisk};
use spillway_tests::{Cluster, HookedDisk, SEGMENT, noise};
use tokio_util::sync::CancellationToken;

use super::steps::{direct, five, give_no_prices, lose, losing, the_only, upload};

/// The same disk, from which a session goes right before its manifest is read for the nth time, from 1;
/// and how often that was read.
fn vanishing(data: &MemoryDisk, id: &str, nth: usize) -> (Arc<dyn Disk>, Arc<AtomicUsize>) {
    let (dir, inner) = (Path::new("sessions").join(id), data.clone());
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let hook = move |path: &Path| {
        if path == dir.join("manifest") && counted.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            for entry in inner.list(&dir).unwrap() {
                inner.remove_file(&dir.join(entry.name)).unwrap();
            }
            inner.remove_dir(&dir).unwrap();
        }
    };
    (Arc::new(HookedDisk::whole(Arc::new(data.clone()), hook)), reads)
}

#[tokio::test]
async fn one_that_goes_while_proofs_are_looked_for_is_not_one_that_cannot_be_read() {
    let (cluster, stores) = losing(5);
    let data = MemoryDisk::new();
    let other = upload(&cluster, &data, &noise(510, 900), direct()).await.unwrap();
    let others = cluster.stored();
    let uploaded = upload(&cluster, &data, &noise(511, 900), direct()).await.unwrap();
    let ours = cluster.stored().into_keys().find(|address| !others.contains_key(address)).unwrap();
    lose(&stores[2], ours);
    let (disk, reads) = vanishing(&data, &other.upload_id, 1);
    let client = cluster.client_on(disk, CancellationToken::new());
    let options = VerifyOptions { read: ReadData::None, repair: true, ..VerifyOptions::default() };
    let remote = Remote::DataMap(uploaded.data_map.unwrap());
    let report = client.verify(remote, options).await.unwrap();
    assert_eq!((report.repaired, report.unreadable), (1, Vec::new()));
    assert_eq!(reads.load(Ordering::Relaxed), 1);
}

/// At the first look, and when it is looked at again under its lock.
#[tokio::test]
async fn one_that_goes_while_it_is_reaped_is_gone() {
    for nth in [1, 2] {
        let cluster = five();
        let data = MemoryDisk::new();
        give_no_prices(&cluster);
        upload(&cluster, &data, &noise(512, 900), direct()).await.unwrap_err();
        let id = the_only(&cluster, &data).await;
        cluster.clock.advance(Duration::from_hours(25));
        let (disk, reads) = vanishing(&data, &id, nth);
        let client = cluster.client_on(disk, CancellationToken::new());
        let reaped = client.reap().await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), nth);
        assert_eq!((reaped.sessions, reaped.unreadable), (0, Vec::new()));
        assert_eq!(data.list(Path::new("sessions")).unwrap(), [], "its lock file, too");
    }
}

/// Whenever an upload looks at another session that has stored some of its chunks.
#[tokio::test]
async fn one_that_goes_while_an_upload_looks_at_it_stops_nothing() {
    let source = noise(513, 5 * SEGMENT);
    let mut edit = source.clone();
    edit[4 * SEGMENT + 1] ^= 1;
    for nth in 1.. {
        let cluster = Cluster::new();
        let data = MemoryDisk::new();
        let other = upload(&cluster, &data, &source, direct()).await.unwrap();
        let (disk, reads) = vanishing(&data, &other.upload_id, nth);
        let client = cluster.client_on(disk, CancellationToken::new());
        let edited = Cluster::file(&edit);
        let uploaded = client.upload(edited, &cluster.payer, direct()).await.unwrap();
        assert!(uploaded.chunks_already_stored > 0, "{uploaded:?}");
        assert_eq!(cluster.charged().await.paid, cluster.price_of_all(), "nothing is paid twice");
        if reads.load(Ordering::Relaxed) < nth {
            assert!(nth > 3, "it is looked at {} times", nth - 1);
            break;
        }
    }
}
