//! What an upload may not do: pay more than allowed, run twice at once, fill a disk.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use spillway_client::{
    Approve, DiskError, Offer, PayFailure, QuoteFailure, Remote, Spend, UploadError, UploadOptions,
};
use spillway_disk::{Disk, MemoryDisk};
use spillway_store::{ChunkStore, FsStore, FsStoreOptions, reservation_bytes};
use spillway_tests::{Charged, Cluster, ClusterOptions, Picture, noise};
use spillway_types::{Atto, Refusal, Wei};

/// What three and a half segments of noise cost.
const COST: Atto = Atto(4 * Cluster::CHUNK_COST);

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    options: UploadOptions,
) -> Result<spillway_client::Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(&noise(90, 3_500)), &cluster.payer, options).await
}

#[tokio::test]
async fn a_cap_on_storage_holds_to_the_unit() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let cap = COST.saturating_sub(Atto(1));
    let options = UploadOptions { max_cost: Some(cap), ..Cluster::options() };
    match upload(&cluster, &data, options).await.unwrap_err() {
        UploadError::OverCost { cost, cap: said } => assert_eq!((cost, said), (COST, cap)),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.charged().await, Charged::nothing());
    assert_eq!((cluster.transactions().await, cluster.stored()), (0, [].into()));
    let options = UploadOptions { max_cost: Some(COST), ..Cluster::options() };
    let uploaded = upload(&cluster, &data, options).await.unwrap();
    assert_eq!(uploaded.spend.storage_cost, COST);
    assert_eq!(cluster.charged().await.paid, COST);
}

#[tokio::test]
async fn a_cap_on_gas_holds() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let offer = cluster
        .client(&data)
        .cost(Cluster::file(&noise(90, 3_500)), &cluster.payer, Cluster::options())
        .await
        .unwrap()
        .offer;
    let cap = Wei(offer.gas_cost.0 - 1);
    let options = UploadOptions { max_gas_cost: Some(cap), ..Cluster::options() };
    match upload(&cluster, &data, options).await.unwrap_err() {
        UploadError::OverGasCost { cost, cap: said } => {
            assert_eq!((cost, said), (offer.gas_cost, cap));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));
    let cap = Wei(2 * offer.gas_cost.0);
    let options = UploadOptions { max_gas_cost: Some(cap), ..Cluster::options() };
    let uploaded = upload(&cluster, &data, options).await.unwrap();
    assert!(uploaded.spend.gas_cost <= cap);
}

struct Answer(bool, tokio::sync::watch::Sender<Option<Offer>>);

#[async_trait]
impl Approve for Answer {
    async fn approve(&self, offer: &Offer) -> bool {
        self.1.send_replace(Some(*offer));
        self.0
    }
}

fn answer(yes: bool) -> (UploadOptions, tokio::sync::watch::Receiver<Option<Offer>>) {
    let (sender, asked) = tokio::sync::watch::channel(None);
    let approve: Arc<dyn Approve> = Arc::new(Answer(yes, sender));
    (UploadOptions { approve: Some(approve), ..Cluster::options() }, asked)
}

#[tokio::test]
async fn a_price_that_is_declined_is_not_paid() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let (options, asked) = answer(false);
    let UploadError::Declined { offer } = upload(&cluster, &data, options).await.unwrap_err()
    else {
        panic!("declined");
    };
    assert_eq!((offer.storage_cost, offer.chunks_to_pay), (COST, 4));
    assert_eq!((offer.chunks_already_stored, *asked.borrow()), (0, Some(offer)));
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));

    let (options, asked) = answer(true);
    let uploaded = upload(&cluster, &data, options).await.unwrap();
    assert_eq!(asked.borrow().unwrap().storage_cost, uploaded.spend.storage_cost);
    assert_eq!(cluster.charged().await.paid, COST);

    // Where nothing is to be paid nobody is asked.
    let (options, asked) = answer(false);
    assert_eq!(upload(&cluster, &data, options).await.unwrap().spend, Spend::default());
    assert_eq!(*asked.borrow(), None);
}

#[tokio::test]
async fn a_wallet_with_too_little_pays_nothing() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let payer = cluster.payer.address();
    let little = COST.saturating_sub(Atto(1));
    cluster.chain.set_tokens(cluster.token, payer, little);
    let failure = |error| match error {
        UploadError::Payment { source, spend } => {
            assert_eq!(spend, Spend::default());
            source.failure
        }
        other => panic!("{other:?}"),
    };
    match *failure(upload(&cluster, &data, Cluster::options()).await.unwrap_err()) {
        PayFailure::NotEnoughTokens { needed, found } => {
            assert_eq!((needed, found), (COST, little));
        }
        other => panic!("{other:?}"),
    }
    cluster.chain.set_tokens(cluster.token, payer, COST);
    cluster.chain.set_coins(payer, Wei(1));
    match *failure(upload(&cluster, &data, Cluster::options()).await.unwrap_err()) {
        PayFailure::NotEnoughCoins { found, .. } => assert_eq!(found, Wei(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.transactions().await, 0);
    cluster.chain.set_coins(payer, Wei(1_000_000_000_000_000_000));
    let uploaded = upload(&cluster, &data, Cluster::options()).await.unwrap();
    assert_eq!(uploaded.spend.storage_cost, COST);
    assert_eq!(cluster.tokens_left().await, Atto::ZERO);
}

/// Runs the same upload again from inside of its own question for the price.
struct Second(Arc<Cluster>, MemoryDisk);

#[async_trait]
impl Approve for Second {
    async fn approve(&self, _offer: &Offer) -> bool {
        let result = Box::pin(upload(&self.0, &self.1, Cluster::options())).await;
        let UploadError::Busy { session } = result.unwrap_err() else {
            panic!("busy");
        };
        let running = self.0.client(&self.1).sessions().await.unwrap();
        assert!(running[0].running && running[0].id.starts_with(&session), "{session}");
        true
    }
}

#[tokio::test]
async fn one_upload_twice_at_once_is_refused_and_the_first_goes_on() {
    let cluster = Arc::new(Cluster::new());
    let data = MemoryDisk::new();
    let approve: Arc<dyn Approve> = Arc::new(Second(Arc::clone(&cluster), data.clone()));
    let options = UploadOptions { approve: Some(approve), ..Cluster::options() };
    let uploaded = upload(&cluster, &data, options).await.unwrap();
    assert_eq!(cluster.charged().await.paid, uploaded.spend.storage_cost);
    assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_without_room_is_said_before_anything() {
    let cluster = Cluster::new();
    let data = MemoryDisk::with_capacity(1_000_000);
    match upload(&cluster, &data, Cluster::options()).await.unwrap_err() {
        UploadError::NoSpace { needed, free, path } => {
            assert_eq!(needed, 3_500 + 4 * 128 + 16 * 1024 * 1024);
            assert_eq!((free, path.as_path()), (1_000_000, Path::new("memory:/spill")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((cluster.take_log(), cluster.charged().await), (vec![], Charged::nothing()));
    let left = Picture::of(&data, Path::new("")).paths();
    assert!(left.iter().all(|path| !path.starts_with("spill/")), "{left:?}");
}

#[tokio::test]
async fn a_disk_that_fills_while_sealing_is_said_and_nothing_is_paid() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    // There is room when it is asked, and then it is gone.
    let room = data.clone();
    let disk = MemoryDisk::new();
    let source = noise(91, 3_500);
    disk.write_durable(Path::new("source"), &source, spillway_client::Overwrite::Never).unwrap();
    let hooked = spillway_tests::HookedDisk::new(Arc::new(disk), move |number| {
        // The sixth read is the first segment that is sealed... after four were hashed.
        if number == 6 {
            room.set_capacity(1_500);
        }
    });
    let path = Path::new("source").to_owned();
    let source = spillway_client::Source::Path { disk: Arc::new(hooked), path };
    let client = cluster.client(&data);
    match client.upload(source, &cluster.payer, Cluster::options()).await.unwrap_err() {
        UploadError::Disk(DiskError::Full { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!((cluster.take_log(), cluster.charged().await), (vec![], Charged::nothing()));
    assert_eq!(data.list(Path::new("spill")).unwrap(), [], "what was spilled is gone");
    data.set_capacity(1 << 40);
    let uploaded = upload(&cluster, &data, Cluster::options()).await.unwrap();
    assert_eq!(uploaded.spend.storage_cost, COST);
}

#[tokio::test]
async fn full_nodes_are_said_and_nothing_is_paid() {
    let cluster = Cluster::with(ClusterOptions {
        nodes: 10,
        capacity_bytes: 1_000,
        ..ClusterOptions::default()
    });
    let data = MemoryDisk::new();
    let error = upload(&cluster, &data, Cluster::options()).await.unwrap_err();
    let said = error.to_string();
    let UploadError::TooFewQuotes { good, asked, dropped, last, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((good, asked, dropped), (0, 10, 10));
    assert_eq!(last, Some(QuoteFailure::Refused(Refusal::Full { free_bytes: 1_000 })));
    assert!(said.ends_with("; last: refused: full: 1000 bytes free"), "it says why: {said}");
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));
    assert_eq!(cluster.stored(), [].into());
}

#[tokio::test]
async fn a_node_whose_disk_is_full_stores_nothing_of_it_and_the_others_suffice() {
    // Two of five nodes have room in their books and none on their disks.
    let disks: Vec<MemoryDisk> = (0..5).map(|_| MemoryDisk::new()).collect();
    let options = FsStoreOptions { capacity_bytes: 1 << 40, disk_margin_bytes: 0 };
    let mut stores: Vec<Arc<dyn ChunkStore>> = Vec::new();
    for disk in &disks {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        stores.push(Arc::new(FsStore::open(disk, options).await.unwrap()));
    }
    let cluster = Cluster::with_stores(stores);
    let client_disk = MemoryDisk::new();
    let rooms = disks.clone();
    let shrink = Shrink(rooms);
    let approve: Arc<dyn Approve> = Arc::new(shrink);
    let options = UploadOptions { approve: Some(approve), ..Cluster::options() };
    let uploaded = upload(&cluster, &client_disk, options).await.unwrap();
    assert_eq!(uploaded.chunks_stored, 4);
    for (index, disk) in disks.iter().enumerate() {
        let files = disk.list(Path::new("chunks")).unwrap();
        let chunks = files.iter().filter(|entry| entry.name.as_os_str().len() == 64).count();
        assert_eq!(chunks, if index < 2 { 0 } else { 4 }, "node {index}: {files:?}");
        assert!(files.iter().all(|entry| !entry.name.to_str().unwrap().starts_with(".tmp-")));
    }
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), noise(90, 3_500));
}

/// Takes the room of the first two disks when the price is asked about.
struct Shrink(Vec<MemoryDisk>);

#[async_trait]
impl Approve for Shrink {
    async fn approve(&self, _offer: &Offer) -> bool {
        for disk in &self.0[..2] {
            disk.set_capacity(0);
        }
        true
    }
}

#[tokio::test]
async fn nodes_with_room_for_one_chunk_take_one() {
    // What is promised to quotes counts: the second chunk finds no room.
    let room = reservation_bytes(1_029) + 100;
    let cluster = Cluster::with(ClusterOptions {
        nodes: 5,
        capacity_bytes: room,
        ..ClusterOptions::default()
    });
    let client = cluster.client(&MemoryDisk::new());
    let upload = |seed| {
        client.upload(Cluster::file(&noise(seed, 1_000)), &cluster.payer, Cluster::options())
    };
    upload(92).await.unwrap();
    let before = cluster.charged().await;
    assert!(matches!(upload(93).await, Err(UploadError::TooFewQuotes { good: 0, .. })));
    assert_eq!((cluster.charged().await, cluster.stored().len()), (before, 1));
}
