//! Peers that are busy, or whose connections break, when they are asked for copies: how often they are
//! asked again, and how long that takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_client::{
    Client, ClientParts, PutFailure, ReadData, Remote, RepairFailure, UploadOptions, Verified,
    VerifyOptions, VerifyUpload, WorkerLimits, Workers,
};
use spillway_disk::MemoryDisk;
use spillway_net::{Peers, PeersError, RequestKind};
use spillway_tests::{Admit, Cluster, SEGMENT, Tricks, noise};
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, Refusal, WinsRequest, WinsResponse,
};
use tokio_util::sync::CancellationToken;

use super::steps::{arc, direct, lose, losing, upload};

/// What goes wrong with a request, the nth of its kind to one peer, from 0. A question for copies that
/// meets nobody is never answered.
type Wrong = Box<dyn Fn(RequestKind, usize) -> Option<PeersError> + Send + Sync>;

/// The network, where one peer answers questions for copies only sometimes.
struct Moody {
    inner: Arc<dyn Peers>,
    of: PeerKey,
    /// Whether nobody knows of it.
    is_away: bool,
    wrong: Wrong,
    asked: Mutex<BTreeMap<RequestKind, usize>>,
}

impl fmt::Debug for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moody")
    }
}

impl Moody {
    fn new(cluster: &Cluster, is_away: bool, wrong: Wrong) -> Arc<Self> {
        let (inner, of) = (cluster.peers(), cluster.members[0].peer());
        Arc::new(Self { inner, of, is_away, wrong, asked: Mutex::default() })
    }

    fn client(self: &Arc<Self>, cluster: &Cluster, data: &MemoryDisk) -> Client {
        Client::new(ClientParts {
            data: arc(data),
            clock: Arc::new(cluster.clock.clone()),
            peers: self.clone(),
            payments: Arc::new(cluster.payments()),
            domain: cluster.domain,
            stop: CancellationToken::new(),
            workers: Workers::new(WorkerLimits::default()),
        })
    }

    fn ask(&self, peer: PeerKey, kind: RequestKind) -> Result<(), PeersError> {
        if peer != self.of {
            return Ok(());
        }
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(kind).or_default();
        *count += 1;
        (self.wrong)(kind, *count - 1).map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Peers for Moody {
    fn local(&self) -> PeerKey {
        self.inner.local()
    }

    async fn closest(&self, at: ChunkAddress, count: usize) -> Result<Vec<PeerKey>, PeersError> {
        let mut found = self.inner.closest(at, count).await?;
        found.retain(|peer| !self.is_away || *peer != self.of);
        Ok(found)
    }

    async fn known_closest(
        &self,
        at: ChunkAddress,
        count: usize,
    ) -> Result<Vec<PeerKey>, PeersError> {
        self.inner.known_closest(at, count).await
    }

    async fn quote(&self, to: PeerKey, ask: QuoteRequest) -> Result<QuoteResponse, PeersError> {
        self.inner.quote(to, ask).await
    }

    async fn put(
        &self,
        to: PeerKey,
        ask: PutRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError> {
        self.inner.put(to, ask, chunk).await
    }

    async fn offer(
        &self,
        to: PeerKey,
        ask: OfferRequest,
        chunk: Bytes,
    ) -> Result<PutResponse, PeersError> {
        self.inner.offer(to, ask, chunk).await
    }

    async fn get(&self, from: PeerKey, at: ChunkAddress) -> Result<Option<Bytes>, PeersError> {
        self.ask(from, RequestKind::Get)?;
        self.inner.get(from, at).await
    }

    async fn has(&self, of: PeerKey, ask: HasRequest) -> Result<HasResponse, PeersError> {
        match self.ask(of, RequestKind::Has) {
            Err(PeersError::Refused { refusal, .. }) => Ok(HasResponse { present: Err(refusal) }),
            Err(PeersError::NoPeers) => std::future::pending().await,
            Err(error) => Err(error),
            Ok(()) => self.inner.has(of, ask).await,
        }
    }

    async fn wins(&self, of: PeerKey, ask: WinsRequest) -> Result<WinsResponse, PeersError> {
        self.inner.wins(of, ask).await
    }
}

/// Verifies one chunk on five nodes, the first of which is asked through [`Moody`]; how often it was
/// asked, and how long that took.
async fn verified(wrong: Wrong, read: ReadData) -> (Verified, BTreeMap<RequestKind, usize>) {
    let (cluster, _) = losing(5);
    let data = MemoryDisk::new();
    let uploaded = upload(&cluster, &data, &noise(500, 900), direct()).await.unwrap();
    let peers = Moody::new(&cluster, false, wrong);
    let client = peers.client(&cluster, &data);
    let options = VerifyOptions { read, ..VerifyOptions::default() };
    let remote = Remote::DataMap(uploaded.data_map.unwrap());
    let report = client.verify(remote, options).await.unwrap();
    let asked = peers.asked.lock().unwrap().clone();
    (report, asked)
}

fn busy(after: Duration) -> PeersError {
    let after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    PeersError::Refused { peer: PeerKey([0; 32]), refusal: Refusal::Busy { after_ms } }
}

/// As often as a put would be, and as long as it says, up to ten seconds each time.
#[tokio::test]
async fn a_busy_peer_is_asked_again_as_long_as_it_says() {
    let secs = Duration::from_secs;
    for (times, after, asked, waited) in [
        (0, secs(5), 1, secs(0)),
        (1, secs(5), 2, secs(5)),
        (3, secs(5), 4, secs(15)),
        (4, secs(5), 4, secs(15)),
        (3, secs(0), 4, Duration::from_millis(3_500)),
        (3, Duration::from_millis(700), 4, Duration::from_millis(3_700)),
        (3, Duration::MAX, 4, secs(30)),
    ] {
        for kind in [RequestKind::Has, RequestKind::Get] {
            let wrong = move |of, count| (of == kind && count < times).then(|| busy(after));
            let read = if kind == RequestKind::Get { ReadData::All } else { ReadData::None };
            let (report, counts) = verified(Box::new(wrong), read).await;
            assert_eq!((counts[&kind], report.elapsed), (asked, waited), "{kind:?} {after:?}");
            let silent = usize::from(times > 3);
            assert_eq!(report.copies[5 - silent], 1, "{report:?}");
            assert_eq!((report.silent.len(), report.bad_copies), (silent, 0));
        }
    }
}

#[tokio::test]
async fn after_a_broken_connection_a_peer_is_asked_once_more() {
    let peer = PeerKey([0; 32]);
    let full = Refusal::Full { free_bytes: 0 };
    for (error, times, asked, waited) in [
        (PeersError::Broken { peer }, 1, 2, Duration::from_millis(500)),
        (PeersError::Broken { peer }, 2, 2, Duration::from_millis(500)),
        (PeersError::Protocol { peer }, 1, 1, Duration::ZERO),
        (PeersError::Refused { peer, refusal: full }, 1, 1, Duration::ZERO),
    ] {
        let (name, is_back) = (format!("{error:?}"), asked > times);
        let error = Mutex::new(error);
        let wrong = move |_, count| {
            let error = error.lock().unwrap();
            (count < times).then(|| copied(&error))
        };
        let (report, counts) = verified(Box::new(wrong), ReadData::None).await;
        assert_eq!((counts[&RequestKind::Has], report.elapsed), (asked, waited), "{name}");
        let silent: BTreeSet<PeerKey> = report.silent;
        assert_eq!((silent.len(), report.copies[5]), (usize::from(!is_back), u64::from(is_back)));
    }
}

/// Errors have no copies.
fn copied(error: &PeersError) -> PeersError {
    match error {
        PeersError::Broken { peer } => PeersError::Broken { peer: *peer },
        PeersError::Protocol { peer } => PeersError::Protocol { peer: *peer },
        PeersError::Refused { peer, refusal } => {
            PeersError::Refused { peer: *peer, refusal: refusal.clone() }
        }
        other => panic!("{other:?}"),
    }
}

/// One that says that it has a chunk which it cannot read any more has none.
#[tokio::test]
async fn a_copy_that_its_peer_cannot_read_is_bad_and_one_that_is_not_shown_is_unknown() {
    for (refusal, bad) in [(Refusal::StorageFailed, true), (Refusal::Full { free_bytes: 0 }, false)]
    {
        let peer = PeerKey([0; 32]);
        let wrong = move |kind, _| {
            let refused = || PeersError::Refused { peer, refusal: refusal.clone() };
            (kind == RequestKind::Get).then(refused)
        };
        let (report, _) = verified(Box::new(wrong), ReadData::All).await;
        assert_eq!((report.copies[4], report.copies_read), (1, 4), "{report:?}");
        let unknown = usize::from(!bad);
        assert_eq!((report.bad_copies, report.silent.len()), (u64::from(bad), unknown));
    }
}

/// Four attempts, and between them as long as the peer says, or else half a second, one and two.
#[tokio::test]
async fn a_peer_that_is_busy_when_a_chunk_is_stored_again_is_waited_for() {
    for (busy, after_ms, waited, is_stored) in [
        (1, 3_000, 3_000, true),
        (3, 3_000, 9_000, true),
        (3, 0, 3_500, true),
        (3, u32::MAX, 30_000, true),
        (4, 3_000, 9_000, false),
    ] {
        let (cluster, stores) = losing(5);
        let data = MemoryDisk::new();
        let uploaded = upload(&cluster, &data, &noise(501, 900), direct()).await.unwrap();
        lose(&stores[3], *cluster.stored().keys().next().unwrap());
        let (puts, workers) = (Mutex::new(0), Workers::new(WorkerLimits::default()));
        let seen = workers.clone();
        let admit = move |_: &_| {
            // The chunk, and what the transport holds of it.
            assert_eq!(seen.gauges().kibibytes.active, 1 + 5 * 256);
            let mut puts = puts.lock().unwrap();
            *puts += 1;
            if *puts <= busy { Admit::Refuse(Refusal::Busy { after_ms }) } else { Admit::Serve }
        };
        cluster.members[3].play(Tricks { admit: Some(Box::new(admit)), ..Tricks::default() });
        let options =
            VerifyOptions { read: ReadData::None, repair: true, ..VerifyOptions::default() };
        let remote = Remote::DataMap(uploaded.data_map.unwrap());
        let client = cluster.client_among(arc(&data), CancellationToken::new(), workers);
        let report = client.verify(remote, options).await.unwrap();
        assert_eq!(report.repaired, u64::from(is_stored), "busy {busy} times: {report:?}");
        assert_eq!(report.elapsed, Duration::from_millis(waited), "busy {busy} times, {after_ms}");
        let why = report.not_repaired.first().map(|chunk| &chunk.why);
        let refused =
            matches!(why, Some(RepairFailure::NotTaken(PutFailure::Refused(Refusal::Busy { .. }))));
        assert_eq!(refused, !is_stored, "{why:?}");
        assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    }
}

/// What has all the copies that there can be lacks nobody who could be asked.
#[tokio::test]
async fn with_fewer_than_five_peers_that_is_said() {
    for is_lost in [false, true] {
        let (cluster, stores) = losing(5);
        let data = MemoryDisk::new();
        let uploaded = upload(&cluster, &data, &noise(502, 900), direct()).await.unwrap();
        if is_lost {
            lose(&stores[2], *cluster.stored().keys().next().unwrap());
        }
        let peers = Moody::new(&cluster, true, Box::new(|_, _| None));
        let options =
            VerifyOptions { read: ReadData::None, repair: true, ..VerifyOptions::default() };
        let remote = Remote::DataMap(uploaded.data_map.unwrap());
        let report = peers.client(&cluster, &data).verify(remote, options).await.unwrap();
        let added = u64::from(is_lost);
        assert_eq!((report.copies[3], report.copies[4]), (added, 1 - added));
        assert_eq!((report.copies_after, report.copies_added), ([0, 0, 0, 0, 1, 0], added));
        let [chunk] = &report.not_repaired[..] else { panic!("{report:?}") };
        assert!(matches!(chunk.why, RepairFailure::NoPeers), "{chunk:?}");
    }
}

fn waiting() -> UploadOptions {
    UploadOptions { verify: VerifyUpload::Wait, ..direct() }
}

/// What this says when nothing more happens beside it.
async fn settled<T>(look: impl Fn() -> T) -> T {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    look()
}

/// Each holds a chunk in memory.
#[tokio::test]
async fn four_missed_chunks_are_stored_again_at_once() {
    let (cluster, stores) = losing(5);
    let data = MemoryDisk::new();
    let uploaded = upload(&cluster, &data, &noise(503, 9_500), direct()).await.unwrap();
    for address in cluster.stored().into_keys() {
        stores[..3].iter().for_each(|store| lose(store, address));
    }
    for member in &cluster.members[..3] {
        let admit = |_: &_| Admit::Hang;
        member.play(Tricks { admit: Some(Box::new(admit)), ..Tricks::default() });
    }
    cluster.book().forget_hanging();
    let workers = Workers::new(WorkerLimits::default());
    let client = cluster.client_among(arc(&data), CancellationToken::new(), workers.clone());
    let gauge = async {
        cluster.wait_for_hanging(4 * 3).await;
        settled(|| workers.gauges().stores).await
    };
    let stores = tokio::select! {
        result = client.resume(&uploaded.upload_id, &cluster.payer, None, waiting()) => {
            panic!("{result:?}")
        }
        stores = gauge => stores,
    };
    assert_eq!((stores.active, stores.queued), (4, 0));
}

/// 64 chunks are one question to a peer.
#[tokio::test]
async fn two_groups_of_chunks_are_asked_for_at_once() {
    let (cluster, _) = losing(5);
    let data = MemoryDisk::new();
    let source = noise(504, 3 * 64 * SEGMENT);
    let uploaded = upload(&cluster, &data, &source, direct()).await.unwrap();
    let silent =
        |kind: RequestKind, _: usize| (kind == RequestKind::Has).then_some(PeersError::NoPeers);
    let peers = Moody::new(&cluster, false, Box::new(silent));
    let client = peers.client(&cluster, &data);
    let count = || peers.asked.lock().unwrap().get(&RequestKind::Has).copied();
    let asked = tokio::select! {
        result = client.resume(&uploaded.upload_id, &cluster.payer, None, waiting()) => {
            panic!("{result:?}")
        }
        asked = settled(count) => asked,
    };
    assert_eq!(asked, Some(2));
}
