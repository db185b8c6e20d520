//! One paid file up and down, through everything that is real.

use std::{fs, path::PathBuf, sync::Arc};

use spillway_client::{DownloadOptions, Remote, Source, Target, UploadOptions};
use spillway_disk::{Disk, Overwrite, RealDisk};
use spillway_testnet::Testnet;
use spillway_types::Atto;

use crate::place::options;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_up_and_comes_down() {
    let dir = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(options(dir.path(), 10)).await.unwrap();
    let client = testnet.client(&files.path().join("client")).await.unwrap();
    let contents: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).take(9_000_000).collect();
    fs::write(files.path().join("file"), &contents).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(files.path()).unwrap());

    let source = Source::Path { disk: Arc::clone(&disk), path: PathBuf::from("file") };
    let wallet = testnet.wallet();
    let before = testnet.chain().tokens(testnet.token(), wallet.address()).await.unwrap();
    let uploaded = client.client().upload(source, wallet, UploadOptions::default()).await.unwrap();
    let after = testnet.chain().tokens(testnet.token(), wallet.address()).await.unwrap();
    assert!(uploaded.spend.storage_cost > Atto::ZERO);
    assert_eq!(before.saturating_sub(after), uploaded.spend.storage_cost);
    assert_eq!(uploaded.chunks_stored, uploaded.chunks_total);

    let target = Target::Path { disk, path: PathBuf::from("copy"), overwrite: Overwrite::Never };
    let remote = Remote::DataMap(uploaded.data_map.unwrap());
    let options = DownloadOptions::default();
    client.client().download(remote, target, options).await.unwrap();
    assert!(fs::read(files.path().join("copy")).unwrap() == contents);
    client.shutdown().await;
    testnet.shutdown().await.unwrap();
}
