//! What the reaper removes, in whatever order things have crashed, and what it never does.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use spillway_client::{ForgetOptions, Reaped, UploadError, UploadOptions, Uploaded, forget};
use spillway_disk::{
    Clock, Disk, EntryKind, Fault, FaultPlan, Faults, MemoryDisk, Overwrite, RealDisk, Survival,
};
use spillway_tests::{Charged, Cluster, ClusterOptions, Picture, SEGMENT, noise};
use spillway_types::{Atto, UnixTime, limits::QUOTE_LIFETIME};
use tokio_util::sync::CancellationToken;

use super::steps::{self, interrupt};

const DAY: Duration = Duration::from_hours(24);

fn five() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() })
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
) -> Result<Uploaded, UploadError> {
    steps::upload(cluster, data, source, Cluster::options()).await
}

/// An upload that was paid and of which the first so many chunks were stored.
async fn interrupted(cluster: &Cluster, source: &[u8], chunks: usize) -> MemoryDisk {
    let data = MemoryDisk::new().with_clock(Arc::new(cluster.clock.clone()));
    interrupt(cluster, chunks, upload(cluster, &data, source)).await;
    data.crash(Survival::Nothing)
}

fn names(data: &dyn Disk, dir: &str, kind: EntryKind) -> Vec<String> {
    let entries = data.list(Path::new(dir)).unwrap_or_default().into_iter();
    let entries = entries.filter(|entry| entry.kind == kind);
    entries.map(|entry| entry.name.to_str().unwrap().to_owned()).collect()
}

/// A day later nothing is left that no session needs, and of sessions that were paid for everything.
/// What it says when it goes wrong begins with `when`.
async fn assert_reaps(cluster: &Cluster, data: &MemoryDisk, when: &str) {
    let start = cluster.clock.now();
    let client = cluster.client(data);
    let before = client.sessions().await.unwrap();
    let picture = Picture::of(data, Path::new(""));
    cluster.clock.advance(DAY + Duration::from_secs(90));
    let reaped = client.reap().await.unwrap();
    assert_eq!(reaped.unreadable, [], "{when}");
    let after = client.sessions().await.unwrap();
    let left = Picture::of(data, Path::new(""));
    for session in &before {
        let is_there = after.iter().any(|left| left.id == session.id);
        assert!(
            is_there || session.chunks_paid == 0 && session.spend.storage_cost == Atto::ZERO,
            "{when}"
        );
        let files = |picture: &Picture| {
            let dir = Path::new("sessions").join(&session.id);
            let files = picture.0.iter().filter(|(path, _)| path.starts_with(&dir));
            let whole = files.filter(|(path, _)| !path.to_str().unwrap().contains(".tmp-"));
            whole.map(|(path, _)| path.clone()).collect::<BTreeSet<_>>()
        };
        assert!(!is_there || files(&left) == files(&picture), "{when}");
    }
    let paths = left.paths();
    let inside = |path: &&String| path.matches('/').count() > 1 && path.starts_with("spill");
    let hidden = paths.iter().filter(|path| path.contains(".tmp-")).filter(|path| !inside(path));
    assert_eq!(hidden.collect::<Vec<_>>(), [] as [&String; 0], "{when}");
    let open = after.iter().filter(|session| !session.finished).count();
    assert_eq!(names(data, "spill", EntryKind::Dir).len(), open, "{when}: {paths:?}");
    let heads: BTreeSet<&str> = after.iter().map(|session| &session.id[..16]).collect();
    for lock in names(data, "sessions", EntryKind::File) {
        assert!(lock == "planning.lock" || heads.contains(&lock[..16]), "{when}: {lock}");
    }
    // Nothing is left for a second time.
    let again = client.reap().await.unwrap();
    assert_eq!(
        (again.sessions, again.spills, again.leftovers, again.locks),
        (0, 0, 0, 0),
        "{when}"
    );
    cluster.clock.set(start);
}

/// Uploads with the disk dying at its Nth change, for every N; reaps a day later; then goes on.
async fn upload_cut_everywhere(survival: impl Fn(u64) -> Survival) {
    let source = noise(320, 2 * SEGMENT + 300);
    for at in 1.. {
        let cluster = five();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_clock(Arc::new(cluster.clock.clone()));
        let dying = data.clone().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let client = cluster.client_on(Arc::new(dying), CancellationToken::new());
        let result =
            client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await;
        let clean = faults.count() < at;
        let data = data.crash(survival(at));
        let when = format!("cut at change {at} ({:?})", result.map(|done| done.upload_id));
        assert_reaps(&cluster, &data, &when).await;
        // Whatever was paid is good for the upload.
        let uploaded = match upload(&cluster, &data, &source).await {
            Ok(uploaded) => uploaded,
            Err(error) => panic!("{when}, then {error:?}"),
        };
        let charged = cluster.charged().await;
        assert_eq!(charged.paid, cluster.price_of_all(), "{when}");
        if clean {
            assert!(at > 60, "{at}");
            return;
        }
        drop(uploaded);
    }
}

#[tokio::test]
async fn after_a_crash_at_any_change_of_an_upload_no_orphan_stays_and_nothing_live_goes() {
    upload_cut_everywhere(|_| Survival::Nothing).await;
    upload_cut_everywhere(Survival::Seeded).await;
}

#[tokio::test]
async fn after_a_crash_at_any_change_of_forgetting_the_session_is_whole_or_gone() {
    let cluster = five();
    let source = noise(321, 3 * SEGMENT);
    let whole = interrupted(&cluster, &source, 1).await;
    let paid = cluster.charged().await;
    let id = cluster.client(&whole).sessions().await.unwrap()[0].id.clone();
    for survival in [Survival::Nothing, Survival::Everything, Survival::Seeded(4)] {
        for at in 1.. {
            let data = whole.crash(Survival::Everything);
            let faults = Arc::new(Faults::default());
            let dying: Arc<dyn Disk> = Arc::new(data.clone().with_faults(Arc::clone(&faults)));
            faults.arm(FaultPlan::onwards(at, Fault::Io));
            let options = ForgetOptions { now: cluster.clock.now(), even_paid: true };
            let forgotten = forget(&dying, &id, options).await;
            let clean = faults.count() < at;
            let data = data.crash(survival);
            let when = format!("cut at change {at} of forgetting ({forgotten:?})");
            let left = cluster.client(&data).sessions().await.unwrap();
            assert!(left.iter().all(|session| session.damage.is_none()), "{when}");
            if forgotten.is_ok() {
                assert_eq!(left.len(), 0, "{when}");
            }
            assert_reaps(&cluster, &data, &when).await;
            if let [session] = &left[..] {
                assert_eq!(session.chunks_paid, 3, "{when}");
                let client = cluster.client(&data);
                client.resume(&id, &cluster.payer, None, Cluster::options()).await.unwrap();
                assert_eq!(cluster.charged().await, paid, "{when}");
            }
            if clean {
                assert!(at > 8, "{at}");
                break;
            }
        }
    }
}

/// Everything that a reaper may find: a stale session, leftovers, orphans, locks; and what it must not
/// touch.
async fn littered(cluster: &Cluster) -> MemoryDisk {
    let data = interrupted(cluster, &noise(322, 3 * SEGMENT), 1).await;
    // Stale: made, and never planned.
    let none = UploadOptions { approve: None, max_cost: None, ..Cluster::options() };
    cluster.set_faults(|_, kind| match kind {
        spillway_net::RequestKind::Quote => spillway_net::Fault::Unreachable,
        _ => spillway_net::Fault::Deliver,
    });
    steps::upload(cluster, &data, &noise(323, SEGMENT), none).await.unwrap_err();
    cluster.heal();
    let time = cluster.clock.now();
    let head = "0123456789abcdef";
    let hidden = format!("sessions/.tmp-{head}-{time}");
    data.create_dir_all(Path::new(&hidden)).unwrap();
    for name in [
        format!("{hidden}/map"),
        format!("sessions/{head}{}.lock", "0".repeat(48)),
        "sessions/.tmp-00000000000000aa".to_owned(),
        "spill/.tmp-00000000000000ab".to_owned(),
        // Not ours.
        "sessions/notes".to_owned(),
        "sessions/.tmp-notes".to_owned(),
        "sessions/short.lock".to_owned(),
        "spill/notes".to_owned(),
    ] {
        data.write_durable(Path::new(&name), b"", Overwrite::Never).unwrap();
    }
    for spill in [".tmp-spill", "spill"] {
        let dir = format!("spill/{spill}_{time}_00ff");
        data.create_dir_all(Path::new(&dir)).unwrap();
        data.write_durable(&Path::new(&dir).join("aa"), b"", Overwrite::Never).unwrap();
    }
    assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 2);
    for session in names(&data, "sessions", EntryKind::Dir) {
        if !session.starts_with('.') {
            let half = format!("sessions/{session}/.tmp-00000000000000ac");
            data.write_durable(Path::new(&half), b"", Overwrite::Never).unwrap();
        }
    }
    data
}

#[tokio::test]
async fn a_reaper_that_dies_anywhere_is_continued_by_the_next() {
    let cluster = five();
    let litter = littered(&cluster).await;
    let whole = litter.crash(Survival::Everything);
    let later = cluster.clock.now().saturating_add(DAY + Duration::from_secs(90));
    // Nothing is a day old yet, but for lock files without a session.
    let reaped = cluster.client(&whole).reap().await.unwrap();
    assert_eq!((reaped.sessions, reaped.spills, reaped.leftovers), (0, 0, 0));
    let done = litter.crash(Survival::Everything);
    cluster.clock.set(later);
    let reaped = cluster.client(&done).reap().await.unwrap();
    assert_eq!(
        (reaped.sessions, reaped.spills, reaped.leftovers, reaped.locks),
        (1, 3, 4, 2),
        "{reaped:?}"
    );
    let expected = Picture::of(&done, Path::new("")).paths();
    for kept in ["sessions/notes", "sessions/.tmp-notes", "sessions/short.lock", "spill/notes"] {
        assert!(expected.iter().any(|path| path == kept), "{kept}");
    }
    for survival in [Survival::Nothing, Survival::Everything, Survival::Seeded(7)] {
        for at in 1.. {
            let data = litter.crash(Survival::Everything);
            let faults = Arc::new(Faults::default());
            let dying: Arc<dyn Disk> = Arc::new(data.clone().with_faults(Arc::clone(&faults)));
            faults.arm(FaultPlan::onwards(at, Fault::Io));
            let result = cluster.client_on(dying, CancellationToken::new()).reap().await;
            let clean = faults.count() < at;
            let data = data.crash(survival);
            cluster.client(&data).reap().await.unwrap();
            let left = Picture::of(&data, Path::new("")).paths();
            assert_eq!(left, expected, "cut at change {at} ({result:?})");
            if clean {
                assert!(at > 15, "{at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_is_paid_and_not_stored_stays_before_its_proof_is_over_and_after() {
    let cluster = five();
    let source = noise(324, 4 * SEGMENT);
    let data = interrupted(&cluster, &source, 1).await;
    let start = cluster.clock.now();
    let before = Picture::of(&data, Path::new(""));
    let upload_by = cluster.client(&data).sessions().await.unwrap()[0].upload_by.unwrap();
    let over = upload_by.saturating_add(QUOTE_LIFETIME).saturating_add(Duration::from_secs(1));
    let year = 365 * DAY;
    for now in [
        start,
        upload_by,
        over,
        over.saturating_add(year),
        start.saturating_sub(year),
        UnixTime::YEAR_2020.saturating_sub(Duration::from_secs(1)),
        UnixTime(u64::MAX),
    ] {
        cluster.clock.set(now);
        let reaped = cluster.client(&data).reap().await.unwrap();
        assert_eq!(reaped, Reaped::default(), "at {now}");
        assert_eq!(Picture::of(&data, Path::new("")), before, "at {now}");
    }
    // When it is over it can be forgotten, and everything goes.
    cluster.clock.set(over);
    let id = cluster.client(&data).sessions().await.unwrap()[0].id.clone();
    let options = ForgetOptions { now: over, even_paid: false };
    forget(&(Arc::new(data.clone()) as Arc<dyn Disk>), &id, options).await.unwrap();
    assert_eq!(Picture::of(&data, Path::new("")).paths(), ["", "sessions", "spill"]);
}

#[tokio::test]
async fn what_is_locked_stays_however_old() {
    let cluster = five();
    let data = littered(&cluster).await;
    cluster.clock.advance(DAY + Duration::from_secs(90));
    let locks: Vec<_> = names(&data, "sessions", EntryKind::File)
        .into_iter()
        .filter(|name| name.len() == 64 + ".lock".len())
        .map(|name| data.lock(&Path::new("sessions").join(name)).unwrap())
        .collect();
    assert_eq!(locks.len(), 3);
    let before = Picture::of(&data, Path::new("sessions")).paths();
    let reaped = cluster.client(&data).reap().await.unwrap();
    assert_eq!((reaped.sessions, reaped.locks, reaped.leftovers), (0, 0, 2), "{reaped:?}");
    let mut left = before;
    left.retain(|path| path != ".tmp-00000000000000aa");
    assert_eq!(Picture::of(&data, Path::new("sessions")).paths(), left);
    drop(locks);
    assert_eq!(cluster.client(&data).reap().await.unwrap().sessions, 1);
}

/// The lock files of these keys, by how their names begin, locked.
fn locked(data: &MemoryDisk, of: impl Fn(&str) -> bool) -> Vec<Box<dyn spillway_disk::FileLock>> {
    let files = names(data, "sessions", EntryKind::File).into_iter();
    files
        .filter(|name| name.len() == 64 + ".lock".len() && of(name))
        .map(|name| data.lock(&Path::new("sessions").join(name)).unwrap())
        .collect()
}

#[tokio::test]
async fn what_was_being_made_stays_for_the_lock_of_its_own_key_alone() {
    let cluster = five();
    let data = littered(&cluster).await;
    cluster.clock.advance(DAY + Duration::from_secs(90));
    let is_own = |name: &str| name.starts_with("0123456789abcdef");
    let is_there = || {
        let sessions = names(&data, "sessions", EntryKind::Dir);
        sessions.iter().any(|name| name.starts_with(".tmp-0123456789abcdef"))
    };
    let own = locked(&data, is_own);
    assert_eq!(own.len(), 1);
    cluster.client(&data).reap().await.unwrap();
    assert!(is_there());
    drop(own);
    let others = locked(&data, |name| !is_own(name));
    assert!(!others.is_empty());
    cluster.client(&data).reap().await.unwrap();
    assert!(!is_there());
}

#[tokio::test]
async fn what_is_a_day_old_to_the_second_is_not_a_leftover() {
    let cluster = five();
    let data = littered(&cluster).await;
    cluster.clock.advance(DAY);
    assert_eq!(cluster.client(&data).reap().await.unwrap().leftovers, 0);
    cluster.clock.advance(Duration::from_secs(1));
    let reaped = cluster.client(&data).reap().await.unwrap();
    assert!(reaped.leftovers >= 4, "{reaped:?}");
}

#[tokio::test]
async fn no_link_among_sessions_is_followed() {
    let cluster = five();
    let place = tempfile::tempdir().unwrap();
    let real = RealDisk::open(place.path()).unwrap();
    real.create_dir_all(Path::new("precious")).unwrap();
    for file in ["precious/manifest", "precious/.tmp-00000000000000aa"] {
        real.write_durable(Path::new(file), file.as_bytes(), Overwrite::Never).unwrap();
    }
    real.create_dir_all(Path::new("data/sessions")).unwrap();
    real.create_dir_all(Path::new("data/spill")).unwrap();
    let precious = place.path().join("precious");
    let time = cluster.clock.now();
    for link in [
        format!("data/sessions/.tmp-0123456789abcdef-{time}"),
        format!("data/sessions/0123456789abcdef-{time}"),
        format!("data/sessions/{}.lock", "0".repeat(64)),
        "data/sessions/.tmp-00000000000000aa".to_owned(),
        format!("data/spill/.tmp-spill_{time}_00ff"),
    ] {
        real.symlink(&precious, Path::new(&link)).unwrap();
    }
    let before = Picture::of(&real, Path::new(""));
    cluster.clock.advance(400 * DAY);
    let data = RealDisk::open(&place.path().join("data")).unwrap();
    let client = cluster.client_on(Arc::new(data), CancellationToken::new());
    assert_eq!(client.reap().await.unwrap(), Reaped::default());
    assert_eq!(Picture::of(&real, Path::new("")), before);
    assert_eq!(cluster.charged().await, Charged::nothing());
}
