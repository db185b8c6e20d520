//! Starting, finding, limiting and ending the real network.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_net::{
    Address, AdmittedPut, Deadlines, Net, NetError, NetLimits, NetOptions, PeersError, Serve,
    Transports,
};
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, PeerKey, PutRequest, QuoteRequest, QuoteResponse,
    Refusal,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout},
};

use crate::fixture::{Manner, TestNode, address, chunk, put, quotes, secret};

const SOON: Duration = Duration::from_secs(10);

fn anywhere(transport: &str) -> Address {
    match transport {
        "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
        _ => "/ip4/127.0.0.1/tcp/0",
    }
    .parse()
    .unwrap()
}

/// Where a node can come back to after others had their chance to take its ports: below those that
/// the system hands out. They are free now.
fn lasting() -> Vec<Address> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let first = u16::try_from(std::process::id() % 5_000).unwrap() * 2;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let at = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            let tcp = format!("/ip4/127.0.0.1/tcp/{port}");
            let quic = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
            return vec![tcp.parse().unwrap(), quic.parse().unwrap()];
        }
    }
}

fn node(byte: u8, bootstrap: Vec<Address>) -> NetOptions {
    NetOptions::node(secret(byte), vec![anywhere("tcp"), anywhere("quic")], bootstrap)
}

async fn client(byte: u8, bootstrap: Vec<Address>) -> Net {
    let client = Net::start(NetOptions::client(secret(byte), bootstrap)).await.unwrap();
    client.bootstrapped().await.unwrap();
    client
}

#[tokio::test]
async fn a_node_that_does_not_serve_yet_is_busy() {
    let server = Net::start(node(1, Vec::new())).await.unwrap();
    let client = client(2, server.listen_addresses()).await;
    let peer = server.local();
    let busy = Refusal::Busy { after_ms: 1_000 };
    let quoted = client.peers().quote(peer, quotes(1)).await.unwrap();
    assert_eq!(quoted.answers, Err(busy.clone()));
    let stored = client.peers().put(peer, put(address(1), 100_000), chunk(100_000)).await.unwrap();
    assert_eq!(stored.receipts, Err(busy.clone()));
    let got = client.peers().get(peer, address(1)).await;
    assert_eq!(got, Err(PeersError::Refused { peer, refusal: busy.clone() }));
    let has = HasRequest { addresses: vec![address(1)] };
    assert_eq!(client.peers().has(peer, has).await.unwrap().present, Err(busy));
    server.serve(TestNode::new(secret(1), Manner::Willing));
    assert_eq!(client.peers().get(peer, address(1)).await, Ok(None));
    client.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn addresses_name_the_peer_and_the_port_that_was_taken() {
    let mut options = node(1, Vec::new());
    options.external = vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()];
    let net = Net::start(options).await.unwrap();
    let addresses = net.listen_addresses();
    assert_eq!(addresses.len(), 3);
    assert_eq!(addresses[0].to_string(), format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", net.local()));
    for address in &addresses {
        assert_eq!(address.peer(), Some(net.local()));
        assert!(
            !address.to_string().contains("/tcp/0/") && !address.to_string().contains("/udp/0/")
        );
    }
    net.shutdown().await;
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why() {
    let first = Net::start(node(1, Vec::new())).await.unwrap();
    let tcp = first.listen_addresses().into_iter().find(|a| a.to_string().contains("tcp")).unwrap();
    let taken = NetOptions::node(secret(2), vec![tcp.clone()], Vec::new());
    match Net::start(taken).await {
        Err(NetError::Listen { address, source }) => {
            assert_eq!(address, tcp);
            assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        }
        other => panic!("{other:?}"),
    }
    let mut options = node(2, Vec::new());
    options.transports = Transports { quic: true, tcp: false };
    match Net::start(options).await {
        Err(NetError::Listen { address, source }) => {
            assert_eq!(address, anywhere("tcp"));
            assert_eq!(source.kind(), io::ErrorKind::Unsupported);
        }
        other => panic!("{other:?}"),
    }
    let mut options = node(2, Vec::new());
    options.transports = Transports { quic: false, tcp: false };
    assert!(matches!(Net::start(options).await, Err(NetError::NoTransport)));
    first.shutdown().await;
}

#[tokio::test]
async fn a_network_that_is_not_there_is_not_found() {
    let client = Net::start(NetOptions::client(secret(1), Vec::new())).await.unwrap();
    assert!(matches!(client.bootstrapped().await, Err(NetError::NoBootstrap)));
    client.shutdown().await;

    let mut options = NetOptions::client(secret(2), lasting());
    let after = Duration::from_millis(300);
    options.deadlines = Deadlines { bootstrap: after, ..Deadlines::default() };
    let client = Net::start(options).await.unwrap();
    match client.bootstrapped().await {
        Err(NetError::Unreachable { after: waited }) => assert_eq!(waited, after),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.known_peers(), 0);
    assert_eq!(client.peers().closest(address(1), 10).await, Err(PeersError::NoPeers));
    assert_eq!(client.peers().known_closest(address(1), 10).await, Ok(Vec::new()));
    client.shutdown().await;
}

#[tokio::test]
async fn a_network_that_comes_later_is_found() {
    let unnamed = lasting();
    let listen: Vec<_> = unnamed.iter().map(|a| a.with_peer(secret(1).peer())).collect();
    let client = Net::start(NetOptions::client(secret(2), listen.clone())).await.unwrap();
    // An address that names nobody will do, too.
    let other = Net::start(NetOptions::client(secret(3), unnamed)).await.unwrap();
    let again = Net::start(NetOptions::node(secret(1), listen, Vec::new())).await.unwrap();
    for client in [&client, &other] {
        client.bootstrapped().await.unwrap();
        assert_eq!(client.known_peers(), 1);
        assert_eq!(client.peers().closest(address(1), 10).await, Ok(vec![again.local()]));
    }
    client.shutdown().await;
    other.shutdown().await;
    again.shutdown().await;
}

#[tokio::test]
async fn a_node_that_restarts_is_reached_again() {
    let at = NetOptions::node(secret(1), lasting(), Vec::new());
    let first = Net::start(at).await.unwrap();
    let (peer, listen) = (first.local(), first.listen_addresses());
    first.serve(TestNode::new(secret(1), Manner::Willing));
    let client = client(2, listen.clone()).await;
    assert_eq!(client.peers().get(peer, address(1)).await, Ok(None));
    first.shutdown().await;
    let down = client.peers().get(peer, address(1)).await.unwrap_err();
    assert!(matches!(down, PeersError::Unreachable { .. } | PeersError::Broken { .. }), "{down:?}");
    let again = Net::start(NetOptions::node(secret(1), listen, Vec::new())).await.unwrap();
    again.serve(TestNode::new(secret(1), Manner::Willing));
    let asked = async {
        while client.peers().get(peer, address(1)).await != Ok(None) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, asked).await.unwrap();
    client.shutdown().await;
    again.shutdown().await;
}

#[tokio::test]
async fn what_moves_is_counted() {
    let server = Net::start(node(1, Vec::new())).await.unwrap();
    server.serve(TestNode::new(secret(1), Manner::Willing));
    let client = client(2, server.listen_addresses()).await;
    let before = client.traffic();
    let size = 1_000_000;
    client.peers().put(server.local(), put(address(1), size), chunk(size)).await.unwrap();
    let after = client.traffic();
    let sent = after.sent_bytes - before.sent_bytes;
    assert!((1_000_000..1_100_000).contains(&sent), "{sent}");
    assert!(after.received_bytes - before.received_bytes < 100_000, "{after:?}");
    client.peers().get(server.local(), address(1)).await.unwrap().unwrap();
    let received = client.traffic().received_bytes - after.received_bytes;
    assert!((1_000_000..1_100_000).contains(&received), "{received}");
    client.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn connections_are_limited() {
    let mut options = node(1, Vec::new());
    options.limits = NetLimits { inbound_connections: 2, ..NetLimits::default() };
    let server = Net::start(options).await.unwrap();
    server.serve(TestNode::new(secret(1), Manner::Willing));
    let listen = server.listen_addresses();
    let (a, b) = (client(2, listen.clone()).await, client(3, listen.clone()).await);
    let mut options = NetOptions::client(secret(4), listen.clone());
    let after = Duration::from_secs(1);
    options.deadlines = Deadlines { bootstrap: after, ..Deadlines::default() };
    let third = Net::start(options).await.unwrap();
    assert!(matches!(third.bootstrapped().await, Err(NetError::Unreachable { .. })));
    for client in [&a, &b] {
        assert_eq!(client.peers().get(server.local(), address(1)).await, Ok(None));
    }
    a.shutdown().await;
    // Its place is free again, and the third still tries.
    let found = async { while third.bootstrapped().await.is_err() {} };
    timeout(SOON, found).await.unwrap();
    for net in [b, third, server] {
        net.shutdown().await;
    }
}

/// Answers a `get` when it is told to, and panics on a `has`.
#[derive(Default)]
struct Slow {
    asked: Notify,
    answer: Notify,
}

#[async_trait]
impl Serve for Slow {
    async fn quote(&self, _: PeerKey, _: QuoteRequest) -> QuoteResponse {
        QuoteResponse { answers: Err(Refusal::Unsupported) }
    }

    async fn admit(&self, _: PeerKey, _: PutRequest) -> Result<Box<dyn AdmittedPut>, Refusal> {
        Err(Refusal::Unsupported)
    }

    async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        self.asked.notify_one();
        self.answer.notified().await;
        Ok(Some(chunk(500_000)))
    }

    async fn has(&self, _: PeerKey, _: HasRequest) -> HasResponse {
        panic!("a bug in a node");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_an_answer_out() {
    let server = Net::start(node(1, Vec::new())).await.unwrap();
    let (peer, slow) = (server.local(), Arc::new(Slow::default()));
    server.serve(Arc::clone(&slow) as _);
    let client = client(2, server.listen_addresses()).await;
    let peers = client.peers();
    let (done, ended) = oneshot::channel();
    let shutdown = async {
        slow.asked.notified().await;
        server.shutdown().await;
        done.send(()).unwrap();
    };
    let release = async {
        // New requests are refused as soon as the shutdown has begun.
        let busy = loop {
            let answer = peers.quote(peer, quotes(1)).await.unwrap();
            if answer.answers != Err(Refusal::Unsupported) {
                break answer.answers;
            }
        };
        assert_eq!(busy, Err(Refusal::Busy { after_ms: 1_000 }));
        slow.answer.notify_one();
    };
    let (got, (), ()) = tokio::join!(peers.get(peer, address(1)), shutdown, release);
    assert!(got == Ok(Some(chunk(500_000))), "{:?}", got.map(|body| body.map(|b| b.len())));
    ended.await.unwrap();
    client.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_does_not_wait_for_ever() {
    let mut options = node(1, Vec::new());
    options.deadlines = Deadlines { drain: Duration::from_millis(300), ..Deadlines::default() };
    let server = Net::start(options).await.unwrap();
    let (peer, slow) = (server.local(), Arc::new(Slow::default()));
    server.serve(Arc::clone(&slow) as _);
    let client = client(2, server.listen_addresses()).await;
    let peers = client.peers();
    let shutdown = async {
        slow.asked.notified().await;
        let started = Instant::now();
        server.shutdown().await;
        assert!(started.elapsed() < SOON);
    };
    let (got, ()) = tokio::join!(peers.get(peer, address(1)), shutdown);
    assert_eq!(got, Err(PeersError::Broken { peer }));
    client.shutdown().await;
    assert_eq!(peers.get(peer, address(1)).await, Err(PeersError::Closed));
    assert_eq!(peers.closest(address(1), 1).await, Err(PeersError::Closed));
    assert_eq!(peers.known_closest(address(1), 1).await, Err(PeersError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_one_answer_ends_only_that() {
    let server = Net::start(node(1, Vec::new())).await.unwrap();
    let peer = server.local();
    server.serve(Arc::new(Slow::default()));
    let client = client(2, server.listen_addresses()).await;
    for _ in 0..3 {
        let has = HasRequest { addresses: vec![address(1)] };
        assert_eq!(client.peers().has(peer, has).await, Err(PeersError::Broken { peer }));
    }
    let quoted = client.peers().quote(peer, quotes(1)).await.unwrap();
    assert_eq!(quoted.answers, Err(Refusal::Unsupported));
    client.shutdown().await;
    server.shutdown().await;
}
