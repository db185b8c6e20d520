//! Two sessions of one machine with plans for the same chunks, as an import brings them there: whoever
//! goes on first pays, and nobody pays those chunks again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use spillway_client::{SessionStage, UploadError, UploadOptions};
use spillway_disk::{MemoryDisk, Survival};
use spillway_pay::{ChainFault, ChainOp};
use spillway_tests::{Charged, Cluster, SEGMENT, TOKENS, noise};
use spillway_types::Atto;

use super::steps::{
    assert_reads, direct, exported, five, import, interrupt, interrupted, resume, the_only, upload,
};

const CHUNK_COST: u128 = Cluster::CHUNK_COST;

/// An edit of one of six segments: three chunks are others.
fn edited(source: &[u8]) -> Vec<u8> {
    let mut edit = source.to_vec();
    edit[4 * SEGMENT + 1] ^= 1;
    edit
}

/// A user who has agreed to everything.
fn capped() -> UploadOptions {
    UploadOptions { max_cost: Some(Atto(u128::MAX)), ..direct() }
}

/// An upload whose plan is written and was refused before anything was signed: the wallet is empty.
async fn planned(cluster: &Cluster, source: &[u8]) -> (MemoryDisk, String) {
    let data = MemoryDisk::new();
    cluster.chain.set_tokens(cluster.token, cluster.payer.address(), Atto::ZERO);
    let error = upload(cluster, &data, source, direct()).await.unwrap_err();
    assert!(matches!(error, UploadError::Payment { .. }), "{error:?}");
    cluster.chain.set_tokens(cluster.token, cluster.payer.address(), TOKENS);
    let id = the_only(cluster, &data).await;
    assert_eq!(stages(cluster, &data).await, [SessionStage::Planned]);
    (data, id)
}

async fn stages(cluster: &Cluster, data: &MemoryDisk) -> Vec<SessionStage> {
    let sessions = cluster.client(data).sessions().await.unwrap();
    sessions.into_iter().map(|status| status.stage).collect()
}

#[tokio::test]
async fn of_two_plans_that_nobody_has_signed_one_is_paid() {
    for import_first in [true, false] {
        let cluster = five();
        let source = noise(360, 6 * SEGMENT);
        let edit = edited(&source);
        let (here, own) = planned(&cluster, &edit).await;
        let (elsewhere, id) = planned(&cluster, &source).await;
        import(&cluster, &here, &exported(&cluster, &elsewhere, &id).await).await.unwrap();
        assert_eq!(stages(&cluster, &here).await, [SessionStage::Planned; 2]);
        assert_eq!(cluster.charged().await, Charged::nothing());

        let mut in_turn = [(&id, &source), (&own, &edit)];
        if !import_first {
            in_turn.reverse();
        }
        for (paid, (session, contents)) in [6, 9].into_iter().zip(in_turn) {
            let uploaded = resume(&cluster, &here, session, capped()).await.unwrap();
            assert_reads(&cluster, &uploaded, contents).await;
            let total = Atto(paid * CHUNK_COST);
            assert_eq!(cluster.charged().await.paid, total, "import first: {import_first}");
        }
    }
}

#[tokio::test]
async fn a_plan_that_is_not_signed_gives_way_to_what_an_import_has_paid() {
    let cluster = five();
    let source = noise(361, 6 * SEGMENT);
    let edit = edited(&source);
    let (here, own) = planned(&cluster, &edit).await;
    let (elsewhere, id) = interrupted(&cluster, &source, 1, direct()).await;
    assert_eq!(cluster.charged().await.paid, Atto(6 * CHUNK_COST));
    import(&cluster, &here, &exported(&cluster, &elsewhere, &id).await).await.unwrap();

    // The price of the plan that gives way is asked of nobody.
    let rest = UploadOptions { max_cost: Some(Atto(3 * CHUNK_COST)), ..direct() };
    let uploaded = resume(&cluster, &here, &own, rest).await.unwrap();
    assert_reads(&cluster, &uploaded, &edit).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST), "three are others");
    let uploaded = resume(&cluster, &here, &id, capped()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST));
}

/// A plan of another session is given up only when the user has agreed to pay for the chunks here.
#[tokio::test]
async fn a_payment_that_is_not_taken_leaves_the_plans_of_others() {
    let cluster = five();
    let source = noise(362, 6 * SEGMENT);
    let edit = edited(&source);
    let (here, own) = planned(&cluster, &edit).await;
    let (elsewhere, id) = planned(&cluster, &source).await;
    import(&cluster, &here, &exported(&cluster, &elsewhere, &id).await).await.unwrap();
    let little = UploadOptions { max_cost: Some(Atto(1)), ..direct() };
    for session in [&own, &id] {
        let error = resume(&cluster, &here, session, little.clone()).await.unwrap_err();
        assert!(matches!(error, UploadError::OverCost { .. }), "{error:?}");
        assert_eq!(stages(&cluster, &here).await, [SessionStage::Planned; 2]);
    }
    // A crash keeps what was given up: the other plan never comes back.
    resume(&cluster, &here, &own, direct()).await.unwrap();
    let here = here.crash(Survival::Nothing);
    let uploaded = resume(&cluster, &here, &id, capped()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST));
}

/// Waits until so many sessions have a plan of which nothing is paid.
async fn wait_for_plans(cluster: &Cluster, data: &MemoryDisk, count: usize) {
    loop {
        let stages = stages(cluster, data).await;
        if stages.iter().filter(|&&stage| stage == SessionStage::Planned).count() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_plan_that_waits_for_the_wallet_is_not_paid_by_another_session_meanwhile() {
    let cluster = five();
    let source = noise(363, 6 * SEGMENT);
    let (edit, before) = (edited(&source), noise(364, 3 * SEGMENT));
    let (elsewhere, id) = planned(&cluster, &source).await;
    let way = exported(&cluster, &elsewhere, &id).await;

    let (here, lost) = (MemoryDisk::new(), Arc::new(AtomicBool::new(true)));
    let is_lost = Arc::clone(&lost);
    cluster.chain.set_faults(Some(Box::new(move |op| {
        (op == ChainOp::SendRaw && is_lost.load(Ordering::SeqCst)).then_some(ChainFault::Forget)
    })));
    // One process: its payments wait for each other.
    let client = cluster.client(&here);
    let first = client.upload(Cluster::file(&before), &cluster.payer, direct());
    let mut first = Box::pin(first);
    tokio::select! {
        done = &mut first => panic!("{done:?}"),
        () = wait_for_plans(&cluster, &here, 1) => {}
    }
    let waits = client.upload(Cluster::file(&edit), &cluster.payer, direct());
    let mut both = Box::pin(async { tokio::join!(first, waits) });
    tokio::select! {
        done = &mut both => panic!("{done:?}"),
        () = wait_for_plans(&cluster, &here, 2) => {}
    }
    import(&cluster, &here, &way).await.unwrap();
    let refused = tokio::select! {
        done = &mut both => panic!("{done:?}"),
        refused = client.resume(&id, &cluster.payer, None, capped()) => refused.unwrap_err(),
    };
    assert!(matches!(refused, UploadError::Busy { .. }), "{refused:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    lost.store(false, Ordering::SeqCst);
    let (first, edited) = both.await;
    assert_reads(&cluster, &first.unwrap(), &before).await;
    assert_reads(&cluster, &edited.unwrap(), &edit).await;
    assert_eq!(cluster.charged().await.paid, Atto(9 * CHUNK_COST));

    let uploaded = resume(&cluster, &here, &id, capped()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(12 * CHUNK_COST), "three are others");
}

#[tokio::test]
async fn what_an_archive_says_was_given_up_is_asked_of_the_chain() {
    let cluster = five();
    let source = noise(365, 6 * SEGMENT);
    let (here, id) = planned(&cluster, &source).await;
    let copy = here.crash(Survival::Everything);
    // An edit gives the plan up, and pays nothing for its own.
    let little = UploadOptions { max_cost: Some(Atto(1)), ..direct() };
    let error = upload(&cluster, &here, &edited(&source), little).await.unwrap_err();
    assert!(matches!(error, UploadError::OverCost { .. }), "{error:?}");
    let way = exported(&cluster, &here, &id).await;
    // A copy of the session does not know that, and pays it.
    interrupt(&cluster, 1, resume(&cluster, &copy, &id, direct())).await;
    assert_eq!(cluster.charged().await.paid, Atto(6 * CHUNK_COST));

    let there = MemoryDisk::new();
    import(&cluster, &there, &way).await.unwrap();
    let uploaded = resume(&cluster, &there, &id, capped()).await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    assert_eq!(cluster.charged().await.paid, Atto(6 * CHUNK_COST));
}
