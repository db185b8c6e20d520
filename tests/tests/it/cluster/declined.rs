//! A price that is not taken costs nobody bytes that cannot be read again.

use std::{io::Cursor, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use spillway_client::{
    Approve, ForgetOptions, Offer, SessionStage, Source, StreamSource, UploadError, UploadOptions,
    Uploaded, forget,
};
use spillway_disk::{Clock, MemoryDisk};
use spillway_tests::{Charged, Cluster, Picture, SEGMENT, Tricks, noise};
use spillway_types::{Atto, QuoteResponse, Wei};

use super::steps::{arc, assert_reads, direct, exported, five, import, resume, the_only};

const DAY: Duration = Duration::from_hours(24);

struct No;

#[async_trait]
impl Approve for No {
    async fn approve(&self, _offer: &Offer) -> bool {
        false
    }
}

/// Each way in which a price is not taken.
fn not_taken() -> [UploadOptions; 3] {
    [
        UploadOptions { approve: Some(Arc::new(No)), ..direct() },
        UploadOptions { max_cost: Some(Atto(1)), ..direct() },
        UploadOptions { max_gas_cost: Some(Wei(1)), ..direct() },
    ]
}

fn piped(bytes: &[u8]) -> Source {
    Source::Stream(StreamSource(Box::new(Cursor::new(bytes.to_vec()))))
}

/// A session that never came to a price: nobody gave one.
async fn sealed(cluster: &Cluster, source: &[u8]) -> (MemoryDisk, String) {
    let data = MemoryDisk::new().with_clock(Arc::new(cluster.clock.clone()));
    let none = |_: &_, mut response: QuoteResponse| {
        response.answers.as_mut().unwrap().clear();
        response
    };
    for member in &cluster.members {
        member.play(Tricks { quote: Some(Box::new(none)), ..Tricks::default() });
    }
    let client = cluster.client(&data);
    client.upload(Cluster::file(source), &cluster.payer, direct()).await.unwrap_err();
    cluster.book().behave();
    let id = the_only(cluster, &data).await;
    (data, id)
}

fn assert_not_taken(done: Result<Uploaded, UploadError>) {
    let error = done.unwrap_err();
    assert!(error.is_price_not_taken(), "{error:?}");
}

/// The session and all its chunks are there; it goes on, and then it costs what it costs.
async fn assert_stays(cluster: &Cluster, data: &MemoryDisk, source: &[u8]) {
    assert_eq!(cluster.charged().await, Charged::nothing());
    let id = the_only(cluster, data).await;
    let status = &cluster.client(data).sessions().await.unwrap()[0];
    assert_eq!(status.stage, SessionStage::Sealed);
    let uploaded = resume(cluster, data, &id, direct()).await.unwrap();
    assert_reads(cluster, &uploaded, source).await;
}

#[tokio::test]
async fn a_stream_whose_price_is_not_taken_stays_until_it_is_forgotten() {
    for options in not_taken() {
        let cluster = five();
        let data = MemoryDisk::new().with_clock(Arc::new(cluster.clock.clone()));
        let source = noise(560, 3 * SEGMENT);
        let client = cluster.client(&data);
        assert_not_taken(client.upload(piped(&source), &cluster.payer, options.clone()).await);
        let id = the_only(&cluster, &data).await;
        // Once more, by its name, and after a year.
        assert_not_taken(resume(&cluster, &data, &id, options).await);
        cluster.clock.advance(365 * DAY);
        cluster.chain.mine(1);
        assert_eq!(client.reap().await.unwrap().sessions, 0);
        assert_stays(&cluster, &data, &source).await;
    }
    // Until then it is no trouble to be rid of it.
    let (cluster, data) = (five(), MemoryDisk::new());
    let [no, ..] = not_taken();
    let client = cluster.client(&data);
    assert_not_taken(client.upload(piped(&noise(561, SEGMENT)), &cluster.payer, no).await);
    let options = ForgetOptions { now: cluster.clock.now(), even_paid: false };
    let forgotten = forget(&arc(&data), &the_only(&cluster, &data).await, options).await.unwrap();
    assert!(forgotten.stakes.is_nothing());
    assert_eq!(Picture::of(&data, Path::new("")).paths(), ["", "sessions", "spill"]);
}

#[tokio::test]
async fn a_session_that_goes_on_by_its_name_stays_when_its_price_is_not_taken() {
    for options in not_taken() {
        let cluster = five();
        let source = noise(562, 3 * SEGMENT);
        let (data, id) = sealed(&cluster, &source).await;
        // Nor with a source: it may be another one by now.
        let other = Some(Cluster::file(&noise(563, 3 * SEGMENT)));
        let client = cluster.client(&data);
        assert_not_taken(client.resume(&id, &cluster.payer, other, options.clone()).await);
        assert_not_taken(resume(&cluster, &data, &id, options).await);
        assert_stays(&cluster, &data, &source).await;
    }
}

#[tokio::test]
async fn an_imported_session_stays_when_its_price_is_not_taken() {
    for options in not_taken() {
        let cluster = five();
        let source = noise(564, 3 * SEGMENT);
        let (elsewhere, id) = sealed(&cluster, &source).await;
        let way = exported(&cluster, &elsewhere, &id).await;
        let data = MemoryDisk::new().with_clock(Arc::new(cluster.clock.clone()));
        import(&cluster, &data, &way).await.unwrap();
        let client = cluster.client(&data);
        assert_not_taken(
            client.upload(Cluster::file(&source), &cluster.payer, options.clone()).await,
        );
        assert_not_taken(resume(&cluster, &data, &id, options).await);
        cluster.clock.advance(365 * DAY);
        cluster.chain.mine(1);
        assert_eq!(client.reap().await.unwrap().sessions, 0);
        assert_stays(&cluster, &data, &source).await;
    }
}

#[tokio::test]
async fn what_can_be_read_again_leaves_nothing_when_its_price_is_not_taken() {
    for options in not_taken() {
        let (cluster, data) = (five(), MemoryDisk::new());
        let client = cluster.client(&data);
        for source in
            [Cluster::file(&noise(565, 3 * SEGMENT)), Source::Chunk(noise(566, SEGMENT).into())]
        {
            assert_not_taken(client.upload(source, &cluster.payer, options.clone()).await);
            assert_eq!(client.sessions().await.unwrap().len(), 0);
        }
    }
}
