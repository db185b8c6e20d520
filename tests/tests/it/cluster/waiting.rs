//! What waits without end, for its user or for a stream, keeps nothing from others.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{future::join_all, poll};
use spillway_client::{
    Approve, BatchOptions, CommitChoice, Gauge, Offer, Source, StreamSource, UploadError,
    UploadOptions, WorkerLimits, Workers,
};
use spillway_disk::{MemoryDisk, RealDisk};
use spillway_tests::{Cluster, SEGMENT, TOKENS, Tricks, noise};
use spillway_types::{Atto, QuoteResponse, Wei, limits::QUOTE_LIFETIME};
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_util::sync::CancellationToken;

use super::steps::{
    arc, assert_reads, direct, exported, five, import, interrupt, interrupted, the_only, upload,
};

/// Far longer than any of this takes: what is not done by then waits for what it must not wait for.
const NEVER: Duration = Duration::from_mins(1);

/// Questions and reads that are heard of; none of these has more than a handful.
const HEARD: usize = 64;

/// Says that it was asked, and answers when it is told to.
struct Late {
    asked: mpsc::Sender<Offer>,
    answer: watch::Receiver<Option<bool>>,
}

#[async_trait]
impl Approve for Late {
    async fn approve(&self, offer: &Offer) -> bool {
        self.asked.try_send(*offer).unwrap();
        let mut answer = self.answer.clone();
        let answer = answer.wait_for(Option::is_some).await.unwrap();
        answer.unwrap()
    }
}

/// A user who takes time: the options that ask, what was asked, and where the answer goes.
fn late() -> (UploadOptions, mpsc::Receiver<Offer>, watch::Sender<Option<bool>>) {
    let (asked, offers) = mpsc::channel(HEARD);
    let (answers, answer) = watch::channel(None);
    let approve: Arc<dyn Approve> = Arc::new(Late { asked, answer });
    (UploadOptions { approve: Some(approve), ..direct() }, offers, answers)
}

/// It comes twice, and neither waits for the other.
async fn twice<T>(comes: &mut mpsc::Receiver<T>) {
    for _ in 0..2 {
        let next = time::timeout(NEVER, comes.recv()).await;
        assert!(next.expect("it waits for the other").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_for_its_user_lets_others_work() {
    let cluster = five();
    let limits = WorkerLimits { begun: 3, uploads: 1, ..WorkerLimits::default() };
    let workers = Workers::new(limits);
    let disk = Arc::new(MemoryDisk::new());
    let client = cluster.client_among(disk, CancellationToken::new(), workers.clone());
    let (asking, mut offers, answers) = late();
    let sources: Vec<Vec<u8>> = (500..503).map(|seed| noise(seed, 2 * SEGMENT)).collect();
    let upload = |at: usize, options: &UploadOptions| {
        client.upload(Cluster::file(&sources[at]), &cluster.payer, options.clone())
    };
    let mut asked = Box::pin(async { tokio::join!(upload(0, &asking), upload(1, &asking)) });
    tokio::select! {
        done = &mut asked => panic!("{done:?}"),
        () = twice(&mut offers) => {}
    }
    let gauges = workers.gauges();
    assert_eq!((gauges.begun.active, gauges.uploads.active), (2, 0));
    // The third of three works, and a fourth does not begin: what they hold has a limit.
    let third = time::timeout(NEVER, upload(2, &direct())).await.expect("it waits for nobody");
    assert_reads(&cluster, &third.unwrap(), &sources[2]).await;
    let more: Vec<_> = (503..505)
        .map(|seed| {
            client.upload(Cluster::file(&noise(seed, SEGMENT)), &cluster.payer, asking.clone())
        })
        .collect();
    let mut more = Box::pin(join_all(more));
    tokio::select! {
        done = &mut more => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    assert_eq!(workers.gauges().begun, Gauge { active: 3, queued: 1, budget: 3 });
    drop(more);
    answers.send(Some(true)).unwrap();
    let (first, second) = asked.await;
    assert_reads(&cluster, &first.unwrap(), &sources[0]).await;
    assert_reads(&cluster, &second.unwrap(), &sources[1]).await;
    assert_eq!((workers.gauges().begun.active, workers.gauges().uploads.active), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_user_has_answered_waits_until_it_may_work() {
    let cluster = five();
    let workers = Workers::new(WorkerLimits { uploads: 1, ..WorkerLimits::default() });
    let disk = Arc::new(MemoryDisk::new());
    let client = cluster.client_among(disk, CancellationToken::new(), workers.clone());
    let (asking, mut offers, answers) = late();
    let [source, other] = [560, 561].map(|seed| noise(seed, 2 * SEGMENT));
    let mut asked = Box::pin(client.upload(Cluster::file(&source), &cluster.payer, asking));
    tokio::select! {
        done = &mut asked => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    // Another works, and is held up while it stores.
    cluster.book().let_through(0);
    let mut works = Box::pin(client.upload(Cluster::file(&other), &cluster.payer, direct()));
    tokio::select! {
        done = &mut works => panic!("{done:?}"),
        () = cluster.wait_for_hanging(1) => {}
    }
    answers.send(Some(true)).unwrap();
    assert!(time::timeout(NEVER, &mut asked).await.is_err());
    assert_eq!(workers.gauges().uploads, Gauge { active: 1, queued: 1, budget: 1 });
    drop(works);
    cluster.book().behave();
    assert_reads(&cluster, &asked.await.unwrap(), &source).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_its_user_keeps_no_place_of_those_that_go_on() {
    let cluster = five();
    let source = noise(562, 2 * SEGMENT);
    let (here, there) = (MemoryDisk::new(), MemoryDisk::new());
    cluster.chain.set_tokens(cluster.token, cluster.payer.address(), Atto::ZERO);
    upload(&cluster, &here, &source, direct()).await.unwrap_err();
    cluster.chain.set_tokens(cluster.token, cluster.payer.address(), TOKENS);
    let id = the_only(&cluster, &here).await;
    // What came with an archive is asked for again.
    import(&cluster, &there, &exported(&cluster, &here, &id).await).await.unwrap();
    let workers = Workers::new(WorkerLimits::default());
    let client = cluster.client_among(arc(&there), CancellationToken::new(), workers.clone());
    let (asking, mut offers, answers) = late();
    let mut asked = Box::pin(client.resume(&id, &cluster.payer, None, asking));
    tokio::select! {
        done = &mut asked => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    let gauges = workers.gauges();
    let active = [gauges.resumes, gauges.begun, gauges.uploads].map(|gauge| gauge.active);
    assert_eq!(active, [0, 1, 0]);
    answers.send(Some(true)).unwrap();
    assert_reads(&cluster, &asked.await.unwrap(), &source).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_paid_is_stored_though_no_upload_may_begin() {
    let cluster = five();
    let source = noise(510, 6 * SEGMENT);
    let (data, id) = interrupted(&cluster, &source, 2, direct()).await;
    // Sealed only: nobody gives it a price.
    let other = noise(511, SEGMENT);
    let none = |_: &_, mut response: QuoteResponse| {
        response.answers.as_mut().unwrap().clear();
        response
    };
    for member in &cluster.members {
        member.play(Tricks { quote: Some(Box::new(none)), ..Tricks::default() });
    }
    let client = cluster.client(&data);
    client.upload(Cluster::file(&other), &cluster.payer, direct()).await.unwrap_err();
    cluster.book().behave();
    let sessions = client.sessions().await.unwrap();
    let sealed = sessions.iter().find(|session| session.id != id).unwrap().id.clone();

    let limits = WorkerLimits { begun: 1, uploads: 1, resumes: 1, ..WorkerLimits::default() };
    let workers = Workers::new(limits);
    let client = cluster.client_among(arc(&data), CancellationToken::new(), workers.clone());
    let (asking, mut offers, _answers) = late();
    let asked = client.upload(Cluster::file(&noise(512, SEGMENT)), &cluster.payer, asking);
    let mut asked = Box::pin(asked);
    tokio::select! {
        done = &mut asked => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    // One that has nothing paid begins like an upload, and waits without a place.
    let mut begins = Box::pin(client.resume(&sealed, &cluster.payer, None, direct()));
    assert!(poll!(&mut begins).is_pending());
    let gauges = workers.gauges();
    assert_eq!((gauges.begun.queued, gauges.resumes.active), (1, 0));
    let goes_on = client.resume(&id, &cluster.payer, None, direct());
    let uploaded = time::timeout(NEVER, goes_on).await.expect("it waits for nobody").unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    drop(asked);
    assert_reads(&cluster, &begins.await.unwrap(), &other).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_paid_is_stored_before_the_rest_waits_for_its_turn() {
    let cluster = five();
    let batch = BatchOptions { max_leaves: 3, commit: CommitChoice::OneByOne };
    let options = UploadOptions { batch, ..direct() };
    let source = noise(520, 6 * SEGMENT);
    let (data, id) = interrupted(&cluster, &source, 1, options.clone()).await;
    let limits = WorkerLimits { begun: 1, ..WorkerLimits::default() };
    let workers = Workers::new(limits);
    let client = cluster.client_among(arc(&data), CancellationToken::new(), workers.clone());
    let (asking, mut offers, _answers) = late();
    let asked = client.upload(Cluster::file(&noise(521, SEGMENT)), &cluster.payer, asking);
    let mut asked = Box::pin(asked);
    tokio::select! {
        done = &mut asked => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    let goes_on = client.resume(&id, &cluster.payer, None, options);
    let mut goes_on = Box::pin(goes_on);
    assert!(time::timeout(NEVER, &mut goes_on).await.is_err(), "the rest begins when it may");
    assert_eq!(cluster.stored().len(), 3);
    assert_eq!((workers.gauges().begun.queued, workers.gauges().resumes.active), (1, 1));
    drop(asked);
    assert_reads(&cluster, &goes_on.await.unwrap(), &source).await;
    assert_eq!((workers.gauges().begun.active, workers.gauges().resumes.active), (0, 0));
}

/// Lets prices end before each of the first answers, and the chain's fee become this then.
struct Slow {
    cluster: Arc<Cluster>,
    fees: Mutex<Vec<Option<Wei>>>,
    offers: Mutex<Vec<Offer>>,
}

#[async_trait]
impl Approve for Slow {
    async fn approve(&self, offer: &Offer) -> bool {
        self.offers.lock().unwrap().push(*offer);
        let Some(fee) = self.fees.lock().unwrap().pop() else { return true };
        self.cluster.clock.advance(2 * QUOTE_LIFETIME);
        if let Some(fee) = fee {
            self.cluster.chain.set_base_fee(fee);
        }
        self.cluster.chain.mine(1);
        true
    }
}

#[tokio::test]
async fn prices_that_are_too_old_when_the_user_answers_are_asked_for_anew() {
    let dear = Wei(100_000_000_000);
    for (fees, questions) in [(vec![None], 1), (vec![Some(dear)], 2), (vec![None, Some(dear)], 2)] {
        let cluster = Arc::new(five());
        let slow = Arc::new(Slow {
            cluster: Arc::clone(&cluster),
            fees: Mutex::new(fees),
            offers: Mutex::default(),
        });
        let options = UploadOptions { approve: Some(slow.clone()), ..direct() };
        let source = noise(530, 3 * SEGMENT);
        let uploaded = cluster
            .client(&MemoryDisk::new())
            .upload(Cluster::file(&source), &cluster.payer, options)
            .await
            .unwrap();
        assert_reads(&cluster, &uploaded, &source).await;
        assert_eq!(cluster.charged().await.paid, Atto(3 * Cluster::CHUNK_COST));
        let offers = slow.offers.lock().unwrap();
        assert_eq!(offers.len(), questions, "the same price needs no second yes: {offers:?}");
        assert!(offers.windows(2).all(|pair| pair[0].gas_cost < pair[1].gas_cost), "{offers:?}");
    }
}

#[tokio::test]
async fn what_another_upload_has_planned_meanwhile_is_not_planned_twice() {
    // While the user thinks, the same chunks are paid for by another upload, and stored.
    let (cluster, data) = (five(), MemoryDisk::new());
    let source = noise(531, 4 * SEGMENT);
    let (asking, mut offers, answers) = late();
    let client = cluster.client(&data);
    let mut asked = Box::pin(client.upload(Cluster::file(&source), &cluster.payer, asking));
    tokio::select! {
        done = &mut asked => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    let mut longer = source.clone();
    longer.extend(noise(532, 2 * SEGMENT));
    interrupt(&cluster, 1, client.upload(Cluster::file(&longer), &cluster.payer, direct())).await;
    let before = cluster.charged().await.paid;
    cluster.clock.advance(2 * QUOTE_LIFETIME);
    cluster.chain.mine(1);
    answers.send(Some(true)).unwrap();
    let uploaded = asked.await.unwrap();
    assert_reads(&cluster, &uploaded, &source).await;
    let more = cluster.charged().await.paid.saturating_sub(before);
    assert!(more < Atto(4 * Cluster::CHUNK_COST), "some was paid for there: {more}");
}

/// A stream that gives a few bytes, says that it is read on, and is silent until its other end is gone.
struct Silent {
    bytes: Vec<u8>,
    reads: mpsc::Sender<()>,
    end: Receiver<()>,
}

impl Read for Silent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.bytes.is_empty() {
            let count = self.bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes.drain(..count);
            return Ok(count);
        }
        self.reads.try_send(()).unwrap();
        // The end is that nobody can send any more.
        let _ = self.end.recv();
        Ok(0)
    }
}

fn silent(bytes: Vec<u8>, reads: &mpsc::Sender<()>) -> (Source, SyncSender<()>) {
    let (open, end) = sync_channel(1);
    let stream = Silent { bytes, reads: reads.clone(), end };
    (Source::Stream(StreamSource(Box::new(stream))), open)
}

fn piped(bytes: &[u8]) -> Source {
    Source::Stream(StreamSource(Box::new(io::Cursor::new(bytes.to_vec()))))
}

#[tokio::test]
async fn silent_streams_hold_nothing_that_others_wait_for() {
    let cluster = five();
    // Enough bytes to seal one segment at a time.
    let limits = WorkerLimits { streams: 2, kibibytes: 4, ..WorkerLimits::default() };
    let workers = Workers::new(limits);
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let stop = CancellationToken::new();
    let client = cluster.client_among(disk.clone(), stop.clone(), workers.clone());
    let (reads, mut read) = mpsc::channel(HEARD);
    // One says nothing at all, one a segment and a half.
    let (first, first_end) = silent(Vec::new(), &reads);
    let (second, second_end) = silent(noise(540, SEGMENT + SEGMENT / 2), &reads);
    let (third, third_end) = silent(Vec::new(), &reads);
    let upload = |source| client.upload(source, &cluster.payer, direct());
    let mut uploads =
        Box::pin(async { tokio::join!(upload(first), upload(second), upload(third)) });
    tokio::select! {
        done = &mut uploads => panic!("{done:?}"),
        () = twice(&mut read) => {}
    }
    let gauges = workers.gauges();
    assert_eq!(gauges.streams, Gauge { active: 2, queued: 1, budget: 2 });
    assert_eq!((gauges.kibibytes.active, gauges.seals.active, gauges.begun.active), (0, 0, 0));
    let others = cluster.client_among(disk, CancellationToken::new(), workers.clone());
    let source = noise(541, 5 * SEGMENT);
    let upload = others.upload(Cluster::file(&source), &cluster.payer, direct());
    let uploaded = tokio::select! {
        done = &mut uploads => panic!("{done:?}"),
        uploaded = time::timeout(NEVER, upload) => uploaded.expect("it waits for nobody").unwrap(),
    };
    assert_reads(&cluster, &uploaded, &source).await;

    // A stop waits for none of them, and their threads keep their places.
    stop.cancel();
    let (first, second, third) = time::timeout(NEVER, uploads).await.unwrap();
    for stopped in [first, second, third] {
        assert!(matches!(stopped, Err(UploadError::Interrupted)), "{stopped:?}");
    }
    assert_eq!(workers.gauges().streams, Gauge { active: 2, queued: 0, budget: 2 });
    let next = noise(542, 3 * SEGMENT + 1);
    let mut upload = Box::pin(others.upload(piped(&next), &cluster.payer, direct()));
    assert!(poll!(&mut upload).is_pending());
    assert_eq!(workers.gauges().streams.queued, 1);
    drop((first_end, second_end, third_end));
    let uploaded = time::timeout(NEVER, upload).await.unwrap().unwrap();
    assert_reads(&cluster, &uploaded, &next).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_read_gives_its_place_back_when_its_upload_has_begun() {
    let cluster = five();
    let limits = WorkerLimits { begun: 1, streams: 1, ..WorkerLimits::default() };
    let workers = Workers::new(limits);
    let disk = Arc::new(MemoryDisk::new());
    let client = cluster.client_among(disk, CancellationToken::new(), workers.clone());
    let (asking, mut offers, answers) = late();
    let sources: Vec<Vec<u8>> = (550..553).map(|seed| noise(seed, 2 * SEGMENT)).collect();
    let upload = |at: usize| client.upload(piped(&sources[at]), &cluster.payer, asking.clone());
    let mut uploads = Box::pin(async { tokio::join!(upload(0), upload(1), upload(2)) });
    tokio::select! {
        done = &mut uploads => panic!("{done:?}"),
        offer = offers.recv() => assert!(offer.is_some()),
    }
    assert!(time::timeout(NEVER, &mut uploads).await.is_err());
    // The second is read and waits to begin; the third is not read before that.
    let gauges = workers.gauges();
    assert_eq!(gauges.begun, Gauge { active: 1, queued: 1, budget: 1 });
    assert_eq!(gauges.streams, Gauge { active: 1, queued: 1, budget: 1 });
    answers.send(Some(true)).unwrap();
    let (first, second, third) = uploads.await;
    for (uploaded, source) in [first, second, third].into_iter().zip(&sources) {
        assert_reads(&cluster, &uploaded.unwrap(), source).await;
    }
}
