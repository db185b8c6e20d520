//! Whole nodes on sockets: started, asked, ended and started again.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use spillway_disk::{Clock, Disk, ManualClock, MemoryDisk, Overwrite, SystemClock};
use spillway_net::{Address, Net, NetOptions};
use spillway_node::{
    IdentityError, Node, NodeError, NodeOptions,
    limits::{BATCH_FILES_BYTES, SILENT_POLLS},
    read_wins,
};
use spillway_pay::ChainError;
use spillway_store::{FsStore, FsStoreOptions, StoreError};
use spillway_types::{
    ChunkAddress, DirectProof, Domain, EvmAddress, HasRequest, Leaf, Nonce, PaymentProof,
    PeerSecret, PutRequest, Quote, QuoteAnswer, QuoteItem, QuoteRequest, Refusal, RewardAddress,
    Seed, UnixTime, WinsPage, WinsRequest,
};

use crate::{
    fake_chain::FakeChain,
    world::{CHUNK_BYTES, Deal, PAYER, START, WINDOW, World, chunk, domain, leaf, reward, secret},
};

fn options(disk: &MemoryDisk, chain: &Arc<FakeChain>) -> NodeOptions {
    let (disk, chain) = (Arc::new(disk.clone()), chain.clone());
    NodeOptions {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        confirmations: 0,
        ..NodeOptions::new(disk, chain, domain(), reward(0))
    }
}

fn chain_at(now: UnixTime) -> Arc<FakeChain> {
    Arc::new(FakeChain::new(domain().chain_id, domain().vault, now))
}

async fn client(bootstrap: Vec<Address>) -> Net {
    let net = Net::start(NetOptions::client(secret(99), bootstrap)).await.unwrap();
    net.bootstrapped().await.unwrap();
    net
}

/// Five nodes that know each other.
async fn five(chain: &Arc<FakeChain>, disks: &[MemoryDisk]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for (number, disk) in (0..).zip(disks) {
        let bootstrap = nodes.first().map(Node::addresses).unwrap_or_default();
        let options = NodeOptions { bootstrap, reward: reward(number), ..options(disk, chain) };
        nodes.push(Node::start(options).await.unwrap());
    }
    let others = disks.len() - 1;
    join_all(nodes.iter().map(|node| node.known_at_least(others)))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_are_paid_and_store_and_a_restart_keeps_it() {
    let now = SystemClock.now();
    let chain = chain_at(now);
    let disks: Vec<MemoryDisk> = (0..5).map(|_| MemoryDisk::new()).collect();
    let nodes = five(&chain, &disks).await;
    let net = client(nodes[0].addresses()).await;
    let peers = net.peers();

    let body = chunk(1);
    let address = ChunkAddress::of(&body);
    let nonce = Nonce([4; 16]);
    let closest = peers.closest(address, 5).await.unwrap();
    assert_eq!(closest.len(), 5);
    let mut quotes = Vec::new();
    for peer in &closest {
        let items = vec![QuoteItem { address, size: CHUNK_BYTES }];
        let response = peers.quote(*peer, QuoteRequest { items, nonce }).await.unwrap();
        let QuoteAnswer::Offered { quote, receipt: None } = response.answers.unwrap()[0] else {
            panic!("no quote")
        };
        assert_eq!(quote.check(*peer, &domain(), (address, CHUNK_BYTES), now), Ok(()));
        quotes.push(quote);
    }
    let quotes: [_; 5] = quotes.try_into().unwrap();
    let leaf = leaf(address, &quotes);
    let put = put_of(leaf, &quotes, now.saturating_add(WINDOW), nonce);
    let payment = put.proof.id(&domain());
    chain.record_payment(payment, now.saturating_add(Duration::from_secs(1)));
    for peer in &closest {
        let response = peers.put(*peer, put.clone(), body.clone()).await.unwrap();
        let receipt = response.receipts.unwrap()[0];
        assert_eq!((receipt.peer, receipt.body.payment), (*peer, payment));
        assert_eq!(receipt.verify_signature(), Ok(()));
    }
    assert!(nodes.iter().all(|node| node.chunks() == 1));
    // One question a node.
    assert_eq!(chain.asked(), 5);

    net.shutdown().await;
    let names: Vec<_> = nodes.iter().map(Node::peer).collect();
    join_all(nodes.into_iter().map(Node::shutdown)).await;
    let again = five(&chain, &disks).await;
    assert_eq!(again.iter().map(Node::peer).collect::<Vec<_>>(), names);
    let net = client(again[0].addresses()).await;
    for node in &again {
        let peers = net.peers();
        peers.closest(address, 5).await.unwrap();
        let found = peers.get(node.peer(), address).await.unwrap();
        assert_eq!(found, Some(body.clone()));
        let request = HasRequest { addresses: vec![address, ChunkAddress([0; 32])] };
        let has = peers.has(node.peer(), request).await.unwrap().present;
        assert_eq!(has, Ok(vec![true, false]));
    }
    net.shutdown().await;
    join_all(again.into_iter().map(Node::shutdown)).await;
}

fn put_of(leaf: Leaf, quotes: &[Quote; 5], upload_by: UnixTime, nonce: Nonce) -> PutRequest {
    let proof = DirectProof::for_leaves(PAYER, upload_by, std::slice::from_ref(&leaf));
    PutRequest {
        leaf,
        size: CHUNK_BYTES,
        proof: PaymentProof::Direct(proof),
        quotes: *quotes,
        relay_to: Vec::new(),
        nonce,
    }
}

/// What further proofs and wins may fill is left free by the chunks.
#[tokio::test]
async fn chunks_leave_room_on_the_disk_for_proofs_and_wins() {
    let taken = FsStoreOptions::default().disk_margin_bytes + BATCH_FILES_BYTES;
    let disk = MemoryDisk::with_capacity(taken);
    let node = Node::start(options(&disk, &chain_at(SystemClock.now()))).await.unwrap();
    let net = client(node.addresses()).await;
    let ask = async || {
        let items = vec![QuoteItem { address: ChunkAddress([1; 32]), size: CHUNK_BYTES }];
        let request = QuoteRequest { items, nonce: Nonce([4; 16]) };
        net.peers().quote(node.peer(), request).await.unwrap().answers.unwrap().remove(0)
    };
    let full = ask().await;
    assert!(matches!(full, QuoteAnswer::Refused(Refusal::Full { .. })), "{full:?}");
    disk.set_capacity(taken + (1 << 20));
    let offered = ask().await;
    assert!(matches!(offered, QuoteAnswer::Offered { .. }), "{offered:?}");
    net.shutdown().await;
    node.shutdown().await;
}

#[tokio::test]
async fn one_process_a_directory() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    let node = Node::start(options(&disk, &chain)).await.unwrap();
    let second = Node::start(options(&disk, &chain)).await.unwrap_err();
    assert!(matches!(second, NodeError::Store(StoreError::Locked { .. })), "{second}");
    let name = node.peer();
    node.shutdown().await;
    let again = Node::start(options(&disk, &chain)).await.unwrap();
    assert_eq!(again.peer(), name);
    again.shutdown().await;
}

#[tokio::test]
async fn a_damaged_key_is_an_error_and_stays() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    Node::start(options(&disk, &chain)).await.unwrap().shutdown().await;
    let path = Path::new("identity.key");
    let mut bytes = disk.read(path, 1_000).unwrap();
    bytes[40] ^= 1;
    disk.write_durable(path, &bytes, Overwrite::Replace).unwrap();
    let error = Node::start(options(&disk, &chain)).await.unwrap_err();
    let damaged = matches!(error, NodeError::Identity(IdentityError::Damaged { .. }));
    assert!(damaged, "{error}");
    assert_eq!(disk.read(path, 1_000).unwrap(), bytes);
}

#[tokio::test]
async fn what_cannot_work_is_said_at_the_start() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    let good = || options(&disk, &chain);

    let nobody = NodeOptions { reward: RewardAddress::ZERO, ..good() };
    let error = Node::start(nobody).await.unwrap_err();
    assert!(matches!(error, NodeError::NoReward), "{error}");

    let wrong = Domain { chain_id: 1, ..domain() };
    let error = Node::start(NodeOptions { domain: wrong, ..good() }).await.unwrap_err();
    assert!(matches!(error, NodeError::WrongChain { expected: 1, found: 31_337 }), "{error}");

    let vault = EvmAddress([9; 20]);
    let missing = Domain { vault, ..domain() };
    let error = Node::start(NodeOptions { domain: missing, ..good() }).await.unwrap_err();
    assert!(matches!(error, NodeError::NoVault { vault: found } if found == vault), "{error}");

    chain.fail(Some(ChainError::RateLimited));
    let error = Node::start(good()).await.unwrap_err();
    assert!(matches!(error, NodeError::Chain(ChainError::RateLimited)), "{error}");
    chain.fail(None);

    let listen = vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()];
    let error = Node::start(NodeOptions { listen, ..good() }).await.unwrap_err();
    assert!(matches!(error, NodeError::Net(_)), "{error}");

    // None of them holds the directory.
    Node::start(good()).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_node_goes_by_the_chains_time_where_that_is_later() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    let clock = ManualClock::new(START);
    let every = Duration::from_secs(3);
    let options =
        NodeOptions { clock: Arc::new(clock.clone()), head_poll: every, ..options(&disk, &chain) };
    let node = Node::start(options).await.unwrap();
    assert_eq!(node.now(), START);
    // Told at once.
    let ahead = START.saturating_add(Duration::from_hours(30));
    chain.mine(ahead);
    node.refresh_time().await.unwrap();
    assert_eq!(node.now(), ahead);
    // And by itself, when it is due: it asks, then sleeps again.
    let further = ahead.saturating_add(Duration::from_hours(1));
    chain.mine(further);
    clock.wait_for_sleepers(1).await;
    clock.advance(every);
    clock.wait_for_sleepers(1).await;
    assert_eq!(node.now(), further);
    // A chain out of reach leaves what was known.
    chain.fail(Some(ChainError::Behind));
    assert!(matches!(node.refresh_time().await, Err(NodeError::Chain(ChainError::Behind))));
    assert_eq!(node.now(), further);
    node.shutdown().await;
}

#[tokio::test]
async fn a_quote_on_the_wire_carries_the_chains_time() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    let clock = Arc::new(ManualClock::new(START));
    let node = Node::start(NodeOptions { clock, ..options(&disk, &chain) }).await.unwrap();
    let ahead = START.saturating_add(Duration::from_hours(30));
    chain.mine(ahead);
    node.refresh_time().await.unwrap();
    let net = client(node.addresses()).await;
    let items = vec![QuoteItem { address: ChunkAddress::of(&Bytes::new()), size: 1 }];
    let request = QuoteRequest { items, nonce: Nonce([0; 16]) };
    let response = net.peers().quote(node.peer(), request).await.unwrap();
    let QuoteAnswer::Offered { quote, .. } = response.answers.unwrap()[0] else {
        panic!("refused")
    };
    assert_eq!(quote.terms.issued, ahead);
    assert_ne!(quote.peer, PeerSecret::from_seed(&[0; 32]).peer());
    net.shutdown().await;
    node.shutdown().await;
}

/// While it cannot see payments, a node does not sell.
#[tokio::test]
async fn a_node_that_does_not_hear_the_chain_gives_no_price() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    let clock = Arc::new(ManualClock::new(START));
    let poll = Duration::from_secs(12);
    let options = NodeOptions { clock: clock.clone(), head_poll: poll, ..options(&disk, &chain) };
    let node = Node::start(options).await.unwrap();
    let net = client(node.addresses()).await;
    let ask = async || {
        let items = vec![QuoteItem { address: ChunkAddress::of(&Bytes::new()), size: 1 }];
        let request = QuoteRequest { items, nonce: Nonce([0; 16]) };
        net.peers().quote(node.peer(), request).await.unwrap().answers
    };
    let sells = async || matches!(ask().await.as_deref(), Ok([QuoteAnswer::Offered { .. }]));
    chain.fail(Some(ChainError::Behind));
    for _ in 0..SILENT_POLLS {
        clock.wait_for_sleepers(1).await;
        assert!(sells().await);
        clock.advance(poll);
    }
    // As long as it may be, and then a moment more.
    assert!(sells().await);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask().await, Err(Refusal::ChainUnavailable));
    chain.fail(None);
    node.refresh_time().await.unwrap();
    assert!(sells().await);
    net.shutdown().await;
    node.shutdown().await;
}

/// A node on its own follows the chain, walks its store, and tells what it has won.
#[tokio::test]
async fn a_node_notes_its_wins_and_tells_them() {
    let (disk, chain) = (MemoryDisk::new(), chain_at(START));
    let deal = stored_in_a_batch(&disk).await;
    let upload_by = deal.put.proof.upload_by();
    let clock = ManualClock::new(START);
    let every = Duration::from_secs(3);
    let options =
        NodeOptions { clock: Arc::new(clock.clone()), head_poll: every, ..options(&disk, &chain) };
    let node = Node::start(options).await.unwrap();
    node.refresh_time().await.unwrap();
    assert_eq!(node.wins(), 0);
    chain.post_seed(upload_by, Seed([1; 32]));
    node.refresh_time().await.unwrap();
    let wins = read_wins(&disk).unwrap();
    assert_eq!((node.wins(), wins.len()), (2, 2));
    let net = client(node.addresses()).await;
    let told = net.peers().wins(node.peer(), WinsRequest { after: None }).await.unwrap().page;
    assert_eq!(told, Ok(WinsPage { wins, more: false, waiting: Vec::new() }));
    // By itself, when it is due: settled meanwhile.
    chain.settle(deal.payment(), [0, 1]);
    let asked = chain.asked();
    clock.wait_for_sleepers(1).await;
    clock.advance(every);
    chain.wait_until_asked(asked + 1).await;
    clock.wait_for_sleepers(1).await;
    node.refresh_time().await.unwrap();
    assert_eq!((node.wins(), read_wins(&disk).unwrap()), (0, vec![]));
    net.shutdown().await;
    node.shutdown().await;
}

/// Puts a chunk of a batch into a store on this disk.
async fn stored_in_a_batch(disk: &MemoryDisk) -> Deal {
    let options = FsStoreOptions::default();
    let store = FsStore::open(Arc::new(disk.clone()), options).await.unwrap();
    let world = World::with(store, |_| {});
    let deal = world.paid_batch(1, |terms| terms.draws = 2).await;
    world.put(&deal).await.unwrap();
    deal
}
