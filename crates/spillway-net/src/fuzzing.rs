//! Messages and their frames, for `cargo xtask fuzz` and the test below.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::io::Cursor;
use libp2p::request_response::Codec;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PaymentProof, PeerKey, PutRequest,
    PutResponse, QuoteAnswer, QuoteRequest, QuoteResponse, Refusal, Request, Response,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Address, AdmittedPut, Deadlines, NetLimits, RequestKind, Serve,
    codec::{CHUNK_PROTOCOL, ChunkCodec, NextPeer},
    exchange::{Exchange, Outgoing},
    gate::Gate,
};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    ("request", request, || golden("request ")),
    ("response", response, || golden("response ")),
    ("request_stream", request_stream, || framed("request ")),
    ("response_stream", response_stream, || framed("response ")),
    ("address", address, address_seeds),
];

const GOLDEN: &str = include_str!("../tests/golden/wire-v1.txt");

/// The bytes of the golden headers of this kind.
fn golden(kind: &str) -> Vec<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = |digits: &str| -> Option<Vec<u8>> {
        let pairs = digits.trim().as_bytes().chunks_exact(2);
        pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
    };
    let lines = GOLDEN.lines().filter(|line| line.starts_with(kind));
    lines.filter_map(|line| bytes(line.split_once(": ")?.1)).collect()
}

/// The same with their length before them and a short body behind them.
fn framed(kind: &str) -> Vec<Vec<u8>> {
    let frame = |header: &Vec<u8>| {
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&length[..], header, &[7; 300]].concat()
    };
    let bare = |header: &Vec<u8>| {
        let mut bare = frame(header);
        bare.truncate(4 + header.len());
        bare
    };
    let headers = golden(kind);
    headers.iter().map(frame).chain(headers.iter().map(bare)).collect()
}

/// What decodes is encoded to something that decodes to the same, and nothing may follow it.
fn round_trip<T: PartialEq + Debug, E: Debug>(
    input: &[u8],
    decode: fn(&[u8]) -> Result<T, E>,
    encode: fn(&T) -> Result<Vec<u8>, E>,
) -> Option<T> {
    let message = decode(input).ok()?;
    let bytes = encode(&message).expect("what was read is within the limits");
    assert_eq!(decode(&bytes).expect("what was written is read"), message);
    for extra in [0, 0xff] {
        assert!(decode(&[input, &[extra]].concat()).is_err(), "nothing follows a message");
    }
    Some(message)
}

fn request(input: &[u8]) {
    let Some(message) = round_trip(input, Request::decode, Request::encode) else { return };
    let (Request::Put(put) | Request::Offer(OfferRequest { put, .. })) = &message else { return };
    let _ = (put.leaf.hash(), put.leaf.total());
    for quote in &put.quotes {
        let _ = (quote.verify_signature(), put.proof.id(&quote.terms.domain));
    }
    match &put.proof {
        PaymentProof::Direct(direct) => drop((direct.pays(&put.leaf), direct.total())),
        PaymentProof::Batch(batch) => drop((batch.terms.escrow(), put.proof.upload_by())),
        _ => {}
    }
    if let Request::Offer(offer) = &message {
        for receipt in &offer.receipts {
            let _ = receipt.verify_signature();
        }
    }
}

fn response(input: &[u8]) {
    let Some(message) = round_trip(input, Response::decode, Response::encode) else { return };
    match message {
        Response::Put(PutResponse { receipts: Ok(receipts) }) => {
            for receipt in receipts {
                let _ = receipt.verify_signature();
            }
        }
        Response::Quote(QuoteResponse { answers: Ok(answers) }) => {
            for answer in answers {
                if let QuoteAnswer::Offered { quote, .. } = answer {
                    let _ = quote.verify_signature();
                }
            }
        }
        _ => {}
    }
}

/// Takes everything.
struct Taker;

#[async_trait]
impl AdmittedPut for Taker {
    async fn store(self: Box<Self>, _: Bytes) -> PutResponse {
        PutResponse { receipts: Err(Refusal::StorageFailed) }
    }
}

#[async_trait]
impl Serve for Taker {
    async fn quote(&self, _: PeerKey, _: QuoteRequest) -> QuoteResponse {
        QuoteResponse { answers: Err(Refusal::Unsupported) }
    }

    async fn admit(&self, _: PeerKey, _: PutRequest) -> Result<Box<dyn AdmittedPut>, Refusal> {
        Ok(Box::new(Self))
    }

    async fn admit_offer(
        &self,
        _: PeerKey,
        _: OfferRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        Ok(Box::new(Self))
    }

    async fn get(&self, _: PeerKey, _: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        Ok(None)
    }

    async fn has(&self, _: PeerKey, _: HasRequest) -> HasResponse {
        HasResponse { present: Err(Refusal::Unsupported) }
    }
}

/// A codec of a connection, and what drives it.
fn codec() -> (Runtime, ChunkCodec) {
    let gate = Gate::new(NetLimits::default(), Deadlines::default());
    gate.set(Some(Arc::new(Taker)));
    let next = NextPeer::default();
    let behaviour = ChunkCodec::new(Arc::new(gate), next.clone());
    next.set(PeerKey([1; 32]));
    let runtime = Builder::new_current_thread().enable_time().build();
    (runtime.expect("a runtime without files"), behaviour.clone())
}

/// All that a peer may send on a stream: header, body and what follows.
fn request_stream(input: &[u8]) {
    let (runtime, mut codec) = codec();
    let read = runtime.block_on(codec.read_request(&CHUNK_PROTOCOL, &mut Cursor::new(input)));
    match read {
        // A header, its length, and all of the body.
        Ok(Exchange::Put(put)) => assert!(put.body.len() < input.len() && !put.body.is_empty()),
        Ok(Exchange::Asked(request)) => assert_eq!(request.body_bytes(), 0),
        Ok(Exchange::Refused(_)) | Err(_) => {}
        Ok(Exchange::Outgoing(_)) => panic!("a request of our own was read"),
    }
}

/// All that may come back.
fn response_stream(input: &[u8]) {
    let (runtime, mut codec) = codec();
    let outgoing = Exchange::Outgoing(Outgoing {
        header: RequestKind::Get.refuse(Refusal::Unsupported).encode().unwrap_or_default(),
        body: Bytes::new(),
        deadline: Deadlines::default().get,
        given_up: tokio_util::sync::CancellationToken::new(),
    });
    let reply = runtime.block_on(async {
        let sent = &mut Cursor::new(Vec::new());
        codec.write_request(&CHUNK_PROTOCOL, sent, outgoing).await?;
        codec.read_response(&CHUNK_PROTOCOL, &mut Cursor::new(input)).await
    });
    if let Ok(reply) = reply {
        assert_eq!(reply.body.len(), reply.response.body_bytes());
    }
}

fn address(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address), "{text:?}");
        let _ = (address.peer(), address.is_loopback(), address.tcp_socket());
    }
}

fn address_seeds() -> Vec<Vec<u8>> {
    let peer = spillway_types::PeerSecret::from_seed(&[1; 32]).peer();
    [
        format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}"),
        format!("/ip6/::1/udp/4001/quic-v1/p2p/{peer}"),
        "/ip4/10.0.0.1/udp/1/quic-v1".into(),
        "/dns4/example.org/tcp/1".into(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn messages_that_are_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, spillway_fuzz::ROUNDS);
    }

    #[test]
    fn there_are_seeds_of_every_kind() {
        assert!(super::golden("request ").len() >= 8);
        assert!(super::golden("response ").len() >= 40);
    }
}
