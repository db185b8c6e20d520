//! What is cleaned up of the spill, and what never is.

use std::{path::Path, sync::Arc, time::Duration};

use spillway_client::{Client, UploadError};
use spillway_disk::{
    Clock, Disk, DiskOp, Fault, FaultPlan, Faults, MemoryDisk, Overwrite, RealDisk, Survival,
};
use spillway_tests::{Admit, Cluster, Picture, Tricks, noise};
use spillway_types::UnixTime;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_hours(24);

/// A spill with a lock and two chunks.
fn put_spill(disk: &dyn Disk, name: &str) {
    let dir = Path::new("spill").join(name);
    disk.create_dir_all(&dir).unwrap();
    for file in ["lock", "aa", "bb"] {
        disk.write_durable(&dir.join(file), file.as_bytes(), Overwrite::Never).unwrap();
    }
}

/// The name of a spill that was made so long ago.
fn name(cluster: &Cluster, age: Duration) -> String {
    format!("spill_{}_00000000deadbeef", cluster.clock.now().saturating_sub(age))
}

fn client(cluster: &Cluster, disk: &MemoryDisk) -> Client {
    cluster.client(disk)
}

#[tokio::test]
async fn what_is_a_day_old_goes_and_what_is_younger_stays() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    let second = Duration::from_secs(1);
    let old = name(&cluster, DAY);
    let young = name(&cluster, DAY.saturating_sub(second));
    let hidden = format!(".tmp-{}", name(&cluster, 2 * DAY));
    for name in [&old, &young, &hidden] {
        put_spill(&disk, name);
    }
    assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 2);
    let left = Picture::of(&disk, Path::new("spill")).paths();
    assert_eq!(
        left,
        ["", &young, &format!("{young}/aa"), &format!("{young}/bb"), &format!("{young}/lock")]
    );
}

#[tokio::test]
async fn what_has_another_name_or_is_no_directory_stays() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    let time = cluster.clock.now().saturating_sub(2 * DAY);
    let names = [
        "photos".to_owned(),
        format!("spill_{time}"),
        format!("spill_{time}_not-hex"),
        "spill_yesterday_00ff".to_owned(),
        format!("spill-{time}_00ff"),
        format!("old-spill_{time}_00ff"),
    ];
    for name in &names {
        put_spill(&disk, name);
    }
    let file = format!("spill_{time}_00000000000000aa");
    disk.write_durable(&Path::new("spill").join(file), b"a file", Overwrite::Never).unwrap();
    let before = Picture::of(&disk, Path::new(""));
    assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 0);
    assert_eq!(Picture::of(&disk, Path::new("")), before);
}

#[tokio::test]
async fn no_link_is_followed_on_a_real_disk() {
    let cluster = Cluster::new();
    let place = tempfile::tempdir().unwrap();
    let real = RealDisk::open(place.path()).unwrap();
    // Things that are worth something, beside the data directory and in a directory of its own.
    real.create_dir_all(Path::new("precious")).unwrap();
    for file in ["precious/lock", "precious/a", "precious/b"] {
        real.write_durable(Path::new(file), file.as_bytes(), Overwrite::Never).unwrap();
    }
    real.create_dir_all(Path::new("data/spill")).unwrap();
    let precious = place.path().join("precious");
    // A link that has the name of a spill, and a spill that holds a link.
    let linked = format!("data/spill/{}", name(&cluster, 3 * DAY));
    real.symlink(&precious, Path::new(&linked)).unwrap();
    let data = RealDisk::open(&place.path().join("data")).unwrap();
    let nested = format!("spill_{}_01", cluster.clock.now().saturating_sub(3 * DAY));
    put_spill(&data, &nested);
    data.symlink(&precious, &Path::new("spill").join(&nested).join("cc")).unwrap();
    data.symlink(&precious.join("a"), &Path::new("spill").join(&nested).join("dd")).unwrap();
    let treasure = Picture::of(&real, Path::new("precious"));

    let client = cluster.client_on(Arc::new(data), CancellationToken::new());
    assert_eq!(client.reap().await.unwrap().spills, 1);
    assert_eq!(Picture::of(&real, Path::new("precious")), treasure);
    let left = Picture::of(&real, Path::new("data/spill")).paths();
    assert_eq!(left, ["", &name(&cluster, 3 * DAY)], "the link itself is kept");

    // The spill root itself as a link.
    let place = tempfile::tempdir().unwrap();
    let real = RealDisk::open(place.path()).unwrap();
    real.create_dir_all(Path::new("elsewhere")).unwrap();
    put_spill(&RealDisk::open(&place.path().join("elsewhere")).unwrap(), &nested);
    real.create_dir_all(Path::new("data")).unwrap();
    real.symlink(&place.path().join("elsewhere/spill"), Path::new("data/spill")).unwrap();
    let before = Picture::of(&real, Path::new(""));
    let data = RealDisk::open(&place.path().join("data")).unwrap();
    let client = cluster.client_on(Arc::new(data), CancellationToken::new());
    let error = client.reap().await.unwrap_err();
    assert!(
        matches!(&error, UploadError::Disk(spillway_client::DiskError::BadPath { .. })),
        "{error:?}"
    );
    assert_eq!(Picture::of(&real, Path::new("")), before);
}

#[tokio::test]
async fn a_locked_spill_stays_however_old() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    let name = name(&cluster, 30 * DAY);
    put_spill(&disk, &name);
    let before = Picture::of(&disk, Path::new(""));
    let lock = disk.lock(&Path::new("spill").join(&name).join("lock")).unwrap();
    assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 0);
    assert_eq!(Picture::of(&disk, Path::new("")), before);
    drop(lock);
    assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 1);
    assert_eq!(disk.list(Path::new("spill")).unwrap(), []);
}

#[tokio::test]
async fn a_lock_that_cannot_be_opened_keeps_the_spill() {
    for fault in [Fault::Io, Fault::TooManyOpen, Fault::Denied] {
        for op in [DiskOp::Open, DiskOp::Lock] {
            let cluster = Cluster::new();
            let faults = Arc::new(Faults::default());
            let plain = MemoryDisk::new();
            put_spill(&plain, &name(&cluster, 2 * DAY));
            let before = Picture::of(&plain, Path::new(""));
            faults.arm(FaultPlan::onwards(1, fault).only(op));
            let disk = plain.clone().with_faults(Arc::clone(&faults));
            assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 0, "{fault:?} {op:?}");
            assert!(faults.count() > 0);
            assert_eq!(Picture::of(&plain, Path::new("")), before, "{fault:?} {op:?}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_was_never_set_cleans_nothing() {
    let cluster = Cluster::new();
    let disk = MemoryDisk::new();
    for made in ["0", "1", "1500000000"] {
        put_spill(&disk, &format!("spill_{made}_00ff"));
    }
    let before = Picture::of(&disk, Path::new(""));
    cluster.clock.set(UnixTime::YEAR_2020.saturating_sub(Duration::from_secs(1)));
    assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 0);
    assert_eq!(Picture::of(&disk, Path::new("")), before);
    cluster.clock.set(UnixTime::YEAR_2020);
    assert_eq!(client(&cluster, &disk).reap().await.unwrap().spills, 3);
}

/// A client that died after it had paid: its session is open and names its spill.
async fn interrupted(cluster: &Cluster, source: &[u8]) -> MemoryDisk {
    for member in &cluster.members {
        member.play(Tricks { admit: Some(Box::new(|_| Admit::Hang)), ..Tricks::default() });
    }
    let data = MemoryDisk::new();
    let client = cluster.client(&data);
    tokio::select! {
        result = client.upload(Cluster::file(source), &cluster.payer, Cluster::options()) => {
            panic!("{result:?}")
        }
        () = cluster.wait_for_hanging(1) => {}
    }
    cluster.book().behave();
    data.crash(Survival::Nothing)
}

#[tokio::test]
async fn the_spill_of_an_open_session_stays_whatever_the_clock_says() {
    let cluster = Cluster::new();
    let source = noise(110, 2_500);
    let data = interrupted(&cluster, &source).await;
    let before = Picture::of(&data, Path::new("spill"));
    assert_eq!(before.paths().len(), 1 + 1 + 1 + 3, "root, spill, lock and three chunks");
    let start = cluster.clock.now();
    let year = 365 * DAY;
    for now in [
        start,
        start.saturating_add(2 * DAY),
        start.saturating_add(year),
        start.saturating_sub(year),
    ] {
        cluster.clock.set(now);
        assert_eq!(cluster.client(&data).reap().await.unwrap().spills, 0);
        assert_eq!(Picture::of(&data, Path::new("spill")), before, "at {now}");
    }
    // It is still good for what was paid.
    cluster.clock.set(start);
    let client = cluster.client(&data);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!(cluster.charged().await.paid, uploaded.spend.storage_cost);
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn while_a_session_cannot_be_read_no_spill_is_cleaned() {
    let cluster = Cluster::new();
    let data = interrupted(&cluster, &noise(111, 1_500)).await;
    let id = cluster.client(&data).sessions().await.unwrap()[0].id.clone();
    let manifest = Path::new("sessions").join(&id).join("manifest");
    let mut bytes = data.read(&manifest, u64::MAX).unwrap();
    bytes[40] ^= 1;
    data.write_durable(&manifest, &bytes, Overwrite::Replace).unwrap();
    put_spill(&data, &name(&cluster, 5 * DAY));
    let before = Picture::of(&data, Path::new(""));
    let reaped = cluster.client(&data).reap().await.unwrap();
    let [unreadable] = &reaped.unreadable[..] else { panic!("{reaped:?}") };
    assert_eq!(unreadable.session, id);
    assert!(unreadable.why.ends_with("manifest: its checksum does not match"), "{unreadable:?}");
    assert_eq!(reaped.spills, 0);
    assert_eq!(Picture::of(&data, Path::new("")), before, "the evidence is as it was");
}

#[tokio::test]
async fn a_spill_that_is_gone_is_filled_again_from_the_source() {
    let cluster = Cluster::new();
    let source = noise(112, 2_500);
    let data = interrupted(&cluster, &source).await;
    let paid = cluster.charged().await;
    for spill in data.list(Path::new("spill")).unwrap() {
        let dir = Path::new("spill").join(spill.name);
        for file in data.list(&dir).unwrap() {
            data.remove_file(&dir.join(file.name)).unwrap();
        }
        data.remove_dir(&dir).unwrap();
    }
    let client = cluster.client(&data);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, cluster.charged().await), (3, paid));
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);
}
