//! One batch through everything that is real, and nodes as their operators run them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use spillway_client::{
    ModeChoice, PaymentMode, SettleOptions, Source, UploadOptions, refundable, settle,
};
use spillway_disk::{Disk, MemoryDisk, Overwrite, RealDisk};
use spillway_node::Price;
use spillway_testnet::{ChangeNode, NodeOptions, TestNode, Testnet, TestnetOptions};
use spillway_types::Atto;

use crate::place::options;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_drawn_and_settled() {
    let dir = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    // A few bytes cost what a few chunks of the usual size cost.
    let price = Price::per_mib(Atto(4_096 * 10_000_000_000_000)).unwrap();
    let change: ChangeNode = Arc::new(move |_, node| NodeOptions { price, ..node });
    let testnet = TestnetOptions { change: Some(change), ..options(dir.path(), 6) };
    let testnet = Testnet::start(testnet).await.unwrap();
    let client = testnet.client(data.path()).await.unwrap();

    let disk = MemoryDisk::new();
    let contents: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
    disk.write_durable("source".as_ref(), &contents, Overwrite::Never).unwrap();
    let source = Source::Path { disk: Arc::new(disk), path: PathBuf::from("source") };
    let options =
        UploadOptions { mode: ModeChoice::Batch, segment_bytes: 1_000, ..UploadOptions::default() };
    let uploaded = client.client().upload(source, testnet.wallet(), options).await.unwrap();
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Batch));

    testnet.advance(Duration::from_hours(50)).await.unwrap();
    testnet.post_seeds().await.unwrap();
    let settler = testnet.fund(Atto::ZERO, spillway_types::Wei(10_u128.pow(18))).await.unwrap();
    let from = testnet.running().map(TestNode::peer).collect();
    let options = SettleOptions { from, ..SettleOptions::default() };
    let peers = client.net().peers();
    let report = settle(&*peers, client.payments(), &settler, options).await.unwrap();
    assert_eq!((report.wins, report.settled.draws), (1, 1), "{report:?}");

    // The prize is owed to nodes, the tip has been paid, and nothing else is there.
    let (chain, vault) = (testnet.chain(), testnet.domain().vault);
    let tip = chain.tokens(testnet.token(), settler.address()).await.unwrap();
    let prize = uploaded.spend.storage_cost.saturating_sub(tip);
    assert!(tip > Atto::ZERO && prize > tip);
    let mut credits = Atto::ZERO;
    for reward in testnet.rewards() {
        credits = credits.saturating_add(chain.credit(vault, reward).await.unwrap());
    }
    assert_eq!((credits, chain.tokens(testnet.token(), vault).await.unwrap()), (prize, prize));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(data.path()).unwrap());
    assert_eq!(refundable(client.payments(), &disk).await.unwrap(), []);
    client.shutdown().await;
    testnet.shutdown().await.unwrap();
}
