//! Up and down with the program.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use spillway_client::{Remote, Spend, Target, UploadOptions};
use spillway_disk::{MemoryDisk, Overwrite, RealDisk};
use spillway_seal::DataMap;
use spillway_tests::{Cluster, Network, Picture, noise, words};
use spillway_types::{
    Atto, ChunkAddress,
    limits::{MAX_DIRECT_LEAVES, SEGMENT_BYTES, STORE_QUORUM},
};

use super::{atto, shape};

fn addresses(map: &[u8]) -> BTreeSet<ChunkAddress> {
    DataMap::decode(map).unwrap().entries().iter().map(|entry| entry.address).collect()
}

/// Uploads a file with the program, checks what it says against chain and disks, downloads it and
/// compares.
async fn there_and_back(network: &Network, name: &str, contents: &[u8]) {
    network.put(name, contents);
    let before = network.balances().await;
    let ran = network.run(&["upload", name, "--yes", "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{name}");
    let summary = ran.summary();

    let segments = contents.len().div_ceil(SEGMENT_BYTES).max(1);
    assert_eq!(summary["bytes"], contents.len(), "{summary}");
    for (field, expected) in [
        ("chunks_total", segments),
        ("chunks_stored", segments),
        ("chunks_already_stored", 0),
        ("chunks_failed", 0),
    ] {
        assert_eq!(summary[field], expected, "{field} of {summary}");
    }
    assert_eq!(
        (summary["payment_mode"].as_str(), summary["tip_atto"].as_str()),
        (Some("direct"), Some("0"))
    );
    assert_eq!(summary["tx_hashes"].as_array().unwrap().len(), 2, "an approval and a payment");
    assert!(summary["gas_used"].as_u64().unwrap() > 100_000, "{summary}");
    assert!(summary["peak_rss_bytes"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["public_address"].is_null(), "{summary}");
    let sent = summary["uplink_bytes"].as_u64().unwrap();
    if name != "text" {
        assert!(sent >= (STORE_QUORUM * contents.len()) as u64, "{summary}");
    }

    if name == "one" {
        insta::assert_json_snapshot!("upload_summary", shape(&summary));
        let first = ran.stdout.split(|&byte| byte == b'\n').next().unwrap();
        let mut status: serde_json::Value = serde_json::from_slice(first).unwrap();
        // Nothing at first, a number once a rate was seen.
        status["seconds_remaining"] = serde_json::Value::Null;
        insta::assert_json_snapshot!("upload_status", shape(&status));
    }

    // What it says is what was paid, and all of it is owed to the nodes.
    let cost = atto(&summary, "storage_cost_atto");
    assert_ne!(cost, Atto::ZERO);
    assert_eq!(network.balances().await, before.after(cost, 2), "{summary}");

    // The data map is there, for its owner alone; a quorum of nodes has each chunk; no spill is.
    let map_name = format!("{name}.datamap");
    assert_eq!(summary["data_map"], map_name.as_str());
    let mode = fs::metadata(network.place().join(&map_name)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let chunks = addresses(&network.read(&map_name));
    assert_eq!(chunks.len(), segments);
    let files = network.chunk_files();
    for address in &chunks {
        let copies = files.get(address).copied().unwrap_or(0);
        assert!((STORE_QUORUM..=5).contains(&copies), "{copies} copies of {address}");
    }
    assert_eq!(network.spills(), Vec::<std::path::PathBuf>::new());

    let back = format!("{name}.back");
    let ran = network.run(&["download", &map_name, "-o", &back, "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{name}");
    let summary = ran.summary();
    if name == "one" {
        insta::assert_json_snapshot!("download_summary", shape(&summary));
    }
    assert_eq!((&summary["bytes"], &summary["files"]), (&contents.len().into(), &1.into()));
    assert_eq!(summary["chunks_fetched"], segments);
    assert!(network.read(&back) == contents, "{name} came back otherwise");
}

/// The same again: nothing is stored, nothing is paid.
async fn again(network: &Network, name: &str) {
    let before = (network.balances().await, network.chunk_files());
    let map = network.read(&format!("{name}.datamap"));
    let ran = network.run(&["upload", name, "--yes", "--json", "--overwrite"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{name}");
    let summary = ran.summary();
    assert_eq!((&summary["chunks_stored"], &summary["chunks_failed"]), (&0.into(), &0.into()));
    assert_eq!(summary["chunks_already_stored"], summary["chunks_total"]);
    assert_eq!(atto(&summary, "storage_cost_atto"), Atto::ZERO);
    assert_eq!(summary["gas_used"], 0);
    assert_eq!(summary["tx_hashes"], serde_json::json!([]));
    assert!(summary["payment_mode"].is_null(), "{summary}");
    assert_eq!((network.balances().await, network.chunk_files()), before);
    assert_eq!(network.read(&format!("{name}.datamap")), map);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_come_back_and_are_paid_once() {
    let network = Network::start(10).await;
    let mib = 1024 * 1024;
    let sizes = [
        ("empty", 0),
        ("one", 1),
        ("segment", SEGMENT_BYTES),
        ("less", 4 * mib - 1),
        ("exact", 4 * mib),
        ("more", 4 * mib + 1),
        ("fifty", 50_000_000),
    ];
    for (seed, (name, len)) in (200..).zip(sizes) {
        there_and_back(&network, name, &noise(seed, len)).await;
    }
    there_and_back(&network, "text", &words(300, 3_000_000)).await;
    for name in ["empty", "fifty"] {
        again(&network, name).await;
    }
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_pipes_links_and_chunks_come_back() {
    let network = Network::start(7).await;
    directory(&network).await;
    pipe(&network).await;
    public(&network).await;
    chunk(&network).await;
    network.shutdown().await;
}

async fn directory(network: &Network) {
    let album = network.place().join("album");
    fs::create_dir_all(album.join("deep/empty")).unwrap();
    fs::write(album.join("large"), noise(210, 5_000_000)).unwrap();
    fs::write(album.join("deep/small"), b"small").unwrap();
    fs::write(album.join("none"), b"").unwrap();
    symlink("../../outside", album.join("deep/link")).unwrap();
    fs::set_permissions(album.join("none"), fs::Permissions::from_mode(0o751)).unwrap();
    let disk = RealDisk::open(network.place()).unwrap();
    let original = Picture::of(&disk, Path::new("album"));

    let before = network.balances().await;
    let ran = network.run(&["upload", "album", "--yes", "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let summary = ran.summary();
    assert_eq!(
        (&summary["bytes"], &summary["skipped"]),
        (&5_000_005.into(), &serde_json::json!([]))
    );
    let cost = atto(&summary, "storage_cost_atto");
    assert_eq!(network.balances().await, before.after(cost, 2));
    let ran = network.run(&["download", "album.datamap", "-o", "again", "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.summary()["files"], 3);
    assert_eq!(Picture::of(&disk, Path::new("again")), original);
}

async fn pipe(network: &Network) {
    let input = noise(211, 9_000_001);
    let ran = network
        .run_piped(&["upload", "-", "-o", "pipe.datamap", "--yes", "--json"], input.clone())
        .await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let summary = ran.summary();
    assert_eq!((&summary["bytes"], &summary["chunks_stored"]), (&input.len().into(), &3.into()));
    let ran = network.run(&["download", "pipe.datamap", "-o", "-", "--quiet"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout == input, "the pipe came back otherwise");
    // As a file it has the same chunks.
    network.put("piped", &input);
    let ran = network.run(&["upload", "piped", "--yes", "--json"]).await;
    let summary = ran.summary();
    assert_eq!(
        (&summary["chunks_stored"], &summary["chunks_already_stored"]),
        (&0.into(), &3.into())
    );
    assert_eq!(network.read("piped.datamap"), network.read("pipe.datamap"));
}

async fn public(network: &Network) {
    let contents = words(212, 100_000);
    network.put("page", &contents);
    let ran = network.run(&["upload", "page", "--public", "--yes", "--quiet"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let link = String::from_utf8(ran.stdout).unwrap();
    let address = ChunkAddress::of(&network.read("page.datamap"));
    assert_eq!(link, format!("spillway://{address}\n"));
    for (remote, back) in [(link.trim(), "page-1"), (&address.to_string(), "page-2")] {
        let ran = network.run(&["download", remote, "-o", back, "--quiet"]).await;
        assert_eq!((ran.code, ran.stderr.as_str(), ran.stdout.len()), (Some(0), "", 0));
        assert_eq!(network.read(back), contents);
    }
}

async fn chunk(network: &Network) {
    let contents = noise(213, 4 * 1024 * 1024);
    network.put("chunk", &contents);
    let before = network.balances().await;
    let ran = network.run(&["chunk", "put", "chunk", "--yes", "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let summary = ran.summary();
    let address = ChunkAddress::of(&contents).to_string();
    assert_eq!(summary["public_address"], address.as_str());
    let cost = atto(&summary, "storage_cost_atto");
    assert_eq!(network.balances().await, before.after(cost, 2));
    let ran = network.run(&["chunk", "get", &address, "-o", "chunk.back", "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(network.read("chunk.back") == contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_restart_keep_what_they_have() {
    let mut network = Network::start(6).await;
    let contents = noise(214, 10_000_000);
    there_and_back(&network, "file", &contents).await;
    let before = (network.balances().await, network.chunk_files());
    for index in 0..6 {
        network.testnet.stop_node(index).await;
    }
    for index in 0..6 {
        network.testnet.restart_node(index).await.unwrap();
    }
    assert_eq!((network.balances().await, network.chunk_files()), before);
    fs::remove_file(network.place().join("file.back")).unwrap();
    let ran = network.run(&["download", "file.datamap", "-o", "file.back"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(network.read("file.back") == contents);
    again(&network, "file").await;

    // Two of six are gone: every chunk is still on somebody, and a new file finds its five only
    // while four others are there.
    network.testnet.stop_node(1).await;
    fs::remove_file(network.place().join("file.back")).unwrap();
    let ran = network.run(&["download", "file.datamap", "-o", "file.back"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(network.read("file.back") == contents);
    network.testnet.restart_node(1).await.unwrap();
    again(&network, "file").await;
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_hundred_chunks_are_several_transactions() {
    let network = Network::start(5).await;
    let client = network.testnet.client(&network.place().join("library")).await.unwrap();
    let wallet = network.testnet.wallet();
    let before = network.balances().await;
    let count = MAX_DIRECT_LEAVES + 5;
    let source = noise(215, count * 1_000);
    let options = UploadOptions { segment_bytes: 1_000, ..UploadOptions::default() };
    let upload = || client.client().upload(Cluster::file(&source), wallet, options.clone());
    let uploaded = upload().await.unwrap();
    assert_eq!((uploaded.chunks_total, uploaded.chunks_stored), (count as u64, count as u64));
    assert_eq!(uploaded.spend.tx_hashes.len(), 3, "an approval and two payments");
    let after = before.after(uploaded.spend.storage_cost, 3);
    assert_eq!(network.balances().await, after);
    assert_eq!(network.chunk_files().len(), count);
    let again = upload().await.unwrap();
    assert_eq!((again.chunks_already_stored, again.spend), (count as u64, Spend::default()));
    assert_eq!(network.balances().await, after);

    // Gas is what the chain says of the named transactions.
    let chain = network.testnet.chain();
    let (mut used, mut cost) = (0, 0);
    for hash in &uploaded.spend.tx_hashes {
        let receipt = chain.receipt(*hash).await.unwrap().unwrap();
        assert!(receipt.success);
        (used, cost) = (used + receipt.gas_used, cost + receipt.gas_cost.0);
    }
    assert_eq!((uploaded.spend.gas_used, uploaded.spend.gas_cost.0), (used, cost));

    let disk = MemoryDisk::new();
    let target = Target::Path {
        disk: std::sync::Arc::new(disk.clone()),
        path: "back".into(),
        overwrite: Overwrite::Never,
    };
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    client
        .client()
        .download(map, target, spillway_client::DownloadOptions::default())
        .await
        .unwrap();
    assert!(spillway_disk::Disk::read(&disk, Path::new("back"), u64::MAX).unwrap() == source);
    client.shutdown().await;
    network.shutdown().await;
}
