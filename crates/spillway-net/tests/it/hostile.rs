//! Peers that break the protocol, over each transport.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use libp2p::{StreamProtocol, kad, request_response::OutboundFailure};
use spillway_net::{Address, Deadlines, Net, NetLimits, NetOptions, PeersError};
use spillway_types::{
    GetResponse, PeerKey, PutResponse, Refusal, Request, Response,
    limits::{MAX_CHUNK_BYTES, MAX_HEADER_BYTES},
};
use tokio::time::timeout;

use crate::{
    fixture::{Manner, TestNode, address, chunk, put, secret},
    raw::{CHUNK, RawPeer, Script, kad_result, peer_id, raw_kad},
    stage::Medium,
};

/// Long for anything that happens on one machine.
const SOON: Duration = Duration::from_secs(10);

/// Short, so that a test can wait for it; long enough that a busy machine does what must come
/// before it.
const STALL: Duration = Duration::from_secs(2);

macro_rules! over_each_transport {
    ($($test:ident),+ $(,)?) => {
        over_each_transport!(@ quic, Quic, $($test),+);
        over_each_transport!(@ tcp, Tcp, $($test),+);
    };
    (@ $module:ident, $medium:ident, $($test:ident),+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let test = super::$test(super::Medium::$medium);
                tokio::time::timeout(4 * super::SOON, test).await.expect("the test ends");
            })+
        }
    };
}

over_each_transport!(
    a_header_that_is_too_long_is_refused,
    a_header_that_cannot_be_read_is_refused,
    a_header_of_no_known_kind_gets_no_answer,
    a_body_that_is_too_long_is_refused,
    a_body_that_ends_early_is_forgotten,
    a_body_that_stalls_is_forgotten,
    a_flood_of_streams_is_refused_and_others_are_served,
    unfinished_requests_take_nobody_elses_place,
    another_protocol_is_not_spoken,
    kademlia_stores_nothing,
    answers_that_break_the_protocol_are_no_answers,
    a_silent_peer_is_given_up,
);

struct Victim {
    net: Net,
    node: Arc<TestNode>,
    address: Address,
}

impl Victim {
    async fn new(medium: Medium, manner: Manner) -> Self {
        Self::limited(medium, manner, NetLimits::default()).await
    }

    async fn limited(medium: Medium, manner: Manner, limits: NetLimits) -> Self {
        let mut options = NetOptions::node(secret(1), vec![medium.listen()], Vec::new());
        options.transports = medium.transports();
        options.deadlines = Deadlines { stall: STALL, ..Deadlines::default() };
        options.limits = limits;
        let net = Net::start(options).await.unwrap();
        let node = TestNode::new(secret(1), manner);
        net.serve(Arc::clone(&node) as _);
        let address = net.listen_addresses().remove(0);
        Self { net, node, address }
    }

    /// Is served, as somebody else.
    async fn serves(&self, medium: Medium) {
        let mut options = NetOptions::client(secret(2), vec![self.address.clone()]);
        options.transports = medium.transports();
        let client = Net::start(options).await.unwrap();
        client.bootstrapped().await.unwrap();
        let peers = client.peers();
        let size = 300_000;
        let stored = peers.put(self.net.local(), put(address(99), size), chunk(size)).await;
        assert_eq!(stored.unwrap().receipts.unwrap().len(), 1);
        assert!(self.node.chunk(address(99)) == Some(chunk(size)), "the body is another");
        client.shutdown().await;
    }

    async fn end(self) {
        self.net.shutdown().await;
    }
}

/// Reads a response that has no body.
fn response(frame: &[u8]) -> Response {
    let (length, header) = frame.split_first_chunk::<4>().unwrap();
    assert_eq!(u32::from_le_bytes(*length) as usize, header.len());
    Response::decode(header).unwrap()
}

fn put_refused(refusal: Refusal) -> Response {
    Response::Put(PutResponse { receipts: Err(refusal) })
}

fn put_frame(size: usize, body: usize) -> Vec<u8> {
    let header = Request::Put(put(address(1), size)).encode().unwrap();
    Script::frame(&header, &chunk(body))
}

async fn a_header_that_is_too_long_is_refused(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    for length in [u32::try_from(MAX_HEADER_BYTES).unwrap() + 1, u32::MAX] {
        // More than any window after it, of which nothing is read.
        let long = [&length.to_le_bytes()[..], &vec![1; 1_000_000]].concat();
        let answer = peer.ask(&victim.address, Script::says(long)).await.unwrap();
        assert_eq!(response(&answer), put_refused(Refusal::Malformed));
    }
    victim.serves(medium).await;
    victim.end().await;
}

async fn a_header_that_cannot_be_read_is_refused(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    let mut trailing = Request::Get(address(1)).encode().unwrap();
    trailing.push(0);
    let truncated = &trailing[..20];
    for header in [&trailing[..], truncated, &[2]] {
        let script = Script::says(Script::frame(header, &[]));
        let answer = peer.ask(&victim.address, script).await.unwrap();
        let refused = Response::Get(GetResponse::Refused(Refusal::Malformed));
        assert_eq!(response(&answer), refused);
    }
    // A put of no bytes, and one of more than a chunk may have.
    for size in [0, MAX_CHUNK_BYTES + 1] {
        let header = encode_unchecked(size);
        let script = Script::says(Script::frame(&header, &[]));
        let answer = peer.ask(&victim.address, script).await.unwrap();
        assert_eq!(response(&answer), put_refused(Refusal::Malformed));
    }
    assert_eq!(victim.node.asked_by(), []);
    victim.serves(medium).await;
    victim.end().await;
}

/// A put's header of a size that an honest sender cannot encode.
fn encode_unchecked(size: usize) -> Vec<u8> {
    postcard::to_stdvec(&Request::Put(put(address(1), size))).unwrap()
}

async fn a_header_of_no_known_kind_gets_no_answer(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    let long = [&u32::MAX.to_le_bytes()[..], &[6]].concat();
    for bytes in [Script::frame(&[77; 40], &[]), vec![0; 4], vec![1, 0], Vec::new(), long] {
        match peer.ask(&victim.address, Script::says(bytes)).await {
            // A reset stream looks like an ended one over Yamux.
            Ok(answer) => assert_eq!(answer, []),
            Err(OutboundFailure::Io(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(victim.node.asked_by(), []);
    victim.serves(medium).await;
    victim.end().await;
}

async fn a_body_that_is_too_long_is_refused(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    for (size, body) in [(10, 11), (10, MAX_CHUNK_BYTES), (MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 1)] {
        let script = Script::says(put_frame(size, body));
        let answer = peer.ask(&victim.address, script).await.unwrap();
        assert_eq!(response(&answer), put_refused(Refusal::Malformed));
    }
    // A request that has no body has one.
    let get = Request::Get(address(1)).encode().unwrap();
    let script = Script::says(Script::frame(&get, &[0]));
    let answer = peer.ask(&victim.address, script).await.unwrap();
    let refused = Response::Get(GetResponse::Refused(Refusal::Malformed));
    assert_eq!(response(&answer), refused);
    victim.node.admitted_are(0).await;
    assert_eq!(victim.node.chunks(), 0);
    victim.serves(medium).await;
    victim.end().await;
}

async fn a_body_that_ends_early_is_forgotten(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    for (size, body) in [(MAX_CHUNK_BYTES, MAX_CHUNK_BYTES - 1), (10, 0)] {
        let script = Script::says(put_frame(size, body));
        match peer.ask(&victim.address, script).await {
            Ok(answer) => assert_eq!(answer, []),
            Err(OutboundFailure::Io(_)) => {}
            Err(other) => panic!("{other}"),
        }
        victim.node.admitted_are(0).await;
    }
    assert_eq!(victim.node.asked_by().len(), 2);
    assert_eq!(victim.node.chunks(), 0);
    victim.serves(medium).await;
    victim.end().await;
}

async fn a_body_that_stalls_is_forgotten(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    // More than the peer's share of the memory for bodies has room for; some more wait.
    for _ in 0..16 {
        peer.send(&victim.address, Script::stalls(put_frame(MAX_CHUNK_BYTES, 100_000)));
    }
    let stalled = async {
        victim.node.admitted_are(16).await;
        victim.node.admitted_are(0).await;
    };
    tokio::select! {
        () = stalled => {}
        () = peer.carry_on() => unreachable!(),
    }
    assert_eq!(victim.node.chunks(), 0);
    victim.serves(medium).await;
    victim.end().await;
}

async fn a_flood_of_streams_is_refused_and_others_are_served(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(CHUNK);
    // Half a header each, more than are answered at once, fewer than are reset.
    let half = put_frame(10, 0)[..100].to_vec();
    for _ in 0..32 {
        peer.send(&victim.address, Script::stalls(half.clone()));
    }
    let whole = peer.send(&victim.address, Script::says(put_frame(10, 10)));
    let refused = async {
        loop {
            let (request, answer) = peer.heard().await;
            if request == whole {
                let busy = Refusal::Busy { after_ms: 1_000 };
                assert_eq!(response(&answer.unwrap()), put_refused(busy));
                break;
            }
        }
    };
    tokio::join!(victim.serves(medium), refused);
    // The places come back when the stalled ones are given up.
    let answered = async {
        loop {
            tokio::task::yield_now().await;
            let answer = peer.ask(&victim.address, Script::says(put_frame(10, 10))).await;
            if let Ok(frame) = answer
                && let Response::Put(PutResponse { receipts: Ok(receipts) }) = response(&frame)
            {
                break receipts.len();
            }
        }
    };
    assert_eq!(timeout(SOON, answered).await, Ok(1));
    victim.end().await;
}

async fn unfinished_requests_take_nobody_elses_place(medium: Medium) {
    let limits = NetLimits { requests: 4, requests_per_peer: 8, ..NetLimits::default() };
    let victim = Victim::limited(medium, Manner::Willing, limits).await;
    let mut peer = RawPeer::new(CHUNK);
    // Whole gets, but for the end of the stream: all that this peer may ask, twice what all may.
    let get = Script::frame(&Request::Get(address(1)).encode().unwrap(), &[]);
    for _ in 0..8 {
        peer.send(&victim.address, Script::stalls(get.clone()));
    }
    let whole = peer.send(&victim.address, Script::says(get));
    let refused = async {
        loop {
            let (request, answer) = peer.heard().await;
            if request == whole {
                let busy = Refusal::Busy { after_ms: 1_000 };
                let refused = Response::Get(GetResponse::Refused(busy));
                assert_eq!(response(&answer.unwrap()), refused);
                break;
            }
        }
    };
    refused.await;
    victim.serves(medium).await;
    victim.end().await;
}

async fn another_protocol_is_not_spoken(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let mut peer = RawPeer::new(StreamProtocol::new("/spillway/chunk/2"));
    let get = Script::says(Script::frame(&Request::Get(address(1)).encode().unwrap(), &[]));
    match peer.ask(&victim.address, get).await {
        Err(OutboundFailure::UnsupportedProtocols) => {}
        other => panic!("{other:?}"),
    }
    // And the other way round.
    let at = peer.listen(&medium.listen()).await;
    let mut options = NetOptions::client(secret(2), vec![at.clone()]);
    options.transports = medium.transports();
    let client = Net::start(options).await.unwrap();
    let (peers, key) = (client.peers(), at.peer().unwrap());
    let asked = async {
        loop {
            // Until the bootstrap has connected, nobody knows where the peer is.
            match peers.get(key, address(1)).await {
                Err(PeersError::Unreachable { .. }) => tokio::task::yield_now().await,
                other => break other,
            }
        }
    };
    let answer = tokio::select! {
        answer = asked => answer,
        () = peer.answer(Script::says(Vec::new())) => unreachable!(),
    };
    assert_eq!(answer, Err(PeersError::Protocol { peer: key }));
    client.shutdown().await;
    victim.end().await;
}

async fn kademlia_stores_nothing(medium: Medium) {
    let victim = Victim::new(medium, Manner::Willing).await;
    let key = kad::RecordKey::new(&"key");
    let mut writer = raw_kad(&victim.address);
    let record = kad::Record::new(key.clone(), vec![1; 100]);
    let kad = writer.behaviour_mut();
    kad.put_record_to(record, [peer_id(&victim.address)].into_iter(), kad::Quorum::One);
    // It is taken politely, and dropped.
    kad_result(&mut writer).await;
    let mut reader = raw_kad(&victim.address);
    reader.behaviour_mut().get_record(key.clone());
    match kad_result(&mut reader).await {
        kad::QueryResult::GetRecord(Err(kad::GetRecordError::NotFound { key: asked, .. })) => {
            assert_eq!(asked, key);
        }
        other => panic!("{other:?}"),
    }
    victim.end().await;
}

/// What our client makes of an answer to a `Get`, and whom it asked.
async fn answered(
    medium: Medium,
    script: Script,
    wait: Duration,
) -> (Result<Option<Bytes>, PeersError>, PeerKey) {
    let mut peer = RawPeer::new(CHUNK);
    let at = peer.listen(&medium.listen()).await;
    let mut options = NetOptions::client(secret(2), vec![at.clone()]);
    options.transports = medium.transports();
    options.deadlines = Deadlines { stall: wait, answer: wait, ..Deadlines::default() };
    let client = Net::start(options).await.unwrap();
    let (peers, key) = (client.peers(), at.peer().unwrap());
    let asked = async {
        loop {
            match peers.get(key, address(1)).await {
                Err(PeersError::Unreachable { .. }) => tokio::task::yield_now().await,
                other => break other,
            }
        }
    };
    let answer = tokio::select! {
        answer = asked => answer,
        () = peer.answer(script) => unreachable!(),
    };
    client.shutdown().await;
    (answer, key)
}

async fn answers_that_break_the_protocol_are_no_answers(medium: Medium) {
    let frame = |response: Response, body: &[u8]| {
        Script::says(Script::frame(&response.encode().unwrap(), body))
    };
    let found = |size| Response::Get(GetResponse::Found { size });
    let other = put_refused(Refusal::Unsupported);
    let over = u32::try_from(MAX_CHUNK_BYTES).unwrap() + 1;
    let oversize = postcard::to_stdvec(&found(over)).unwrap();
    let long = [&u32::MAX.to_le_bytes()[..], &[2]].concat();
    for script in [
        frame(other, &[]),
        Script::says(Script::frame(&oversize, &[7; 100])),
        Script::says(Script::frame(&[2, 77], &[])),
        Script::says(long),
    ] {
        let (answer, peer) = answered(medium, script, SOON).await;
        assert_eq!(answer, Err(PeersError::Protocol { peer }));
    }
    for script in [frame(found(100), &[7; 99]), Script::says(vec![9]), Script::says(Vec::new())] {
        let (answer, peer) = answered(medium, script, SOON).await;
        assert_eq!(answer, Err(PeersError::Broken { peer }));
    }
}

async fn a_silent_peer_is_given_up(medium: Medium) {
    let found = Response::Get(GetResponse::Found { size: 100 }).encode().unwrap();
    for script in [Script::stalls(Vec::new()), Script::stalls(Script::frame(&found, &[7; 50]))] {
        let (answer, peer) = timeout(SOON, answered(medium, script, STALL)).await.unwrap();
        let after = Deadlines::default().get;
        assert_eq!(answer, Err(PeersError::Timeout { peer, after }));
    }
}
