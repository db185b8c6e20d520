//! Sources that change while they are read, and spilled chunks that rot.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use spillway_client::{
    Approve, ChunkFailure, Offer, Overwrite, Remote, Source, SourceError, UploadError,
    UploadOptions, Uploaded,
};
use spillway_disk::{Disk, MemoryDisk};
use spillway_tests::{Admit, Charged, Cluster, ClusterOptions, HookedDisk, Picture, Tricks, noise};

const NAME: &str = "source";

/// Uploads a file of four and a half segments that is changed before the read of this number. The
/// first five reads hash it, the next five seal it.
async fn upload_changed(
    cluster: &Cluster,
    data: &MemoryDisk,
    at: u64,
    change: impl Fn(&MemoryDisk) + Send + Sync + 'static,
) -> Result<Uploaded, UploadError> {
    let disk = MemoryDisk::new();
    disk.write_durable(Path::new(NAME), &noise(80, 4_500), Overwrite::Never).unwrap();
    let victim = disk.clone();
    let hooked = HookedDisk::new(Arc::new(disk), move |number| {
        if number == at {
            change(&victim);
        }
    });
    let source = Source::Path { disk: Arc::new(hooked), path: NAME.into() };
    cluster.client(data).upload(source, &cluster.payer, Cluster::options()).await
}

/// The upload says that the source has changed; nothing was paid, asked or left.
async fn assert_changed(change: impl Fn(&MemoryDisk) + Send + Sync + Copy + 'static) {
    for at in [2, 6, 8, 10] {
        let cluster = Cluster::new();
        let data = MemoryDisk::new();
        match upload_changed(&cluster, &data, at, change).await {
            Err(UploadError::Source(SourceError::Changed { path })) => {
                assert_eq!(path, Path::new("memory:/source"), "read {at}");
            }
            other => panic!("read {at}: {other:?}"),
        }
        assert_eq!(cluster.charged().await, Charged::nothing());
        assert_eq!(cluster.take_log(), [], "nobody was asked");
        // Neither a chunk nor a session is left; locks may be.
        let left = Picture::of(&data, Path::new("")).paths();
        let is_harmless = |path: &String| {
            let is_lock = Path::new(path).extension().is_some_and(|end| end == "lock");
            path.is_empty() || path == "spill" || path == "sessions" || is_lock
        };
        assert!(left.iter().all(is_harmless), "read {at}: {left:?}");
    }
}

#[tokio::test]
async fn a_source_that_is_replaced_is_not_uploaded() {
    assert_changed(|disk| {
        disk.write_durable(Path::new(NAME), &noise(81, 4_500), Overwrite::Replace).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_source_that_is_cut_is_not_uploaded() {
    assert_changed(|disk| disk.truncate(Path::new(NAME), 700).unwrap()).await;
}

#[tokio::test]
async fn a_source_that_grows_is_not_uploaded() {
    assert_changed(|disk| {
        disk.append_durable(Path::new(NAME), b"more").unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_edit_that_nothing_but_its_bytes_shows_is_not_uploaded() {
    let edit = |disk: &MemoryDisk| {
        let path = Path::new(NAME);
        let stat = disk.stat(path).unwrap();
        let mut bytes = disk.read(path, 9_999).unwrap();
        bytes[4_400] ^= 1;
        disk.truncate(path, 0).unwrap();
        disk.append_durable(path, &bytes).unwrap();
        disk.set_attributes(path, stat.mode, stat.modified).unwrap();
        assert_eq!(disk.stat(path).unwrap(), stat, "nobody can tell");
    };
    // After the last segment was hashed and before it is sealed.
    for at in [6, 10] {
        let cluster = Cluster::new();
        let data = MemoryDisk::new();
        let result = upload_changed(&cluster, &data, at, edit).await;
        assert!(
            matches!(result, Err(UploadError::Source(SourceError::Changed { .. }))),
            "read {at}: {result:?}"
        );
        assert_eq!(cluster.charged().await, Charged::nothing());
    }
}

#[tokio::test]
async fn a_source_that_is_gone_is_named() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let source = Source::Path { disk: Arc::new(MemoryDisk::new()), path: "gone".into() };
    let result = cluster.client(&data).upload(source, &cluster.payer, Cluster::options()).await;
    match result {
        Err(UploadError::Source(SourceError::Disk(spillway_client::DiskError::NotFound {
            path,
        }))) => assert_eq!(path, Path::new("memory:/gone")),
        other => panic!("{other:?}"),
    }
    assert_eq!(Picture::of(&data, Path::new("")).paths(), [""], "nothing was begun");
}

#[tokio::test]
async fn a_link_is_not_a_source() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    disk.write_durable(Path::new("file"), b"secret", Overwrite::Never).unwrap();
    disk.symlink(Path::new("file"), Path::new("link")).unwrap();
    let source = Source::Path { disk: Arc::new(disk), path: "link".into() };
    let client = cluster.client(&MemoryDisk::new());
    match client.upload(source, &cluster.payer, Cluster::options()).await {
        Err(UploadError::Source(SourceError::Special { path })) => {
            assert_eq!(path, Path::new("memory:/link"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.take_log(), []);
}

/// Does something to every spilled chunk when it is asked whether the price is right.
struct WhenAsked<F>(MemoryDisk, F);

#[async_trait]
impl<F: Fn(&MemoryDisk, &Path) + Send + Sync> Approve for WhenAsked<F> {
    async fn approve(&self, _offer: &Offer) -> bool {
        for path in spilled(&self.0) {
            (self.1)(&self.0, &path);
        }
        true
    }
}

fn spilled(data: &MemoryDisk) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for spill in data.list(Path::new("spill")).unwrap() {
        let dir = Path::new("spill").join(spill.name);
        let names = data.list(&dir).unwrap().into_iter().map(|entry| entry.name);
        found.extend(names.filter(|name| name != Path::new("lock")).map(|name| dir.join(name)));
    }
    found
}

fn rot(disk: &MemoryDisk, path: &Path) {
    let mut bytes = disk.read(path, u64::MAX).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    disk.truncate(path, 0).unwrap();
    disk.append_durable(path, &bytes).unwrap();
}

fn when_asked(
    data: &MemoryDisk,
    act: impl Fn(&MemoryDisk, &Path) + Send + Sync + 'static,
) -> UploadOptions {
    let approve: Arc<dyn Approve> = Arc::new(WhenAsked(data.clone(), act));
    UploadOptions { approve: Some(approve), ..Cluster::options() }
}

#[tokio::test]
async fn what_rots_in_the_spill_is_sealed_again_and_not_paid_again() {
    let source = noise(82, 3_500);
    for public in [false, true] {
        for act in [rot, |disk: &MemoryDisk, path: &Path| disk.remove_file(path).unwrap()] {
            let cluster = Cluster::new();
            let data = MemoryDisk::new();
            let options = UploadOptions { public, ..when_asked(&data, act) };
            let client = cluster.client(&data);
            let uploaded =
                client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
            assert_eq!(uploaded.chunks_stored, 4 + u64::from(public));
            assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
            assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
            assert_eq!(cluster.transactions().await, 2);
            let map = Remote::DataMap(uploaded.data_map.unwrap());
            assert_eq!(cluster.read_back(map).await.unwrap(), source);
            assert_eq!(data.list(Path::new("spill")).unwrap(), []);
        }
    }
}

#[tokio::test]
async fn rot_between_two_runs_is_sealed_again_and_not_paid_again() {
    let cluster = Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() });
    for member in &cluster.members {
        member.play(Tricks { admit: Some(Box::new(|_| Admit::Hang)), ..Tricks::default() });
    }
    let data = MemoryDisk::new();
    let source = noise(83, 3_500);
    let upload = async || {
        let client = cluster.client(&data);
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await
    };
    tokio::select! {
        result = upload() => panic!("{result:?}"),
        () = cluster.wait_for_hanging(1) => {}
    }
    let paid = cluster.charged().await;
    for path in spilled(&data) {
        rot(&data, &path);
    }
    cluster.book().behave();
    let uploaded = upload().await.unwrap();
    assert_eq!((cluster.charged().await, uploaded.chunks_stored), (paid, 4));
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn what_rots_and_has_no_source_any_more_is_said_and_nothing_wrong_is_stored() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let bytes = noise(84, 2_500);
    let disk = MemoryDisk::new();
    disk.write_durable(Path::new(NAME), &bytes, Overwrite::Never).unwrap();
    let source = Source::Path { disk: Arc::new(disk.clone()), path: NAME.into() };
    let edited = Arc::new(Mutex::new(false));
    let options = when_asked(&data, move |data, path| {
        rot(data, path);
        let mut edited = edited.lock().unwrap();
        if !*edited {
            disk.truncate(Path::new(NAME), 0).unwrap();
            disk.append_durable(Path::new(NAME), &noise(85, 2_500)).unwrap();
            *edited = true;
        }
    });
    let client = cluster.client(&data);
    let error = client.upload(source, &cluster.payer, options).await.unwrap_err();
    assert_eq!(cluster.stored(), [].into(), "{error:?}");
    let UploadError::PartialUpload { stored, failed, total, spend, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((stored, total), (vec![], 3));
    assert!(failed.iter().all(|(_, why)| *why == ChunkFailure::LostBytes), "{failed:?}");
    assert_eq!(cluster.charged().await.paid, spend.storage_cost);

    // The file as it was: the same upload goes on with what it has paid for.
    let uploaded =
        client.upload(Cluster::file(&bytes), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, &uploaded.spend), (3, &spend));
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), bytes);
}
