//! Batches at their edges: how many leaves one has when nothing is said, and a payment that the chain
//! takes and the vault refuses.

use std::time::Duration;

use spillway_client::{BatchOptions, ChunkFailure, CommitChoice, UploadError};
use spillway_disk::MemoryDisk;
use spillway_pay::{
    ASSUMED_UPLOAD_RATE, BatchInput, BeaconState, ChainOp, PlanInput, plan_batches,
};
use spillway_tests::{Cluster, ClusterOptions, SEGMENT, noise};
use spillway_types::{
    Atto, ChunkAddress, Domain, EvmAddress, Leaf, NetworkId, RewardAddress, Share, UnixTime,
    limits::QUOTE_LIFETIME,
};

const DAY: Duration = Duration::from_hours(24);

/// How the chunks of an upload are split that says nothing of batches.
fn sizes_of(leaves: u32) -> Vec<usize> {
    let now = UnixTime(1_800_000_000);
    let share = |payee| Share { payee: RewardAddress([payee; 20]), amount: Atto(100) };
    let leaf = |name: u32| Leaf {
        address: ChunkAddress::of(&name.to_be_bytes()),
        shares: [1, 2, 3, 4, 5].map(share),
    };
    let vault = EvmAddress([1; 20]);
    let input = PlanInput {
        domain: Domain { network: NetworkId::named("test"), chain_id: 1, vault },
        payer: EvmAddress([2; 20]),
        leaves: (0..leaves).map(leaf).collect(),
        now,
        first_expiry: now.saturating_add(QUOTE_LIFETIME),
        upload_bytes: 1,
        upload_rate: ASSUMED_UPLOAD_RATE,
        min_window: Duration::from_mins(15),
        max_window: 14 * DAY,
    };
    let batch = BatchInput {
        max_leaves: BatchOptions::default().max_leaves,
        min_tip: Atto(1),
        max_prize: Atto::MAX_SHARE,
        beacon: BeaconState { beacon: EvmAddress([3; 20]), epoch: DAY, latest: now },
    };
    plan_batches(input, batch).unwrap().iter().map(|plan| plan.leaves.len()).collect()
}

#[test]
fn a_batch_has_4096_leaves_when_nothing_is_said() {
    assert_eq!(sizes_of(4_096), [4_096]);
    assert_eq!(sizes_of(4_097), [2_049, 2_048]);
}

/// The second of three payments is taken by the chain, and the vault refuses it there: it is late.
#[tokio::test]
async fn a_batch_that_the_vault_refuses_on_chain_leaves_those_before_it_stored() {
    let cluster = Cluster::with(ClusterOptions::batches(5));
    let data = MemoryDisk::new();
    let source = noise(210, 6 * SEGMENT);
    let (clock, mut sent) = (cluster.clock.clone(), 0);
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        // An approval and a payment each: the fourth is the second payment. It was found good before.
        if op == ChainOp::SendRaw && sent == 4 {
            clock.advance(QUOTE_LIFETIME);
        }
        None
    })));
    let options = Cluster::batch_options(2, CommitChoice::OneByOne);
    let client = cluster.client(&data);
    let error = client.upload(Cluster::file(&source), &cluster.payer, options.clone()).await;
    let one = Atto(2 * Cluster::CHUNK_COST + Cluster::TIP.0);
    let Err(UploadError::PartialUpload { stored, spend, .. }) = error else { panic!("{error:?}") };
    assert_eq!((stored.len(), cluster.stored().len()), (2, 2));
    assert_eq!((spend.storage_cost, cluster.charged().await.paid), (one, one));
    // Four were mined: the vault's refusal is on the chain, and took gas.
    assert_eq!(cluster.transactions().await, 4);

    cluster.chain.set_faults(None);
    // It could still be taken if that block is undone: until then nothing is planned anew.
    let error = client.upload(Cluster::file(&source), &cluster.payer, options.clone()).await;
    let Err(UploadError::PartialUpload { failed, .. }) = error else { panic!("{error:?}") };
    let undecided = failed.iter().filter(|(_, why)| matches!(why, ChunkFailure::Undecided));
    assert_eq!((undecided.count(), failed.len()), (2, 4), "{failed:?}");
    assert_eq!((cluster.charged().await.paid, cluster.transactions().await), (one, 4));
    cluster.chain.mine(65);
    let uploaded = client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_total), (6, 6));
    assert_eq!(cluster.charged().await.paid, Atto(3 * one.0));
}
