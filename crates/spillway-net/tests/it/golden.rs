//! The bytes on the wire. A change of the golden file is a new version of the protocol.

use spillway_types::{
    Atto, BatchTerms, Domain, EvmAddress, GetResponse, HasRequest, HasResponse, Leaf, NodeHash,
    PaymentId, PeerKey, PutResponse, QuoteAnswer, QuoteResponse, Refusal, Request, Response,
    RewardAddress, Share, Sibling, Side, UnixTime, Win, WinsPage, WinsRequest, WinsResponse,
};

use crate::fixture::{address, domain, offer, put, quote, quotes, receipt, secret};

const GOLDEN: &str = include_str!("../golden/wire-v1.txt");

fn requests() -> Vec<(&'static str, Request)> {
    let mut relayed = put(address(1), 300);
    relayed.relay_to = vec![secret(2).peer(), secret(3).peer()];
    vec![
        ("request quote", Request::Quote(quotes(2))),
        ("request put", Request::Put(put(address(1), 300))),
        ("request put with relay", Request::Put(relayed)),
        ("request get", Request::Get(address(1))),
        ("request has", Request::Has(HasRequest { addresses: vec![address(1), address(2)] })),
        ("request wins", Request::Wins(WinsRequest { after: None })),
        (
            "request wins after",
            Request::Wins(WinsRequest { after: Some((PaymentId([9; 32]), 200)) }),
        ),
        ("request offer", Request::Offer(offer(address(1), 300))),
    ]
}

fn win() -> Win {
    let terms = BatchTerms {
        payer: EvmAddress([2; 20]),
        root: NodeHash([3; 32]),
        total: Atto(300),
        tip: Atto(301),
        upload_by: UnixTime(302),
        draws: 200,
    };
    let share = Share { payee: RewardAddress([4; 20]), amount: Atto(303) };
    let leaf = Leaf { address: address(1), shares: [share; 5] };
    let sibling = |side| Sibling { hash: NodeHash([5; 32]), sum: Atto(304), side };
    Win { terms, draw: 199, leaf, siblings: vec![sibling(Side::Left), sibling(Side::Right)] }
}

fn responses() -> Vec<(String, Response)> {
    let request = quotes(2);
    let receipt = receipt(&secret(1), address(1), 300, request.nonce);
    let offered =
        |receipt| QuoteAnswer::Offered { quote: quote(&secret(1), request.items[1]), receipt };
    let answers =
        vec![offered(None), offered(Some(receipt)), QuoteAnswer::Refused(Refusal::Unsupported)];
    let put = |receipts| Response::Put(PutResponse { receipts });
    let wins = |page| Response::Wins(WinsResponse { page });
    let waiting = vec![UnixTime(300), UnixTime(301)];
    let mut all = vec![
        ("quote", Response::Quote(QuoteResponse { answers: Ok(answers) })),
        ("quote refused", Response::Quote(QuoteResponse { answers: Err(Refusal::Unsupported) })),
        ("put", put(Ok(vec![receipt]))),
        ("get found", Response::Get(GetResponse::Found { size: 300 })),
        ("get not found", Response::Get(GetResponse::NotFound)),
        ("get refused", Response::Get(GetResponse::Refused(Refusal::StorageFailed))),
        ("has", Response::Has(HasResponse { present: Ok(vec![true, false]) })),
        ("has refused", Response::Has(HasResponse { present: Err(Refusal::Malformed) })),
        ("wins", wins(Ok(WinsPage { wins: vec![win()], more: true, waiting: Vec::new() }))),
        ("wins none", wins(Ok(WinsPage { wins: Vec::new(), more: false, waiting }))),
        ("wins refused", wins(Err(Refusal::Unsupported))),
    ]
    .into_iter()
    .map(|(name, response)| (format!("response {name}"), response))
    .collect::<Vec<_>>();
    for (number, refusal) in refusals().into_iter().enumerate() {
        all.push((format!("response put refused {number}"), put(Err(refusal))));
    }
    all
}

/// Every refusal, in the order of its number.
fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::Malformed,
        Refusal::Unsupported,
        Refusal::Busy { after_ms: 1_000 },
        Refusal::Full { free_bytes: 300 },
        Refusal::BadSize { size: 300 },
        Refusal::NotQuoted,
        Refusal::BadQuoteSignature { index: 4 },
        Refusal::WrongDomain {
            index: 4,
            expected: Box::new(domain()),
            found: Box::new(Domain { chain_id: 300, ..domain() }),
        },
        Refusal::WrongChunk { index: 4 },
        Refusal::WrongSize { quoted: 300, found: 301 },
        Refusal::QuoteExpired { index: 4 },
        Refusal::RepeatedPeer,
        Refusal::WrongPayee { index: 4 },
        Refusal::UnderPaid { index: 4, paid: Atto(300), quoted: Atto(301) },
        Refusal::BadProof,
        Refusal::NotClosest { known: 3 },
        Refusal::Unpaid { payment: PaymentId([9; 32]) },
        Refusal::TooLate { upload_by: UnixTime(300) },
        Refusal::WindowTooLong { max_secs: 300, found_secs: 301 },
        Refusal::WrongHash { found: address(9) },
        Refusal::ChainUnavailable,
        Refusal::StorageFailed,
        Refusal::TipTooLow { least: Atto(300), found: Atto(301) },
        Refusal::PrizeTooLarge { most: Atto(300), found: Atto(301) },
        Refusal::BeaconBehind { latest: UnixTime(300) },
        Refusal::PrizeTooSmall { least: Atto(300), found: Atto(301) },
        Refusal::NotNear,
        Refusal::TooFewReceipts { found: 2 },
        Refusal::ForeignReceipt { index: 4 },
        Refusal::RepeatedReceipt { index: 4 },
        Refusal::WrongReceipt { index: 4 },
        Refusal::ReceiptTime { index: 4, time: UnixTime(300) },
        Refusal::BadReceiptSignature { index: 4 },
    ]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn golden() -> Vec<(&'static str, &'static str)> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").unwrap()).collect()
}

#[test]
fn headers_are_written_as_ever() {
    let requests = requests().into_iter().map(|(name, r)| (name.to_owned(), r.encode().unwrap()));
    let responses = responses().into_iter().map(|(name, r)| (name, r.encode().unwrap()));
    let written: Vec<_> = requests.chain(responses).map(|(n, b)| (n, hex(&b))).collect();
    let golden: Vec<_> =
        golden().into_iter().map(|(name, hex)| (name.to_owned(), hex.to_owned())).collect();
    assert_eq!(written, golden);
}

#[test]
fn headers_are_read_as_ever() {
    let golden = golden();
    for (name, request) in requests() {
        let (_, hex) = golden.iter().find(|(golden, _)| *golden == name).unwrap();
        assert_eq!(Request::decode(&bytes(hex)), Ok(request), "{name}");
    }
    for (name, response) in responses() {
        let (_, hex) = golden.iter().find(|(golden, _)| *golden == name).unwrap();
        assert_eq!(Response::decode(&bytes(hex)), Ok(response), "{name}");
    }
    assert_eq!(golden.len(), requests().len() + responses().len());
}

#[test]
fn the_peer_of_the_vectors_is_known() {
    // RFC 8032, section 7.1, test 1.
    let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let key = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let secret = spillway_types::PeerSecret::from_seed(&seed.try_into().unwrap());
    assert_eq!(secret.peer(), PeerKey(key.try_into().unwrap()));
}
