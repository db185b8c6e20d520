//! How many bytes a second the network moves: one client puts chunks to five nodes that throw them
//! away, and gets them back.
//!
//!     cargo run --release -p spillway-net --example throughput -- [tcp|quic] [chunks] [nodes] [apart]
//!
//! With `apart` the nodes run in a process of their own. The first five take chunks, all of them
//! are searched for.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use spillway_net::{Address, AdmittedPut, Net, NetOptions, Peers, Serve, Transports};
use spillway_types::{
    Atto, ChunkAddress, DirectProof, Domain, EvmAddress, HasRequest, HasResponse, Leaf, NetworkId,
    Nonce, PaymentProof, PeerKey, PeerSecret, PutRequest, PutResponse, QuoteRequest, QuoteResponse,
    QuoteTerms, Refusal, RewardAddress, Share, UnixTime, limits::MAX_CHUNK_BYTES,
};

/// Nodes that each chunk is put to.
const COPIES: usize = 5;

/// Chunks that are under way at once.
const CONCURRENT: usize = 12;

struct Null(Bytes);

#[async_trait]
impl Serve for Null {
    async fn quote(&self, _: PeerKey, _: QuoteRequest) -> QuoteResponse {
        QuoteResponse { answers: Err(Refusal::Unsupported) }
    }

    async fn admit(&self, _: PeerKey, _: PutRequest) -> Result<Box<dyn AdmittedPut>, Refusal> {
        Ok(Box::new(NullPut))
    }

    async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        Ok(Some(self.0.clone()))
    }

    async fn has(&self, _: PeerKey, _: HasRequest) -> HasResponse {
        HasResponse { present: Err(Refusal::Unsupported) }
    }
}

struct NullPut;

#[async_trait]
impl AdmittedPut for NullPut {
    async fn store(self: Box<Self>, _: Bytes) -> PutResponse {
        // A refusal is the shortest answer.
        PutResponse { receipts: Err(Refusal::Unsupported) }
    }
}

fn put() -> PutRequest {
    let address = ChunkAddress([0; 32]);
    let size = u32::try_from(MAX_CHUNK_BYTES).expect("invariant: 4 MiB");
    let terms = QuoteTerms {
        domain: Domain { network: NetworkId([1; 32]), chain_id: 1, vault: EvmAddress([2; 20]) },
        address,
        size,
        price: Atto(1),
        reward: RewardAddress([3; 20]),
        issued: UnixTime(1),
        expires: UnixTime(2),
        min_tip: Atto(0),
        max_prize: Atto(0),
        max_window_secs: 1,
        confirmations: 0,
    };
    let quote = terms.sign(&PeerSecret::from_seed(&[1; 32]));
    let share = Share { payee: terms.reward, amount: terms.price };
    let leaf = Leaf { address, shares: [share; 5] };
    let proof = DirectProof::for_leaves(EvmAddress([4; 20]), UnixTime(1), &vec![leaf.clone(); 100]);
    PutRequest {
        leaf,
        size,
        proof: PaymentProof::Direct(proof),
        quotes: [quote; 5],
        relay_to: Vec::new(),
        nonce: Nonce([5; 16]),
    }
}

async fn nodes(transport: &str, count: usize) -> Vec<Net> {
    let listen: Address = match transport {
        "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
        _ => "/ip4/127.0.0.1/tcp/0",
    }
    .parse()
    .expect("invariant: an address");
    let body = Bytes::from(vec![7; MAX_CHUNK_BYTES]);
    let mut nets: Vec<Net> = Vec::new();
    for _ in 0..count {
        let known = nets.first().map(Net::listen_addresses).unwrap_or_default();
        let secret = PeerSecret::generate().expect("the system's randomness");
        let net = Net::start(NetOptions::node(secret, vec![listen.clone()], known)).await;
        let net = net.expect("a free port");
        net.serve(Arc::new(Null(body.clone())));
        net.bootstrapped().await.expect("the first node");
        nets.push(net);
    }
    nets
}

async fn measure(transport: &str, chunks: usize, count: usize, bootstrap: Vec<Address>) {
    let secret = PeerSecret::generate().expect("the system's randomness");
    let mut options = NetOptions::client(secret, bootstrap);
    options.transports = Transports { quic: transport == "quic", tcp: transport == "tcp" };
    let net = Net::start(options).await.expect("a client");
    net.bootstrapped().await.expect("the nodes");
    net.known_at_least(count).await.expect("the nodes");
    let peers = net.peers();
    let body = Bytes::from(vec![9; MAX_CHUNK_BYTES]);
    let all = peers.closest(ChunkAddress([0; 32]), COPIES).await.expect("the nodes");
    let source =
        f64::from(u32::try_from(chunks * MAX_CHUNK_BYTES / 1_000).unwrap_or(u32::MAX)) / 1e3;

    let started = Instant::now();
    let request = put();
    let put_all = |_: usize| {
        let (peers, body, all, request) = (&peers, &body, &all, &request);
        async move {
            let puts = all.iter().map(|peer| peers.put(*peer, request.clone(), body.clone()));
            for answer in futures::future::join_all(puts).await {
                answer.expect("an answer");
            }
        }
    };
    stream::iter(0..chunks).map(put_all).buffer_unordered(CONCURRENT).collect::<Vec<_>>().await;
    report("put to 5", source, 5.0, started);

    let started = Instant::now();
    let get_one = |number: usize| {
        let (peers, peer) = (&peers, all[number % all.len()]);
        async move { peers.get(peer, ChunkAddress([1; 32])).await.expect("a chunk") }
    };
    stream::iter(0..chunks).map(get_one).buffer_unordered(CONCURRENT).for_each(|_| async {}).await;
    report("get from 1", source, 1.0, started);
    searches(&peers).await;
    net.shutdown().await;
}

async fn searches(peers: &Arc<dyn Peers>) {
    let started = Instant::now();
    let search = |number: u64| async move {
        let mut address = ChunkAddress([0; 32]);
        address.0[..8].copy_from_slice(&number.to_le_bytes());
        peers.closest(address, 10).await.expect("peers")
    };
    stream::iter(0..200).map(search).buffer_unordered(32).collect::<Vec<_>>().await;
    let mut out = std::io::stdout();
    let took = started.elapsed().as_secs_f64();
    writeln!(out, "200 searches  {took:.3} s").expect("standard output");
}

fn report(what: &str, megabytes: f64, copies: f64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let (source, wire) = (megabytes / seconds, megabytes * copies / seconds);
    let mut out = std::io::stdout();
    writeln!(out, "{what}: {source:.0} MB/s of source, {wire:.0} MB/s on the wire")
        .expect("standard output");
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let transport = arguments.first().map_or("tcp", String::as_str).to_owned();
    let chunks = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(64);
    let count = arguments.get(2).and_then(|n| n.parse().ok()).unwrap_or(COPIES);
    match arguments.get(3).map(String::as_str) {
        Some("serve") => {
            let nets = nodes(&transport, count).await;
            let mut out = std::io::stdout();
            writeln!(out, "{}", nets[0].listen_addresses()[0]).expect("standard output");
            // Until the other process closes it.
            let _ = std::io::stdin().lock().read_line(&mut String::new());
        }
        Some("apart") => {
            let mut child = Command::new(std::env::current_exe().expect("this program"))
                .args([&transport, "0", &count.to_string(), "serve"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process");
            let out = child.stdout.take().expect("invariant: piped");
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).expect("the address");
            measure(&transport, chunks, count, vec![line.trim().parse().expect("an address")])
                .await;
            drop(child.stdin.take());
            child.wait().expect("the nodes end");
        }
        _ => {
            let nets = nodes(&transport, count).await;
            measure(&transport, chunks, count, nets[0].listen_addresses()).await;
            for net in nets {
                net.shutdown().await;
            }
        }
    }
}
