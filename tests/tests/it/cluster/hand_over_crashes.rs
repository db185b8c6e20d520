//! Crashes while a session goes to another machine or comes back: at no time two copies go on, and
//! always one does.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use spillway_client::{ForgetError, ForgetOptions, forget};
use spillway_disk::{Clock, Disk, Fault, FaultPlan, Faults, MemoryDisk, Survival};
use spillway_tests::{Picture, SEGMENT, noise};

use super::steps::{arc, archive, direct, export, five, import, interrupted, resume};

/// Exports with either disk dying at every change. After that at most one copy goes on, and one does.
async fn export_cut_everywhere(survival: Survival) {
    let cluster = five();
    let source = noise(340, 3 * SEGMENT);
    let (whole, id) = interrupted(&cluster, &source, 1, direct()).await;
    let paid = cluster.charged().await;
    for at in 1.. {
        let (here, way) = (whole.crash(Survival::Everything), MemoryDisk::new());
        // One machine: both disks die together.
        let faults = Arc::new(Faults::default());
        let dying = |disk: &MemoryDisk| disk.clone().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let exported = export(&cluster, &dying(&here), &id, &dying(&way)).await;
        let clean = faults.count() < at;
        let (here, way) = (here.crash(survival), way.crash(survival));
        let when = format!("cut at change {at} ({exported:?})");
        let status = &cluster.client(&here).sessions().await.unwrap()[0];
        assert_eq!(status.damage, None, "{when}");
        let visible = way.stat(archive()).is_ok();
        assert!(!visible || status.handed_over.is_some(), "{when}: read-only before it is visible");
        assert!(visible || exported.is_err(), "{when}");
        let there = MemoryDisk::new();
        if status.handed_over.is_none() {
            resume(&cluster, &here, &id, direct()).await.unwrap();
        } else {
            let options = ForgetOptions { now: cluster.clock.now(), even_paid: false };
            let forgotten = forget(&arc(&here.crash(Survival::Everything)), &id, options).await;
            assert!(
                visible || matches!(forgotten, Err(ForgetError::AtStake { .. })),
                "{when}: without an archive it is all that there is"
            );
            if !visible {
                export(&cluster, &here, &id, &way).await.unwrap();
            }
            import(&cluster, &there, &way).await.unwrap();
            resume(&cluster, &there, &id, direct()).await.unwrap();
        }
        assert_eq!(cluster.charged().await, paid, "{when}");
        if clean {
            assert!(at > 8, "{at}");
            return;
        }
    }
}

#[tokio::test]
async fn after_a_crash_at_any_change_of_an_export_one_copy_goes_on() {
    for survival in [Survival::Nothing, Survival::Everything, Survival::Seeded(3)] {
        export_cut_everywhere(survival).await;
    }
}

/// Imports with the disk dying at every change, onto a disk that has the copy or onto an empty one.
async fn import_cut_everywhere(comes_back: bool, survival: Survival) {
    let cluster = five();
    let source = noise(341, 2 * SEGMENT);
    let (here, id) = interrupted(&cluster, &source, 1, direct()).await;
    let paid = cluster.charged().await;
    let way = MemoryDisk::new();
    export(&cluster, &here, &id, &way).await.unwrap();
    let before = if comes_back { here } else { MemoryDisk::new() };
    for at in 1.. {
        let data = before.crash(Survival::Everything);
        let faults = Arc::new(Faults::default());
        let dying = data.clone().with_faults(Arc::clone(&faults));
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let imported = import(&cluster, &dying, &way).await;
        let clean = faults.count() < at;
        let data = data.crash(survival);
        let when = format!("cut at change {at} ({imported:?})");
        let sessions = cluster.client(&data).sessions().await.unwrap();
        assert!(sessions.iter().all(|session| session.damage.is_none()), "{when}");
        let live: Vec<_> = sessions.iter().filter(|it| it.handed_over.is_none()).collect();
        assert!(live.len() <= 1 && (imported.is_err() || live.len() == 1), "{when}");
        if live.is_empty() {
            import(&cluster, &data, &way).await.unwrap();
        }
        // A day later nothing is left but the session.
        let start = cluster.clock.now();
        cluster.clock.advance(Duration::from_hours(24) + Duration::from_secs(90));
        cluster.client(&data).reap().await.unwrap();
        cluster.clock.set(start);
        let sessions = cluster.client(&data).sessions().await.unwrap();
        let [session] = &sessions[..] else { panic!("{when}: {sessions:?}") };
        let paths: BTreeSet<String> =
            Picture::of(&data, Path::new("")).paths().into_iter().collect();
        let hidden = paths.iter().filter(|path| path.contains(".tmp-")).count();
        assert_eq!(
            (hidden, data.list(Path::new("spill")).unwrap().len()),
            (0, 1),
            "{when}: {paths:?}"
        );
        resume(&cluster, &data, &session.id, direct()).await.unwrap();
        assert_eq!(cluster.charged().await, paid, "{when}");
        if clean {
            assert!(at > 30, "{at}");
            return;
        }
    }
}

#[tokio::test]
async fn after_a_crash_at_any_change_of_an_import_the_session_is_whole_or_not_there() {
    import_cut_everywhere(false, Survival::Nothing).await;
    import_cut_everywhere(true, Survival::Everything).await;
    import_cut_everywhere(true, Survival::Seeded(5)).await;
}
