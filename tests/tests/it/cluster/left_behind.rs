//! What a run that failed has written and not synced is made durable before it is acted upon, and what
//! is paid goes on beside sessions that cannot be read.

use std::{path::Path, sync::Arc};

use spillway_client::{BatchOptions, CommitChoice, UploadError, UploadOptions};
use spillway_disk::{Disk, Fault, FaultPlan, Faults, MemoryDisk, Overwrite, Survival};
use spillway_tests::{SEGMENT, noise};
use spillway_types::Atto;

use super::steps::{arc, archive, direct, export, five, interrupted, resume, the_only, upload};

/// One change of the disk fails while an edit takes chunks from a plan that was never signed. It is run
/// again in the same place, and then the power goes: the other session does not pay for them, too.
#[tokio::test]
async fn a_plan_that_was_given_up_stays_so() {
    let source = noise(380, 3 * SEGMENT);
    let edit = [&source[..], b"and more"].concat();
    let mut given_up = 0;
    for at in 1.. {
        let cluster = five();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_faults(Arc::clone(&faults));
        let (payer, tokens) = (cluster.payer.address(), cluster.tokens_left().await);
        cluster.chain.set_tokens(cluster.token, payer, Atto(1));
        let error = upload(&cluster, &data, &source, direct()).await.unwrap_err();
        cluster.chain.set_tokens(cluster.token, payer, tokens);
        assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
        let first = the_only(&cluster, &data).await;
        faults.arm(FaultPlan::once(at, Fault::Io));
        let whole = upload(&cluster, &data, &edit, direct()).await.is_ok();
        let clean = faults.count() < at;
        faults.disarm();
        if clean {
            assert!(given_up > 20, "{given_up}");
            return;
        }
        if !whole {
            upload(&cluster, &data, &edit, direct()).await.unwrap();
        }
        let after = data.crash(Survival::Nothing);
        resume(&cluster, &after, &first, direct()).await.unwrap();
        let paid = cluster.charged().await.paid;
        assert_eq!(paid, cluster.price_of_all(), "failure at change {at}, then a power cut");
        given_up += u32::from(!whole);
    }
}

/// One change of the disk fails while a session is exported. It is exported again in the same place, and
/// at any change of that the machine dies: where there is an archive, nothing goes on here.
#[tokio::test]
async fn an_export_that_failed_and_was_begun_again_leaves_one_copy() {
    let cluster = five();
    let (whole, id) = interrupted(&cluster, &noise(381, 2 * SEGMENT), 1, direct()).await;
    let mut visible = 0;
    for at in 1.. {
        for cut in 1.. {
            let faults = Arc::new(Faults::default());
            let dying = |disk: &MemoryDisk| disk.clone().with_faults(Arc::clone(&faults));
            let (here, way) = (whole.crash(Survival::Everything), MemoryDisk::new());
            faults.arm(FaultPlan::once(at, Fault::Io));
            let first = export(&cluster, &dying(&here), &id, &dying(&way)).await;
            if faults.count() < at {
                assert!(visible > 20, "{visible}");
                return;
            }
            faults.arm(FaultPlan::onwards(cut, Fault::Io));
            let second = export(&cluster, &dying(&here), &id, &dying(&way)).await;
            let clean = faults.count() < cut;
            let (here, way) = (here.crash(Survival::Nothing), way.crash(Survival::Nothing));
            let status = &cluster.client(&here).sessions().await.unwrap()[0];
            let is_visible = way.stat(archive()).is_ok();
            let when = format!("failed at {at}, cut at {cut}: {first:?}, {second:?}");
            assert!(!is_visible || status.handed_over.is_some(), "{when}");
            visible += u32::from(is_visible);
            if clean {
                break;
            }
        }
    }
}

/// A run that dies when the chain has taken the payment and its journal does not say so yet, and another
/// session that rots meanwhile.
#[tokio::test]
async fn what_is_paid_goes_on_beside_a_session_that_is_damaged() {
    let source = noise(382, 2 * SEGMENT);
    let mut found = 0;
    for at in 1.. {
        let cluster = five();
        let faults = Arc::new(Faults::default());
        let data = MemoryDisk::new().with_faults(Arc::clone(&faults));
        upload(&cluster, &data, &noise(383, SEGMENT), direct()).await.unwrap();
        let other = the_only(&cluster, &data).await;
        let before = cluster.charged().await.paid;
        faults.arm(FaultPlan::onwards(at, Fault::Io));
        let whole = upload(&cluster, &data, &source, direct()).await.is_ok();
        let clean = faults.count() < at;
        faults.disarm();
        if clean || whole {
            assert!(found > 1, "{found}");
            return;
        }
        let sessions = cluster.client(&data).sessions().await.unwrap();
        let unknown =
            sessions.iter().find(|it| it.id != other && it.spend.storage_cost == Atto::ZERO);
        let paid = cluster.charged().await.paid;
        let Some(session) = unknown.filter(|_| paid > before) else { continue };
        found += 1;
        let manifest = Path::new("sessions").join(&other).join("manifest");
        arc(&data).write_durable(&manifest, b"rotten", Overwrite::Replace).unwrap();
        resume(&cluster, &data, &session.id, direct()).await.unwrap();
        assert_eq!(cluster.charged().await.paid, paid, "failure from change {at}");
        assert_eq!(paid, cluster.price_of_all());
    }
}

/// What has no plan waits until it is known what the other session has paid for.
#[tokio::test]
async fn what_is_paid_is_stored_beside_a_session_that_is_damaged() {
    let cluster = five();
    let batch = BatchOptions { max_leaves: 3, commit: CommitChoice::OneByOne };
    let options = UploadOptions { batch, ..direct() };
    let (data, id) = interrupted(&cluster, &noise(384, 6 * SEGMENT), 1, options.clone()).await;
    upload(&cluster, &data, &noise(385, SEGMENT), direct()).await.unwrap();
    let sessions = cluster.client(&data).sessions().await.unwrap();
    let other = sessions.iter().find(|session| session.id != id).unwrap();
    let manifest = Path::new("sessions").join(&other.id).join("manifest");
    arc(&data).write_durable(&manifest, b"rotten", Overwrite::Replace).unwrap();
    let paid = cluster.charged().await;
    let error = resume(&cluster, &data, &id, options).await.unwrap_err();
    let UploadError::PartialUpload { stored, failed, cause, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((stored.len(), failed.len()), (3, 3));
    assert!(matches!(cause.as_deref(), Some(UploadError::DamagedSession { .. })), "{cause:?}");
    assert_eq!(cluster.charged().await, paid);
}
