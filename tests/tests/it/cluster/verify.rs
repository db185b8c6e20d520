//! Counting copies, reading them, and storing again what is short, without paying.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use spillway_client::{
    Client, DownloadError, PutFailure, ReadData, Remote, RepairFailure, UploadOptions, Uploaded,
    Verified, VerifyError, VerifyOptions, session_data_map,
};
use spillway_disk::{Disk, MemoryDisk};
use spillway_net::{Fault, RequestKind};
use spillway_seal::MAX_ROOT_BYTES;
use spillway_store::{ChunkStore, MemoryStore};
use spillway_tests::{Cluster, SEGMENT, Tricks, noise};
use spillway_types::{ChunkAddress, Receipt, Refusal, UnixTime};
use tokio_util::sync::CancellationToken;

use super::steps::{direct, exported, import, lose, losing, upload};

/// Longer than any upload window of these tests.
const LATER: Duration = Duration::from_hours(20 * 24);

const REPAIR: How = How { read: ReadData::None, repair: true };

/// What these tests choose.
#[derive(Clone, Copy)]
struct How {
    read: ReadData,
    repair: bool,
}

/// A cluster whose nodes can lose chunks.
struct Losing {
    cluster: Cluster,
    stores: Vec<Arc<MemoryStore>>,
    data: MemoryDisk,
}

impl Losing {
    fn new(nodes: usize) -> Self {
        let (cluster, stores) = losing(nodes);
        Self { cluster, stores, data: MemoryDisk::new() }
    }

    fn client(&self) -> Client {
        self.cluster.client(&self.data)
    }

    async fn upload(&self, seed: u64, bytes: usize, public: bool) -> Uploaded {
        let options = UploadOptions { public, ..Cluster::options() };
        let source = Cluster::file(&noise(seed, bytes));
        self.client().upload(source, &self.cluster.payer, options).await.unwrap()
    }

    /// The node has it no more.
    fn lose(&self, node: usize, address: ChunkAddress) {
        lose(&self.stores[node], address);
    }

    async fn verify(&self, remote: Remote, options: How) -> Verified {
        verify(&self.client(), remote, options).await.unwrap()
    }

    /// Puts and offers that reached nodes since the last look.
    fn stored_again(&self) -> BTreeMap<RequestKind, usize> {
        let mut counts = BTreeMap::new();
        for asked in self.cluster.take_log() {
            if matches!(asked.kind, RequestKind::Put | RequestKind::Offer) {
                *counts.entry(asked.kind).or_default() += 1;
            }
        }
        counts
    }

    fn copies(&self) -> Vec<usize> {
        self.cluster.stored().into_values().map(|(_, copies)| copies).collect()
    }
}

async fn verify(client: &Client, remote: Remote, options: How) -> Result<Verified, VerifyError> {
    let How { read, repair } = options;
    client.verify(remote, VerifyOptions { read, repair, ..VerifyOptions::default() }).await
}

fn only(read: ReadData) -> How {
    How { read, repair: false }
}

fn map(uploaded: &Uploaded) -> Remote {
    Remote::DataMap(uploaded.data_map.clone().unwrap())
}

#[tokio::test]
async fn every_chunk_is_counted_and_the_public_data_map_too() {
    let world = Losing::new(10);
    let uploaded = world.upload(300, 7_500, true).await;
    assert_eq!(uploaded.chunks_total, 9);
    let sizes: u64 = world.cluster.stored().values().map(|(size, _)| u64::from(*size)).sum();

    let public = Remote::Public(uploaded.public_address.unwrap());
    let all = world.verify(public, only(ReadData::All)).await;
    assert_eq!((all.chunks_total, all.copies), (9, [0, 0, 0, 0, 0, 9]));
    assert_eq!((all.chunks_read, all.copies_read, all.bytes_read), (9, 45, 5 * sizes));
    assert_eq!((all.bad_copies, all.silent.len(), all.short()), (0, 0, 0));
    assert!(all.is_sound() && all.lost.is_empty() && all.not_repaired.is_empty());

    world.cluster.take_log();
    let some = world.verify(map(&uploaded), only(ReadData::Chunks(2))).await;
    assert_eq!((some.chunks_total, some.chunks_read, some.copies_read), (8, 2, 10));
    assert_eq!(world.cluster.take_gets().len(), 2);
    let none = world.verify(map(&uploaded), only(ReadData::None)).await;
    assert_eq!((none.copies, none.chunks_read), ([0, 0, 0, 0, 0, 8], 0));
    assert_eq!(world.cluster.take_gets().len(), 0);
}

#[tokio::test]
async fn what_is_short_is_put_again_where_it_is_missing_and_nobody_is_paid() {
    let world = Losing::new(10);
    let uploaded = world.upload(301, 5_500, false).await;
    let charged = world.cluster.charged().await;
    let chunks: Vec<_> = world.cluster.stored().into_keys().collect();
    let (first, second) = (chunks[0], chunks[1]);
    for node in &world.cluster.nearest(first)[..2] {
        world.lose(*node, first);
    }
    for node in &world.cluster.nearest(second)[1..5] {
        world.lose(*node, second);
    }

    let look = world.verify(map(&uploaded), only(ReadData::None)).await;
    let found = [0, 1, 0, 1, 0, 4];
    assert_eq!((look.copies, look.copies_after, look.short()), (found, found, 1));
    assert!(!look.is_sound());
    assert_eq!((look.repaired, look.not_repaired.len(), look.lost.len()), (0, 0, 0));

    world.cluster.take_log();
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies, report.copies_after), (found, [0, 0, 0, 0, 0, 6]));
    assert_eq!((report.repaired, report.copies_added), (2, 6));
    assert!(report.is_sound() && report.not_repaired.is_empty());
    assert_eq!(world.stored_again(), BTreeMap::from([(RequestKind::Put, 6)]));
    assert_eq!(world.copies(), [5; 6]);
    assert_eq!(world.cluster.charged().await, charged);
    // Nothing is left to do.
    let again = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((again.copies, again.repaired), ([0, 0, 0, 0, 0, 6], 0));
    assert_eq!(world.stored_again(), [].into());
}

#[tokio::test]
async fn after_the_window_it_is_offered_with_the_receipts_of_its_session() {
    let world = Losing::new(10);
    let uploaded = world.upload(302, 2_500, false).await;
    let charged = world.cluster.charged().await;
    let chunks: Vec<_> = world.cluster.stored().into_keys().collect();
    for address in &chunks {
        world.lose(world.cluster.nearest(*address)[4], *address);
    }
    world.cluster.clock.advance(LATER);
    world.cluster.take_log();

    // Somebody else has no proof.
    let stranger = world.cluster.client(&MemoryDisk::new());
    let theirs = verify(&stranger, map(&uploaded), REPAIR).await.unwrap();
    assert_eq!((theirs.copies_after, theirs.repaired), ([0, 0, 0, 0, 3, 0], 0));
    assert_eq!(theirs.not_repaired.len(), 3);
    for chunk in &theirs.not_repaired {
        assert_eq!(chunk.copies, 4);
        assert!(matches!(chunk.why, RepairFailure::NoProof), "{chunk:?}");
    }
    assert_eq!(world.stored_again(), [].into());

    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 0, 3], 3));
    assert_eq!(world.stored_again(), BTreeMap::from([(RequestKind::Offer, 3)]));
    assert_eq!((world.copies(), world.cluster.charged().await), (vec![5; 3], charged));
}

#[tokio::test]
async fn a_peer_that_was_not_quoted_is_offered_what_it_lacks() {
    let world = Losing::new(6);
    let away = world.cluster.members[0].peer();
    world
        .cluster
        .set_faults(move |to, _| if to == away { Fault::Unreachable } else { Fault::Deliver });
    let uploaded = world.upload(303, 6_500, false).await;
    let charged = world.cluster.charged().await;
    let near: Vec<ChunkAddress> = world.cluster.stored().into_keys().collect();
    let lacks = near.iter().filter(|address| world.cluster.nearest(**address)[..5].contains(&0));
    let lacks = lacks.count() as u64;
    assert!(lacks > 0 && world.stores[0].chunks() == 0);

    // While it is away its copies are missing, and it is said who does not answer.
    let away_still = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!(away_still.copies, [0, 0, 0, 0, lacks, 7 - lacks]);
    assert_eq!(away_still.silent.into_iter().collect::<Vec<_>>(), [away]);
    assert_eq!(away_still.not_repaired.len() as u64, lacks);
    let why = |why: &RepairFailure| matches!(why, RepairFailure::NotTaken(PutFailure::Peer(_)));
    assert!(away_still.not_repaired.iter().all(|chunk| why(&chunk.why)));

    world.cluster.heal();
    world.cluster.take_log();
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.repaired, report.copies_after), (lacks, [0, 0, 0, 0, 0, 7]));
    let offers = usize::try_from(lacks).unwrap();
    assert_eq!(world.stored_again(), BTreeMap::from([(RequestKind::Offer, offers)]));
    assert_eq!((world.stores[0].chunks(), world.cluster.charged().await), (offers, charged));
}

#[tokio::test]
async fn copies_that_are_not_what_their_peers_say_are_none() {
    let world = Losing::new(5);
    let uploaded = world.upload(304, 2_500, false).await;
    let charged = world.cluster.charged().await;
    let chunks: Vec<_> = world.cluster.stored().into_keys().collect();
    // One has none of it, one gives something else, and with one a chunk has rotted.
    let (hollow, wrong, rotten) = (0, 1, 2);
    for address in &chunks {
        world.lose(hollow, *address);
    }
    let has = || Some(Box::new(|_, _| true) as Box<dyn Fn(_, _) -> bool + Send + Sync>);
    world.cluster.members[hollow].play(Tricks { has: has(), ..Tricks::default() });
    let get = Box::new(|_, _| Some(Bytes::from_static(b"something")));
    world.cluster.members[wrong].play(Tricks { get: Some(get), ..Tricks::default() });
    assert!(world.stores[rotten].rot(chunks[0]));

    let believed = world.verify(map(&uploaded), only(ReadData::None)).await;
    assert_eq!((believed.copies, believed.bad_copies), ([0, 0, 0, 0, 0, 3], 0));
    let report = world.verify(map(&uploaded), only(ReadData::All)).await;
    assert_eq!((report.copies, report.short()), ([0, 0, 1, 2, 0, 0], 1));
    assert_eq!((report.bad_copies, report.copies_read, report.chunks_read), (7, 8, 3));
    let bad: Vec<_> = report.bad.iter().map(|copy| copy.peer).collect();
    for (node, count) in [(hollow, 3), (wrong, 3), (rotten, 1)] {
        let peer = world.cluster.members[node].peer();
        assert_eq!(bad.iter().filter(|bad| **bad == peer).count(), count, "node {node}");
    }

    // What rotted was moved aside when it was read, so there is room for a good one.
    world.cluster.book().behave();
    let repaired = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((repaired.copies_after, repaired.copies_added), ([0, 0, 0, 0, 0, 3], 4));
    assert_eq!((world.copies(), world.cluster.charged().await), (vec![5; 3], charged));
}

#[tokio::test]
async fn what_is_gone_everywhere_is_lost_and_said_so() {
    let world = Losing::new(5);
    let uploaded = world.upload(305, 2_500, false).await;
    let gone = *world.cluster.stored().keys().next().unwrap();
    for node in 0..5 {
        world.lose(node, gone);
    }
    for options in [only(ReadData::None), REPAIR] {
        let report = world.verify(map(&uploaded), options).await;
        assert_eq!((report.copies_after, report.lost), ([1, 0, 0, 0, 0, 2], vec![gone]));
        assert_eq!((report.repaired, report.not_repaired.len()), (0, 0));
    }
    // Whoever has no proof of it looks for it, too.
    let stranger = world.cluster.client(&MemoryDisk::new());
    let theirs = verify(&stranger, map(&uploaded), REPAIR).await.unwrap();
    assert_eq!((theirs.lost, theirs.not_repaired.len()), (vec![gone], 0));
    // Of a public upload the map itself may be.
    let public = world.upload(306, 2_500, true).await.public_address.unwrap();
    for node in 0..5 {
        world.lose(node, public);
    }
    let error = verify(&world.client(), Remote::Public(public), REPAIR).await.unwrap_err();
    assert!(matches!(error, VerifyError::DataMap(_)), "{error:?}");
}

/// An upload of four chunks of which one was stored when it was stopped; its data map.
async fn one_of_four(world: &Losing, source: &[u8]) -> Remote {
    world.cluster.book().let_through(1);
    let client = world.client();
    let uploading = client.upload(Cluster::file(source), &world.cluster.payer, Cluster::options());
    tokio::select! {
        result = uploading => panic!("{result:?}"),
        () = world.cluster.wait_for_hanging(15) => {}
    }
    world.cluster.book().behave();
    let data: Arc<dyn Disk> = Arc::new(world.data.clone());
    let session = world.client().sessions().await.unwrap().remove(0);
    Remote::DataMap(session_data_map(&data, &session.id).await.unwrap())
}

#[tokio::test]
async fn what_can_only_be_offered_and_has_no_receipts_is_said() {
    let world = Losing::new(5);
    let map = one_of_four(&world, &noise(314, 3_500)).await;
    world.cluster.clock.advance(LATER);
    let report = world.verify(map, REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([3, 0, 0, 0, 0, 1], 0));
    assert_eq!(report.not_repaired.len(), 3);
    for chunk in &report.not_repaired {
        assert!(matches!(chunk.why, RepairFailure::NoReceipts { found: 0 }), "{chunk:?}");
    }
    assert_eq!(world.stored_again().get(&RequestKind::Offer), None);
}

#[tokio::test]
async fn what_is_still_in_the_spill_is_stored_from_there() {
    let world = Losing::new(5);
    let source = noise(307, 3_500);
    let map = one_of_four(&world, &source).await;
    let charged = world.cluster.charged().await;
    // They are not lost: they wait here.
    let look = world.verify(map.clone(), only(ReadData::None)).await;
    assert_eq!((look.copies, look.lost.len()), ([3, 0, 0, 0, 0, 1], 0));
    let report = world.verify(map.clone(), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 0, 4], 3));
    assert_eq!(world.cluster.charged().await, charged);
    assert_eq!(world.cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn what_peers_refuse_is_said() {
    let world = Losing::new(5);
    let uploaded = world.upload(308, 900, false).await;
    let address = *world.cluster.stored().keys().next().unwrap();
    world.lose(3, address);
    let full = Refusal::Full { free_bytes: 0 };
    let refusal = full.clone();
    let admit = Box::new(move |_: &_| spillway_tests::Admit::Refuse(refusal.clone()));
    world.cluster.members[3].play(Tricks { admit: Some(admit), ..Tricks::default() });
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 1, 0], 0));
    let [chunk] = &report.not_repaired[..] else { panic!("{report:?}") };
    assert_eq!((chunk.address, chunk.copies), (address, 4));
    let RepairFailure::NotTaken(PutFailure::Refused(why)) = &chunk.why else { panic!("{chunk:?}") };
    assert_eq!(*why, full);
}

/// As long as a data map may be is not too long.
#[tokio::test]
async fn a_data_map_that_is_too_long_is_not_read() {
    let world = Losing::new(5);
    for (len, is_too_long) in [(MAX_ROOT_BYTES, false), (MAX_ROOT_BYTES + 1, true)] {
        let remote = Remote::DataMap(vec![0; len]);
        let error = verify(&world.client(), remote, REPAIR).await.unwrap_err();
        let VerifyError::DataMap(error) = error else { panic!("{error:?}") };
        let said = matches!(error, DownloadError::MapTooLong { found } if found == len);
        assert_eq!(said, is_too_long, "{error:?}");
    }
}

#[tokio::test]
async fn a_stop_ends_it() {
    let world = Losing::new(5);
    let uploaded = world.upload(309, 2_500, false).await;
    let stop = CancellationToken::new();
    let client = world.cluster.client_on(Arc::new(world.data.clone()), stop.clone());
    stop.cancel();
    let error = verify(&client, map(&uploaded), REPAIR).await.unwrap_err();
    assert!(matches!(error, VerifyError::Interrupted), "{error:?}");
}

#[tokio::test]
async fn what_is_silent_or_further_away_is_not_lost() {
    let world = Losing::new(10);
    let uploaded = world.upload(310, 2_500, false).await;
    world.cluster.set_faults(|_, kind| match kind {
        RequestKind::Has | RequestKind::Get => Fault::Unreachable,
        _ => Fault::Deliver,
    });
    for options in [only(ReadData::None), REPAIR] {
        let report = world.verify(map(&uploaded), options).await;
        assert_eq!((report.copies_after, report.lost.len()), ([3, 0, 0, 0, 0, 0], 0));
        assert!(report.silent.len() >= 5, "{:?}", report.silent);
        let named = if options.repair { 3 } else { 0 };
        assert_eq!(report.not_repaired.len(), named);
        for chunk in &report.not_repaired {
            assert!(matches!(chunk.why, RepairFailure::NoBytes(_)), "{chunk:?}");
        }
    }
    world.cluster.heal();

    let chunk = *world.cluster.stored().keys().next().unwrap();
    let near = world.cluster.nearest(chunk);
    let body = world.stores[near[0]].get(chunk).await.unwrap().unwrap();
    for node in &near[..5] {
        world.lose(*node, chunk);
    }
    let get = move |address, found| if address == chunk { Some(body.clone()) } else { found };
    world.cluster.members[near[5]].play(Tricks { get: Some(Box::new(get)), ..Tricks::default() });
    let look = world.verify(map(&uploaded), only(ReadData::None)).await;
    assert_eq!((look.copies, look.lost.len()), ([1, 0, 0, 0, 0, 2], 0));
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 0, 3], 1));
}

#[tokio::test]
async fn a_receipt_that_no_offer_may_have_does_not_spoil_the_others() {
    let world = Losing::new(5);
    // One node dates its receipts before the payment.
    let member = &world.cluster.members[0];
    let secret = member.secret.clone();
    let early = move |mut receipt: Receipt| {
        receipt.body.time = UnixTime(1);
        receipt.body.sign(&secret)
    };
    member.play(Tricks { receipt: Some(Box::new(early)), ..Tricks::default() });
    let uploaded = world.upload(311, 900, false).await;
    world.cluster.book().behave();
    let address = *world.cluster.stored().keys().next().unwrap();
    world.lose(1, address);
    world.cluster.clock.advance(LATER);
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 0, 1], 1), "{report:?}");
}

/// What is edited of six segments: three chunks are others.
fn edited(source: &[u8]) -> Vec<u8> {
    let mut edit = source.to_vec();
    edit[4 * SEGMENT + 1] ^= 1;
    edit
}

#[tokio::test]
async fn proofs_of_an_archive_do_not_hide_those_that_were_paid_here() {
    let world = Losing::new(5);
    let source = noise(312, 6 * SEGMENT);
    let uploaded = upload(&world.cluster, &world.data, &source, direct()).await.unwrap();
    let ours: BTreeSet<_> = world.cluster.stored().into_keys().collect();
    // On another network an edit was paid, a little later: its windows are open for longer.
    let other = Losing::new(5);
    other.cluster.clock.advance(Duration::from_mins(5));
    let theirs = upload(&other.cluster, &other.data, &edited(&source), direct()).await.unwrap();
    let way = exported(&other.cluster, &other.data, &theirs.upload_id).await;
    import(&world.cluster, &world.data, &way).await.unwrap();
    let theirs: BTreeSet<_> = other.cluster.stored().into_keys().collect();
    let shared: Vec<_> = ours.intersection(&theirs).collect();
    assert_eq!(shared.len(), 3);

    for address in &shared {
        world.lose(1, **address);
        world.lose(3, **address);
    }
    world.cluster.take_log();
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 0, 6], 3), "{report:?}");
    assert_eq!(world.stored_again(), BTreeMap::from([(RequestKind::Put, 6)]));
}

#[tokio::test]
async fn a_proof_that_is_not_paid_any_more_gives_way_to_an_older_one() {
    let world = Losing::new(5);
    let (cluster, data) = (&world.cluster, &world.data);
    let source = noise(313, 6 * SEGMENT);
    upload(cluster, data, &source, direct()).await.unwrap();
    let before: BTreeSet<_> = cluster.stored().into_keys().collect();
    // The windows are over, and nobody has one of the chunks any more: with an edit it is paid anew.
    cluster.clock.advance(LATER);
    cluster.chain.mine(1);
    let probe = Losing::new(5);
    upload(&probe.cluster, &probe.data, &edited(&source), direct()).await.unwrap();
    let edit: BTreeSet<_> = probe.cluster.stored().into_keys().collect();
    let shared = **before.intersection(&edit).collect::<Vec<_>>().first().unwrap();
    for node in 0..5 {
        world.lose(node, shared);
    }
    let old = cluster.charged().await;
    let uploaded = upload(cluster, data, &edited(&source), direct()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_already_stored), (4, 2));
    // Whoever takes it with one proof is not asked with the other.
    world.lose(1, shared);
    world.lose(3, shared);
    cluster.take_log();
    assert_eq!(world.verify(map(&uploaded), REPAIR).await.repaired, 1);
    assert_eq!(world.stored_again(), BTreeMap::from([(RequestKind::Put, 2)]));
    // That payment is taken back, and nobody has looked since.
    cluster.chain.reorg(2);
    assert_eq!(cluster.charged().await, old);
    for member in &cluster.members {
        cluster.start_member(member);
    }
    world.lose(1, shared);
    world.lose(3, shared);
    cluster.take_log();
    let report = world.verify(map(&uploaded), REPAIR).await;
    assert_eq!((report.copies_after, report.repaired), ([0, 0, 0, 0, 0, 6], 1), "{report:?}");
    let asked = world.stored_again();
    assert_eq!(asked[&RequestKind::Offer], 2, "{asked:?}");
    assert!(asked[&RequestKind::Put] >= 2, "{asked:?}");
}
