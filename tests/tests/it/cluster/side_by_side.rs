//! Uploads side by side share one set of limits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use spillway_client::{Gauge, Gauges, UploadError, WorkerLimits, Workers};
use spillway_disk::MemoryDisk;
use spillway_net::{Fault, RequestKind};
use spillway_tests::{Cluster, ClusterOptions, SEGMENT, Tricks, noise};
use spillway_types::limits::CLOSE_GROUP;
use tokio_util::sync::CancellationToken;

/// How many uploads run at once.
const UPLOADS: u64 = 6;

fn limits() -> WorkerLimits {
    WorkerLimits {
        begun: 3,
        uploads: 2,
        resumes: 1,
        streams: 1,
        downloads: 2,
        seals: 1,
        lookups: 3,
        quotes: 4,
        stores: 2,
        fetches: 1,
        verifies: 1,
        kibibytes: 16 * 1024,
    }
}

fn by_name(gauges: &Gauges) -> BTreeMap<&'static str, Gauge> {
    let Gauges { begun, uploads, resumes, streams, .. } = *gauges;
    let Gauges { seals, lookups, quotes, stores, fetches, verifies, kibibytes, .. } = *gauges;
    [
        ("begun", begun),
        ("uploads", uploads),
        ("resumes", resumes),
        ("streams", streams),
        ("seals", seals),
        ("lookups", lookups),
        ("quotes", quotes),
        ("stores", stores),
        ("fetches", fetches),
        ("verifies", verifies),
        ("kibibytes", kibibytes),
    ]
    .into()
}

/// How many requests of some kind are under way, as the network sees it: from when one is sent until it is
/// answered.
#[derive(Debug, Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl UnderWay {
    fn sent(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn answered(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    /// The most at once; now there are none.
    fn most(&self) -> usize {
        assert_eq!(self.now.load(Ordering::SeqCst), 0);
        self.most.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn many_uploads_do_no_more_at_a_time_than_one_set_of_limits_allows() {
    let cluster = Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() });
    let workers = Workers::new(limits());
    let most: Arc<Mutex<BTreeMap<&'static str, Gauge>>> = Arc::default();
    let (seen, watched) = (Arc::clone(&most), workers.clone());
    let (puts, quotes) = (Arc::new(UnderWay::default()), Arc::new(UnderWay::default()));
    for member in &cluster.members {
        let (put, quoted) = (Arc::clone(&puts), Arc::clone(&quotes));
        let receipt = move |receipt| {
            put.answered();
            receipt
        };
        let quote = move |_: &_, response| {
            quoted.answered();
            response
        };
        let (receipt, quote) = (Some(Box::new(receipt) as _), Some(Box::new(quote) as _));
        member.play(Tricks { receipt, quote, ..Tricks::default() });
    }
    let (put, quoted) = (Arc::clone(&puts), Arc::clone(&quotes));
    cluster.set_faults(move |_, kind| {
        match kind {
            RequestKind::Put => put.sent(),
            RequestKind::Quote => quoted.sent(),
            _ => {}
        }
        let mut seen = seen.lock().unwrap();
        for (name, gauge) in by_name(&watched.gauges()) {
            let most = seen.entry(name).or_insert(gauge);
            most.active = most.active.max(gauge.active);
            most.queued = most.queued.max(gauge.queued);
        }
        // So that the next is asked before this one has answered.
        Fault::Delay(Duration::from_millis(1))
    });
    let data = Arc::new(MemoryDisk::new());
    let client = cluster.client_among(data, CancellationToken::new(), workers.clone());
    let uploads = (0..UPLOADS).map(|seed| {
        let source = Cluster::file(&noise(seed, 4 * SEGMENT));
        client.upload(source, &cluster.payer, Cluster::options())
    });
    // One wallet: they wait for each other to pay.
    for done in join_all(uploads).await {
        assert_eq!(done.unwrap().chunks_stored, 4);
    }
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
    let most = most.lock().unwrap();
    // Two chunks are stored at once, with five peers each, and four peers are asked for prices.
    assert_eq!((puts.most(), quotes.most()), (2 * CLOSE_GROUP, 4), "{most:?}");
    let at_most = |name: &str| most[name].active;
    assert_eq!((at_most("uploads"), at_most("stores")), (2, 2), "{most:?}");
    assert_eq!((most["begun"].queued, most["uploads"].queued), (UPLOADS - 3, 1), "{most:?}");
    assert!(most["stores"].queued > 0, "{most:?}");
    let idle = by_name(&workers.gauges());
    assert!(idle.values().all(|gauge| (gauge.active, gauge.queued) == (0, 0)), "{idle:?}");
}

#[tokio::test]
async fn what_is_given_up_gives_its_places_back() {
    let cluster = Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() });
    let workers = Workers::new(limits());
    let (stop, data) = (CancellationToken::new(), MemoryDisk::new());
    let client = cluster.client_among(Arc::new(data), stop.clone(), workers.clone());
    let stopper = stop.clone();
    cluster.set_faults(move |_, kind| {
        if kind == RequestKind::Put {
            stopper.cancel();
        }
        Fault::Deliver
    });
    let source = Cluster::file(&noise(9, 4 * SEGMENT));
    let stopped = client.upload(source, &cluster.payer, Cluster::options()).await;
    assert!(matches!(stopped, Err(UploadError::PartialUpload { .. })), "{stopped:?}");
    let idle = by_name(&workers.gauges());
    assert!(idle.values().all(|gauge| (gauge.active, gauge.queued) == (0, 0)), "{idle:?}");
}
