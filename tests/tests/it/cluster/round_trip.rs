//! What goes up comes down, costs exactly what was quoted, and costs it once.

use std::{
    collections::BTreeSet,
    io::Cursor,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use spillway_client::{
    DiskError, DownloadError, DownloadOptions, Overwrite, PaymentMode, Remote, Source, SourceError,
    Spend, StreamSource, Target, UploadError, UploadOptions,
};
use spillway_disk::{Disk, MemoryDisk};
use spillway_seal::DataMap;
use spillway_tests::{Charged, Cluster, Picture, SEGMENT, noise, words};
use spillway_types::{
    Atto, ChunkAddress,
    limits::{CLOSE_GROUP, MAX_CHUNK_BYTES, MAX_DIRECT_LEAVES, SEAL_OVERHEAD_BYTES},
};

fn addresses(map: &[u8]) -> BTreeSet<ChunkAddress> {
    DataMap::decode(map).unwrap().entries().iter().map(|entry| entry.address).collect()
}

fn stream(bytes: &[u8]) -> Source {
    Source::Stream(StreamSource(Box::new(Cursor::new(bytes.to_vec()))))
}

/// Whether each of these chunks is on its five nearest nodes and on no other.
fn assert_on_nearest(cluster: &Cluster, chunks: &BTreeSet<ChunkAddress>) {
    for &address in chunks {
        let nearest = cluster.nearest(address);
        for (rank, &index) in nearest.iter().enumerate() {
            let has = cluster.members[index].store.has(address);
            assert_eq!(has, rank < CLOSE_GROUP, "chunk {address} on the node of rank {rank}");
        }
    }
}

#[tokio::test]
async fn every_length_around_a_boundary() {
    let cluster = Cluster::new();
    let mut paid = Atto::ZERO;
    for len in [0, 1, 2, 999, 1_000, 1_001, 1_999, 2_000, 2_001, 2_999, 3_000, 3_001, 12_345] {
        let data = MemoryDisk::new();
        let client = cluster.client(&data);
        let source = noise(len as u64, len);
        let uploaded = client
            .upload(Cluster::file(&source), &cluster.payer, Cluster::options())
            .await
            .unwrap();

        let segments = len.div_ceil(SEGMENT).max(1) as u64;
        assert_eq!(
            (uploaded.bytes, uploaded.chunks_total, uploaded.chunks_stored),
            (len as u64, segments, segments),
            "{len} bytes"
        );
        assert_eq!(uploaded.chunks_already_stored, 0);
        assert_eq!(uploaded.payment_mode, Some(PaymentMode::Direct));
        assert_eq!(uploaded.public_address, None);
        let map = uploaded.data_map.unwrap();
        let chunks = addresses(&map);
        assert_eq!(chunks.len() as u64, segments);
        assert_on_nearest(&cluster, &chunks);

        let sealed: u32 = chunks.iter().map(|address| cluster.stored()[address].0).sum();
        let expected = len + SEAL_OVERHEAD_BYTES * chunks.len();
        assert_eq!(sealed as usize, expected, "noise grows by what sealing adds");
        let price = Atto(chunks.len() as u128 * Cluster::CHUNK_COST);
        assert_eq!(cluster.price_of(&chunks), price);
        assert_eq!(uploaded.spend.storage_cost, price);
        paid = paid.saturating_add(price);
        let charged = cluster.charged().await;
        assert_eq!((charged.paid, charged.vault, charged.credited()), (paid, paid, paid));

        assert_eq!(cluster.read_back(Remote::DataMap(map)).await.unwrap(), source, "{len} bytes");
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);
    }
}

#[tokio::test]
async fn a_finished_session_keeps_its_record_and_no_chunk() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let client = cluster.client(&data);
    let uploaded = client
        .upload(Cluster::file(&noise(1, 2_500)), &cluster.payer, Cluster::options())
        .await
        .unwrap();
    let sessions = client.sessions().await.unwrap();
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert_eq!(session.id, uploaded.upload_id);
    assert_eq!(
        (session.bytes, session.chunks_total, session.chunks_paid, session.chunks_stored),
        (2_500, 3, 3, 3)
    );
    assert!(session.finished && !session.running && session.damage.is_none());
    assert_eq!((&session.spend, session.upload_by), (&uploaded.spend, None));

    let id = &uploaded.upload_id;
    let dir = format!("sessions/{id}");
    let files = Picture::of(&data, Path::new(&dir)).paths();
    assert_eq!(files, ["", "journal", "manifest", "map", "plan-0", "tx-0", "tx-1"]);
    assert_eq!(data.list(Path::new("spill")).unwrap(), []);
}

#[tokio::test]
async fn text_is_stored_compressed() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = words(3, 5_500);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    let stored: u32 = cluster.stored().values().map(|(size, _)| size).sum();
    assert!((stored as usize) < source.len() / 2, "{stored}");
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
    let map = uploaded.data_map.unwrap();
    assert_eq!(cluster.read_back(Remote::DataMap(map)).await.unwrap(), source);
}

#[tokio::test]
async fn a_public_upload_is_read_by_its_address_alone() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(4, 3_210);
    let options = UploadOptions { public: true, ..Cluster::options() };
    let uploaded = client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
    assert_eq!((uploaded.chunks_total, uploaded.chunks_stored), (5, 5));
    let (address, map) = (uploaded.public_address.unwrap(), uploaded.data_map.unwrap());
    assert_eq!(address, ChunkAddress::of(&map), "the map itself is the chunk");
    let mut chunks = addresses(&map);
    chunks.insert(address);
    assert_eq!(cluster.stored().into_keys().collect::<BTreeSet<_>>(), chunks);
    assert_on_nearest(&cluster, &chunks);
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of(&chunks));
    assert_eq!(cluster.read_back(Remote::Public(address)).await.unwrap(), source);
    assert_eq!(cluster.read_back(Remote::DataMap(map)).await.unwrap(), source);
}

#[tokio::test]
async fn a_private_upload_after_a_public_one_pays_nothing_and_the_other_way_only_the_map() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(5, 2_000);
    let upload = |public| {
        let options = UploadOptions { public, ..Cluster::options() };
        client.upload(Cluster::file(&source), &cluster.payer, options)
    };
    upload(false).await.unwrap();
    let public = upload(true).await.unwrap();
    assert_eq!(
        (public.chunks_total, public.chunks_stored, public.chunks_already_stored),
        (3, 1, 2)
    );
    assert_eq!(public.spend.storage_cost, Atto(Cluster::CHUNK_COST));
    let again = upload(false).await.unwrap();
    assert_eq!((again.chunks_already_stored, again.spend), (2, Spend::default()));
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn a_raw_chunk_is_stored_as_it_is() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let chunk = Bytes::from(noise(6, 777));
    let uploaded = client
        .upload(Source::Chunk(chunk.clone()), &cluster.payer, Cluster::options())
        .await
        .unwrap();
    let address = ChunkAddress::of(&chunk);
    assert_eq!(uploaded.public_address, Some(address));
    assert_eq!(uploaded.data_map, None);
    assert_eq!(cluster.stored(), [(address, (777, CLOSE_GROUP))].into());
    assert_eq!(uploaded.spend.storage_cost, Atto(Cluster::CHUNK_COST));
    assert_eq!(cluster.client(&MemoryDisk::new()).get_chunk(address).await.unwrap(), chunk);
}

#[tokio::test]
async fn a_chunk_that_is_none_is_refused_before_anything() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    for found in [0, MAX_CHUNK_BYTES + 1] {
        let source = Source::Chunk(Bytes::from(vec![1; found]));
        let error = cluster.client(&data).upload(source, &cluster.payer, Cluster::options()).await;
        match error.unwrap_err() {
            UploadError::Source(SourceError::ChunkSize { found: said, limit }) => {
                assert_eq!((said, limit), (found, MAX_CHUNK_BYTES));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cluster.charged().await, Charged::nothing());
    assert_eq!(
        (cluster.take_log(), Picture::of(&data, Path::new("")).paths()),
        (vec![], vec![String::new()])
    );
}

#[tokio::test]
async fn a_pipe_gives_the_same_map_as_its_file_and_is_not_paid_again() {
    let cluster = Cluster::new();
    for len in [0, 1, 999, 1_000, 1_001, 2_000, 2_001, 7_654] {
        let source = noise(100 + len as u64, len);
        let data = MemoryDisk::new();
        let client = cluster.client(&data);
        let piped =
            client.upload(stream(&source), &cluster.payer, Cluster::options()).await.unwrap();
        assert_eq!((piped.bytes, piped.chunks_already_stored), (len as u64, 0));
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);
        let map = piped.data_map.unwrap();
        assert_eq!(piped.spend.storage_cost, cluster.price_of(&addresses(&map)));
        assert_eq!(cluster.read_back(Remote::DataMap(map.clone())).await.unwrap(), source);

        let filed = cluster.client(&MemoryDisk::new());
        let filed =
            filed.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
        assert_eq!(filed.data_map.unwrap(), map);
        assert_eq!(
            (filed.chunks_already_stored, filed.spend),
            (filed.chunks_total, Spend::default())
        );
    }
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn the_same_file_again_stores_and_pays_nothing() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let source = noise(7, 4_500);
    let upload = async |data: &MemoryDisk| {
        let client = cluster.client(data);
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap()
    };
    let first = upload(&data).await;
    let before = (cluster.charged().await, cluster.transactions().await, cluster.stored());
    cluster.take_log();
    // On the same machine, and on one that knows nothing.
    for data in [&data, &MemoryDisk::new()] {
        let again = upload(data).await;
        assert_eq!((again.chunks_stored, again.chunks_already_stored), (0, first.chunks_total));
        assert_eq!((again.spend, again.payment_mode), (Spend::default(), None));
        assert_eq!(again.data_map, first.data_map);
        assert_eq!(cluster.take_puts(), [].into());
        let after = (cluster.charged().await, cluster.transactions().await, cluster.stored());
        assert_eq!(after, before);
        assert_eq!(data.list(Path::new("spill")).unwrap(), []);
    }
}

#[tokio::test]
async fn one_changed_byte_pays_for_three_chunks() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let mut source = noise(8, 9_500);
    let upload =
        |source: &[u8]| client.upload(Cluster::file(source), &cluster.payer, Cluster::options());
    upload(&source).await.unwrap();
    let before = cluster.charged().await.paid;
    source[4_200] ^= 1;
    let edited = upload(&source).await.unwrap();
    assert_eq!((edited.chunks_stored, edited.chunks_already_stored), (3, 7));
    let three = Atto(3 * Cluster::CHUNK_COST);
    assert_eq!(edited.spend.storage_cost, three);
    assert_eq!(cluster.charged().await.paid, before.saturating_add(three));
    let map = Remote::DataMap(edited.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn a_secret_gives_chunks_that_nobody_else_can_name() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(9, 2_000);
    let open =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    let options = UploadOptions { secret: Some(b"sesame".to_vec().into()), ..Cluster::options() };
    let secret = client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
    let (open, secret) = (open.data_map.unwrap(), secret.data_map.unwrap());
    assert!(addresses(&open).is_disjoint(&addresses(&secret)));
    assert!(!secret.windows(6).any(|bytes| bytes == b"sesame"), "the map never holds the secret");
    assert_eq!(cluster.read_back(Remote::DataMap(secret)).await.unwrap(), source);
}

#[tokio::test]
async fn more_chunks_than_a_transaction_takes_are_several_transactions() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let count = MAX_DIRECT_LEAVES + 1;
    let source = noise(10, count * 50);
    let options = UploadOptions { segment_bytes: 50, ..Cluster::options() };
    let uploaded = client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
    assert_eq!(uploaded.chunks_stored, count as u64);
    // One approval and two payments, each of them named.
    assert_eq!((uploaded.spend.tx_hashes.len(), cluster.transactions().await), (3, 3));
    assert!(uploaded.spend.gas_used > 0 && uploaded.spend.gas_cost.get() > 0);
    let charged = cluster.charged().await;
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
    assert_eq!((charged.paid, charged.vault), (cluster.price_of_all(), cluster.price_of_all()));
    assert_eq!(charged.credited(), charged.paid);
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn what_cost_says_is_what_is_paid_and_costs_nothing() {
    let cluster = Cluster::new();
    let data = MemoryDisk::new();
    let client = cluster.client(&data);
    let source = noise(11, 3_333);
    let cost =
        client.cost(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!(cluster.charged().await, Charged::nothing());
    assert_eq!(Picture::of(&data, Path::new("")).paths(), ["", "spill"]);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((cost.bytes, cost.chunks_total), (3_333, uploaded.chunks_total));
    assert_eq!(cost.offer.storage_cost, uploaded.spend.storage_cost);
    assert_eq!((cost.offer.chunks_to_pay, cost.offer.chunks_already_stored), (4, 0));
    assert!(cost.offer.gas >= uploaded.spend.gas_used, "{cost:?} {:?}", uploaded.spend);
    assert!(cost.offer.gas_cost >= uploaded.spend.gas_cost);
}

#[tokio::test]
async fn nothing_that_exists_is_overwritten_unless_asked_for() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(12, 1_500);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    let map = uploaded.data_map.unwrap();
    let out = MemoryDisk::new();
    out.write_durable(Path::new("there"), b"mine", Overwrite::Never).unwrap();
    let download = |overwrite| {
        let disk: Arc<dyn Disk> = Arc::new(out.clone());
        let target = Target::Path { disk, path: "there".into(), overwrite };
        client.download(Remote::DataMap(map.clone()), target, DownloadOptions::default())
    };
    cluster.take_log();
    match download(Overwrite::Never).await.unwrap_err() {
        DownloadError::Disk(DiskError::Exists { path }) => {
            assert_eq!(path, Path::new("memory:/there"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.take_log(), [], "nobody was asked");
    assert_eq!(out.read(Path::new("there"), 99).unwrap(), b"mine");
    download(Overwrite::Replace).await.unwrap();
    assert_eq!(out.read(Path::new("there"), 9_999).unwrap(), source);
    assert_eq!(Picture::of(&out, Path::new("")).paths(), ["", "there"]);
}

#[tokio::test]
async fn a_download_into_a_stream_is_in_order() {
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(13, 20_100);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    let sink = Sink::default();
    let target = Target::Stream(Box::new(sink.clone()));
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    let downloaded = client.download(map, target, DownloadOptions::default()).await.unwrap();
    assert_eq!((downloaded.bytes, downloaded.chunks), (20_100, 21));
    assert_eq!(*sink.0.lock().unwrap(), source);
}

#[tokio::test]
async fn what_is_nowhere_is_not_found() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let address = ChunkAddress([9; 32]);
    match client.get_chunk(address).await.unwrap_err() {
        DownloadError::NotFound { address: said, asked } => {
            assert_eq!((said, asked), (address, 10));
        }
        other => panic!("{other:?}"),
    }
    match cluster.read_back(Remote::Public(address)).await.unwrap_err() {
        DownloadError::NotFound { address: said, asked } => {
            assert_eq!((said, asked), (address, 10));
        }
        other => panic!("{other:?}"),
    }
}
