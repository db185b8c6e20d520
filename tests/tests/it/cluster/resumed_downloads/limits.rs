//! What a process holds does not grow with the number of its downloads.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use spillway_client::Gauge;
use spillway_disk::{Clock, ManualClock};
use spillway_tests::HookedDisk;
use spillway_types::UnixTime;

use super::*;

/// A clock that a disk asks whenever it changes a file, and that looks at the gates then.
#[derive(Debug)]
struct Watch {
    inner: ManualClock,
    workers: Workers,
    seen: Mutex<Vec<(u64, u64)>>,
}

#[async_trait]
impl Clock for Watch {
    fn now(&self) -> UnixTime {
        let gauges = self.workers.gauges();
        self.seen.lock().unwrap().push((gauges.fetches.active, gauges.kibibytes.active));
        self.inner.now()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration).await;
    }
}

#[tokio::test]
async fn a_segment_keeps_its_place_and_its_bytes_until_it_is_written() {
    let contents = noise(330, 5 * SEGMENT);
    let stored = Stored::file(&contents).await;
    let workers = Workers::new(WorkerLimits { fetches: 1, ..WorkerLimits::default() });
    let watch = Arc::new(Watch {
        inner: ManualClock::new(UnixTime(1_700_000_000)),
        workers: workers.clone(),
        seen: Mutex::default(),
    });
    let disk = Arc::new(MemoryDisk::new().with_clock(watch.clone()));
    let (progress, stop) = (ProgressSender::default(), CancellationToken::new());
    let done = stored.run_among(disk, Overwrite::Never, progress, (stop, workers.clone())).await;
    assert_eq!(done.unwrap().chunks, 5);
    let seen = watch.seen.lock().unwrap();
    let least = (spillway_types::limits::MAX_CHUNK_BYTES + SEGMENT).div_ceil(1024) as u64;
    let held = seen.iter().filter(|(fetches, bytes)| *fetches == 1 && *bytes >= least).count();
    assert!(held >= 5, "{seen:?}");
    let idle = workers.gauges();
    assert_eq!((idle.fetches.active, idle.kibibytes.active, idle.downloads.active), (0, 0, 0));
}

#[tokio::test]
async fn what_is_there_is_read_in_its_turn() {
    let memory = MemoryDisk::new();
    memory.create_dir_all(Path::new("album")).unwrap();
    let file = noise(331, 5 * SEGMENT);
    memory.write_durable(Path::new("album/file"), &file, Overwrite::Never).unwrap();
    let source = Source::Path { disk: Arc::new(memory), path: "album".into() };
    let stored = Stored::of(six(), source).await;
    stored.run(&stored.disk).await.unwrap();
    let workers = Workers::new(WorkerLimits { seals: 1, ..WorkerLimits::default() });
    let seen: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
    let (pushed, watched) = (Arc::clone(&seen), workers.clone());
    let watch = move |_| {
        let gauges = watched.gauges();
        pushed.lock().unwrap().push((gauges.seals.active, gauges.kibibytes.active));
    };
    let disk = Arc::new(HookedDisk::new(Arc::new(stored.disk.clone()), watch));
    let among = (CancellationToken::new(), workers);
    let progress = ProgressSender::default();
    let done = stored.run_among(disk, Overwrite::Replace, progress, among).await.unwrap();
    assert_eq!((done.chunks, done.chunks_resumed), (1, 5));
    assert_eq!(*seen.lock().unwrap(), [(1, 1); 5]);
}

#[tokio::test]
async fn downloads_over_the_limit_wait_for_their_turn() {
    let contents = noise(332, 4 * SEGMENT);
    let stored = Stored::file(&contents).await;
    let workers = Workers::new(WorkerLimits { downloads: 1, ..WorkerLimits::default() });
    stored.cluster.book().give_only(2);
    let (progress, mut seen) = ProgressSender::channel();
    let (waiting, begun) = ProgressSender::channel();
    let stop = CancellationToken::new();
    let other: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let run = |disk: Arc<dyn Disk>, progress, stop: CancellationToken| {
        stored.run_among(disk, Overwrite::Never, progress, (stop, workers.clone()))
    };
    let first = run(Arc::new(stored.disk.clone()), progress, stop.clone());
    let second = run(Arc::clone(&other), waiting, CancellationToken::new());
    let unwanted = CancellationToken::new();
    let third = run(Arc::new(MemoryDisk::new()), ProgressSender::default(), unwanted.clone());
    let (first, (second, third, ())) = tokio::join!(first, async {
        seen.wait_for(|now| now.chunks_done == 2).await.unwrap();
        tokio::join!(second, third, async {
            // Both were asked before this.
            let downloads = workers.gauges().downloads;
            assert_eq!(downloads, Gauge { active: 1, queued: 2, budget: 1 });
            assert_eq!(begun.borrow().chunks_total, None, "nothing is begun");
            stored.cluster.book().behave();
            unwanted.cancel();
            stop.cancel();
        })
    });
    assert!(matches!(first, Err(DownloadError::Unfinished { chunks: 2, .. })), "{first:?}");
    assert_eq!(second.unwrap().chunks, 4);
    assert!(other.read(Path::new(BACK), u64::MAX).unwrap() == contents);
    assert!(matches!(third, Err(DownloadError::Interrupted)), "{third:?}");
}
