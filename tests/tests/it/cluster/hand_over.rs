//! Sessions that go to another machine, and come back.

use std::{collections::BTreeSet, path::Path, time::Duration};

use spillway_client::{
    CommitChoice, ExportOptions, ForgetOptions, SessionError, SessionStage, UploadError,
    UploadOptions, VerifyUpload, export_session, forget,
};
use spillway_disk::{Clock, Disk, MemoryDisk, Overwrite, Survival};
use spillway_pay::{ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, Picture, SEGMENT, noise};
use spillway_types::{Atto, limits::CLOSE_GROUP};

use super::steps::{
    arc, archive, assert_reads, direct, export, exported, five, give_no_prices, import, interrupt,
    interrupted, lose, losing, resume, the_only, upload,
};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;

#[tokio::test]
async fn a_session_goes_on_elsewhere_without_another_payment_and_not_here() {
    for options in [direct(), Cluster::batch_options(4, CommitChoice::Together)] {
        let cluster = five();
        let source = noise(330, 6 * SEGMENT);
        let (here, id) = interrupted(&cluster, &source, 2, options).await;
        let paid = cluster.charged().await;
        let way = MemoryDisk::new();
        let exported = export(&cluster, &here, &id[..5], &way).await.unwrap();
        assert_eq!((exported.session.as_str(), exported.chunks), (id.as_str(), 4));
        assert_eq!(exported.lost, []);
        let stat = way.stat(archive()).unwrap();
        assert_eq!((stat.len, stat.mode), (exported.bytes, 0o600));

        // Here nothing goes on, and it is said.
        let status = &cluster.client(&here).sessions().await.unwrap()[0];
        assert_eq!(status.stage, SessionStage::HandedOver);
        assert_eq!(status.handed_over, Some(cluster.clock.now()));
        let before = Picture::of(&here, Path::new("sessions").join(&id).as_path());
        let errors = [
            upload(&cluster, &here, &source, direct()).await,
            resume(&cluster, &here, &id, direct()).await,
        ];
        for error in errors {
            match error.unwrap_err() {
                UploadError::HandedOver { session, .. } => assert_eq!(session, id),
                other => panic!("{other:?}"),
            }
        }
        cluster.clock.advance(Duration::from_hours(2));
        cluster.chain.mine(1);
        cluster.client(&here).reap().await.unwrap();
        assert_eq!(Picture::of(&here, Path::new("sessions").join(&id).as_path()), before);

        let there = MemoryDisk::new();
        let imported = import(&cluster, &there, &way).await.unwrap();
        assert_eq!((imported.session.as_str(), imported.chunks_total), (id.as_str(), 6));
        assert_eq!((imported.chunks, imported.replaces), (4, None));
        let uploaded = resume(&cluster, &there, &id, direct()).await.unwrap();
        assert_eq!((uploaded.chunks_stored, uploaded.spend.storage_cost), (6, paid.paid));
        assert_eq!(cluster.charged().await, paid);
        assert_reads(&cluster, &uploaded, &source).await;
        // A second time it is known.
        match import(&cluster, &there, &way).await.unwrap_err() {
            SessionError::AlreadyHere { session } => assert_eq!(session, id),
            other => panic!("{other:?}"),
        }

        // What was handed over may be forgotten: the archive has it.
        let now = cluster.clock.now();
        forget(&arc(&here), &id, ForgetOptions { now, even_paid: false }).await.unwrap();
        assert_eq!(here.list(Path::new("spill")).unwrap(), []);
    }
}

#[tokio::test]
async fn a_session_comes_back_and_replaces_its_copy() {
    let cluster = five();
    let source = noise(331, 6 * SEGMENT);
    let (here, id) = interrupted(&cluster, &source, 2, direct()).await;
    let paid = cluster.charged().await;
    let (out, back) = (MemoryDisk::new(), MemoryDisk::new());
    export(&cluster, &here, &id, &out).await.unwrap();
    let there = MemoryDisk::new();
    import(&cluster, &there, &out).await.unwrap();
    // There some of it is stored, and it goes back.
    interrupt(&cluster, 2, resume(&cluster, &there, &id, direct())).await;
    export(&cluster, &there, &id, &back).await.unwrap();
    let imported = import(&cluster, &here, &back).await.unwrap();
    assert_eq!((imported.chunks, imported.replaces.as_deref()), (2, Some(id.as_str())));
    let sessions = cluster.client(&here).sessions().await.unwrap();
    let [session] = &sessions[..] else { panic!("{sessions:?}") };
    assert_eq!((session.chunks_stored, session.handed_over), (4, None));
    assert_eq!(here.list(Path::new("spill")).unwrap().len(), 1);
    let uploaded = upload(&cluster, &here, &source, direct()).await.unwrap();
    assert_eq!((uploaded.upload_id, cluster.charged().await), (imported.session, paid));
    // The archive of before is of a session that is finished here.
    match import(&cluster, &here, &out).await.unwrap_err() {
        SessionError::AlreadyHere { .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_older_archive_does_not_replace_what_knows_of_more_payments() {
    let cluster = five();
    let source = noise(332, 4 * SEGMENT);
    let here = MemoryDisk::new();
    give_no_prices(&cluster);
    upload(&cluster, &here, &source, direct()).await.unwrap_err();
    let id = cluster.client(&here).sessions().await.unwrap()[0].id.clone();
    let (older, newer) = (MemoryDisk::new(), MemoryDisk::new());
    export(&cluster, &here, &id, &older).await.unwrap();
    // It comes back, is paid, and goes away again.
    let back = import(&cluster, &here, &older).await.unwrap();
    interrupt(&cluster, 0, resume(&cluster, &here, &back.session, direct())).await;
    let here = here.crash(Survival::Nothing);
    export(&cluster, &here, &back.session, &newer).await.unwrap();
    // What the first import had removed came back with the power cut; the next one removes it again.
    let paths = || {
        let paths = Picture::of(&here, Path::new("")).paths().into_iter();
        paths.filter(|path| !path.contains(".tmp-")).collect::<Vec<_>>()
    };
    let before = paths();
    match import(&cluster, &here, &older).await.unwrap_err() {
        SessionError::OlderThanHere { session } => assert_eq!(session, back.session),
        other => panic!("{other:?}"),
    }
    assert_eq!(paths(), before);
    let back = import(&cluster, &here, &newer).await.unwrap();
    let uploaded = resume(&cluster, &here, &back.session, direct()).await.unwrap();
    assert_eq!(cluster.charged().await.paid, Atto(4 * CHUNK_COST));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn what_was_handed_over_is_never_planned_again_here() {
    let cluster = five();
    let source = noise(333, 6 * SEGMENT);
    let mut edit = source.clone();
    edit[4 * SEGMENT + 1] ^= 1;

    // Signed, and the vault has not taken it: what is signed pays for both.
    let signed = MemoryDisk::new();
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    upload(&cluster, &signed, &source, direct()).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = cluster.client(&signed).sessions().await.unwrap()[0].id.clone();
    // Planned, and nothing of it signed.
    let planned = signed.crash(Survival::Everything);
    for entry in planned.list(&Path::new("sessions").join(&id)).unwrap() {
        if entry.name.to_str().unwrap().starts_with("tx-") {
            planned.remove_file(&Path::new("sessions").join(&id).join(entry.name)).unwrap();
        }
    }
    let status = &cluster.client(&planned).sessions().await.unwrap()[0];
    assert_eq!(status.stage, SessionStage::Planned);
    for here in [&signed, &planned] {
        export(&cluster, here, &id, &MemoryDisk::new()).await.unwrap();
    }
    match upload(&cluster, &planned, &edit, direct()).await.unwrap_err() {
        UploadError::HandedOver { session, .. } => assert_eq!(session, id),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.charged().await, Charged::nothing());
    let edited = upload(&cluster, &signed, &edit, direct()).await.unwrap();
    assert_reads(&cluster, &edited, &edit).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST), "three have changed");
}

#[tokio::test]
async fn what_was_planned_elsewhere_is_free_when_it_never_can_be_paid() {
    let cluster = five();
    let source = noise(334, 3 * SEGMENT);
    let here = MemoryDisk::new();
    cluster.chain.set_faults(Some(Box::new(move |op| {
        (op == ChainOp::SendRaw).then_some(ChainFault::Forget)
    })));
    upload(&cluster, &here, &source, direct()).await.unwrap_err();
    cluster.chain.set_faults(None);
    let id = cluster.client(&here).sessions().await.unwrap()[0].id.clone();
    export(&cluster, &here, &id, &MemoryDisk::new()).await.unwrap();
    cluster.clock.advance(Duration::from_hours(2));
    cluster.chain.mine(70);
    let mut edit = source.clone();
    edit.extend_from_slice(&noise(335, SEGMENT));
    let edited = upload(&cluster, &here, &edit, direct()).await.unwrap();
    assert_reads(&cluster, &edited, &edit).await;
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn an_archive_that_is_imported_twice_still_pays_each_plan_once() {
    let cluster = five();
    let source = noise(336, 5 * SEGMENT);
    let (here, id) = interrupted(&cluster, &source, 1, direct()).await;
    let paid = cluster.charged().await;
    let way = MemoryDisk::new();
    export(&cluster, &here, &id, &way).await.unwrap();
    for _ in 0..2 {
        let there = MemoryDisk::new();
        import(&cluster, &there, &way).await.unwrap();
        let uploaded = resume(&cluster, &there, &id, direct()).await.unwrap();
        assert_reads(&cluster, &uploaded, &source).await;
        assert_eq!(cluster.charged().await, paid);
    }
}

#[tokio::test]
async fn a_damaged_archive_is_refused_at_every_place_and_leaves_nothing() {
    let cluster = five();
    let source = noise(337, 2 * 200);
    let options = UploadOptions { segment_bytes: 200, ..direct() };
    let (here, id) = interrupted(&cluster, &source, 1, options).await;
    let way = MemoryDisk::new();
    export(&cluster, &here, &id, &way).await.unwrap();
    let bytes = way.read(archive(), u64::MAX).unwrap();
    let there = MemoryDisk::new();
    for dir in ["sessions", "spill"] {
        there.create_dir_all(Path::new(dir)).unwrap();
    }
    let nothing = Picture::of(&there, Path::new("")).paths();
    let refused = |what: String, damaged: Vec<u8>| {
        let (there, nothing, cluster) = (&there, &nothing, &cluster);
        async move {
            let way = MemoryDisk::new();
            way.write_durable(archive(), &damaged, Overwrite::Replace).unwrap();
            match import(cluster, there, &way).await {
                Err(SessionError::BadArchive { .. } | SessionError::NewerArchive { .. }) => {}
                other => panic!("{what}: {other:?}"),
            }
            assert_eq!(Picture::of(there, Path::new("")).paths(), *nothing, "{what}");
        }
    };
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        refused(format!("bit {} of byte {at}", at % 8), flipped).await;
    }
    for cut in (0..bytes.len()).step_by(7).chain(bytes.len() - 50..bytes.len()) {
        refused(format!("cut at {cut}"), bytes[..cut].to_vec()).await;
    }
    refused("one byte more".into(), [bytes.as_slice(), b"x"].concat()).await;
    refused("twice".into(), [bytes.as_slice(), &bytes].concat()).await;
    import(&cluster, &there, &way).await.unwrap();
}

#[tokio::test]
async fn what_runs_is_not_handed_over_nor_taken_over() {
    let cluster = five();
    let source = noise(338, 2 * SEGMENT);
    let (here, id) = interrupted(&cluster, &source, 0, direct()).await;
    let way = MemoryDisk::new();
    let copy = here.crash(Survival::Everything);
    export(&cluster, &copy, &id, &way).await.unwrap();
    match import(&cluster, &here, &way).await.unwrap_err() {
        SessionError::AlreadyHere { session } => assert_eq!(session, id),
        other => panic!("{other:?}"),
    }
    cluster.book().let_through(0);
    cluster.book().forget_hanging();
    tokio::select! {
        result = resume(&cluster, &here, &id, direct()) => panic!("{result:?}"),
        () = async {
            cluster.wait_for_hanging(CLOSE_GROUP).await;
            for error in [
                export(&cluster, &here, &id, &MemoryDisk::new()).await.unwrap_err(),
                import(&cluster, &here, &way).await.unwrap_err(),
            ] {
                assert!(matches!(error, SessionError::Busy { .. }), "{error:?}");
            }
        } => {}
    }
}

#[tokio::test]
async fn lost_chunks_are_said_and_an_archive_is_not_replaced_unasked() {
    let cluster = five();
    let source = noise(339, 3 * SEGMENT);
    let (here, id) = interrupted(&cluster, &source, 1, direct()).await;
    let spill = here.list(Path::new("spill")).unwrap().remove(0).name;
    let spill = Path::new("spill").join(spill);
    let mut lost = BTreeSet::new();
    for file in here.list(&spill).unwrap() {
        if file.name != Path::new("lock") {
            here.remove_file(&spill.join(&file.name)).unwrap();
            lost.insert(file.name.to_str().unwrap().to_owned());
        }
    }
    let way = MemoryDisk::new();
    way.write_durable(archive(), b"precious", Overwrite::Never).unwrap();
    let options = ExportOptions { now: cluster.clock.now(), overwrite: Overwrite::Never };
    let refused = export_session(&arc(&here), &id, &arc(&way), archive(), options).await;
    assert!(matches!(refused, Err(SessionError::Disk(spillway_client::DiskError::Exists { .. }))));
    let status = &cluster.client(&here).sessions().await.unwrap()[0];
    assert_eq!(status.handed_over, None, "it was refused before anything changed");
    let exported = export(&cluster, &here, &id, &way).await.unwrap();
    assert_eq!((exported.chunks, exported.lost.len()), (0, 2));
    assert!(exported.lost.iter().all(|chunk| lost.contains(&chunk.to_string())));
}

/// The spill of the only session there has lost everything.
fn empty_spill(data: &MemoryDisk) {
    let spill = Path::new("spill").join(data.list(Path::new("spill")).unwrap().remove(0).name);
    for file in data.list(&spill).unwrap() {
        if file.name != Path::new("lock") {
            data.remove_file(&spill.join(&file.name)).unwrap();
        }
    }
}

#[tokio::test]
async fn of_two_imports_of_one_upload_the_one_that_has_paid_goes_on() {
    let (cluster, stores) = losing(5);
    let source = noise(370, 4 * SEGMENT);
    let data = MemoryDisk::new();
    let paid = upload(&cluster, &data, &source, direct()).await.unwrap().upload_id;
    cluster.clock.advance(Duration::from_secs(5));
    let free = upload(&cluster, &data, &source, direct()).await.unwrap();
    assert_ne!(free.upload_id, paid);
    let charged = cluster.charged().await;
    let there = MemoryDisk::new();
    let first = exported(&cluster, &data, &free.upload_id).await;
    let second = exported(&cluster, &data, &paid).await;
    let first = import(&cluster, &there, &first).await.unwrap().session;
    let taken = import(&cluster, &there, &second).await.unwrap();
    assert_eq!(taken.replaces.as_ref(), Some(&first));
    assert_eq!(the_only(&cluster, &there).await, taken.session);
    // Nobody but who has paid for it could store this one again without a payment.
    let lost = *cluster.stored().keys().next().unwrap();
    stores[..3].iter().for_each(|store| lose(store, lost));
    let resumed = resume(&cluster, &there, &taken.session, direct()).await.unwrap();
    assert!(resumed.verified);
    assert_eq!(cluster.charged().await, charged);
    match import(&cluster, &there, &second).await.unwrap_err() {
        SessionError::AlreadyHere { session } => assert_eq!(session, taken.session),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_waits_for_what_makes_room_waits_for_what_came() {
    let cluster = five();
    let source = noise(374, 3 * SEGMENT);
    let (payer, id) = interrupted(&cluster, &source, 0, direct()).await;
    let paid = exported(&cluster, &payer, &id).await;
    let (sealed, there) = (MemoryDisk::new(), MemoryDisk::new());
    cluster.clock.advance(Duration::from_secs(5));
    give_no_prices(&cluster);
    let waiting = UploadOptions { verify: VerifyUpload::Wait, ..direct() };
    upload(&cluster, &sealed, &source, waiting).await.unwrap_err();
    cluster.book().behave();
    let unplanned = the_only(&cluster, &sealed).await;
    let way = exported(&cluster, &sealed, &unplanned).await;
    import(&cluster, &there, &way).await.unwrap();
    // One that has planned nothing, either, has no more to go on with.
    let again = import(&cluster, &there, &way).await.unwrap_err();
    assert!(matches!(again, SessionError::AlreadyHere { .. }), "{again:?}");
    let taken = import(&cluster, &there, &paid).await.unwrap();
    let uploaded = resume(&cluster, &there, &taken.session, direct()).await.unwrap();
    assert!(uploaded.verified);
}

#[tokio::test]
async fn what_makes_room_for_a_paid_session_leaves_its_sealed_chunks() {
    for handed_over in [false, true] {
        let cluster = five();
        let source = noise(371, 5 * SEGMENT);
        let (payer, id) = interrupted(&cluster, &source, 2, direct()).await;
        let charged = cluster.charged().await;
        empty_spill(&payer);
        let paid = exported(&cluster, &payer, &id).await;
        // Sealed elsewhere, and never planned.
        let sealed = MemoryDisk::new();
        cluster.clock.advance(Duration::from_secs(5));
        give_no_prices(&cluster);
        upload(&cluster, &sealed, &source, direct()).await.unwrap_err();
        cluster.book().behave();
        let unplanned = the_only(&cluster, &sealed).await;
        let way = exported(&cluster, &sealed, &unplanned).await;
        let there = if handed_over { sealed } else { MemoryDisk::new() };
        if !handed_over {
            import(&cluster, &there, &way).await.unwrap();
        }
        let taken = import(&cluster, &there, &paid).await.unwrap();
        assert_eq!((taken.chunks, taken.replaces.is_some()), (0, true));
        assert_eq!(the_only(&cluster, &there).await, taken.session);
        assert_eq!(there.list(Path::new("spill")).unwrap().len(), 1);
        let uploaded = resume(&cluster, &there, &taken.session, direct()).await.unwrap();
        assert_reads(&cluster, &uploaded, &source).await;
        assert_eq!(cluster.charged().await, charged);
    }
}

#[tokio::test]
async fn what_comes_back_takes_the_sealed_chunks_that_were_lost_elsewhere() {
    let cluster = five();
    let source = noise(373, 5 * SEGMENT);
    let (first, id) = interrupted(&cluster, &source, 2, direct()).await;
    let charged = cluster.charged().await;
    let away = exported(&cluster, &first, &id).await;
    let second = MemoryDisk::new();
    let there = import(&cluster, &second, &away).await.unwrap();
    empty_spill(&second);
    let back = exported(&cluster, &second, &there.session).await;
    let came = import(&cluster, &first, &back).await.unwrap();
    assert_eq!((came.chunks, came.replaces), (0, Some(id)));
    assert_eq!(first.list(Path::new("spill")).unwrap().len(), 1);
    let uploaded = resume(&cluster, &first, &came.session, direct()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await, charged);
}
