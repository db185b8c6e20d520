use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ChunkAddress, Leaf, Nonce, PaymentId, PaymentProof, PeerKey, Quote, Receipt, Refusal, Retry,
    UnixTime, Win,
    limits::{
        CLOSE_GROUP, MAX_AWAITED_SEEDS, MAX_CHUNK_BYTES, MAX_DIRECT_ENTRIES, MAX_HAS_ITEMS,
        MAX_HEADER_BYTES, MAX_PROOF_DEPTH, MAX_QUOTE_ITEMS, MAX_RELAY_PEERS, MAX_WINS_ITEMS,
    },
};

/// One chunk that a price is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteItem {
    /// The chunk.
    pub address: ChunkAddress,
    /// Its sealed size, in bytes.
    pub size: u32,
}

/// Asks for a price for each of up to [`MAX_QUOTE_ITEMS`] chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteRequest {
    /// The chunks, at least one.
    pub items: Vec<QuoteItem>,
    /// What receipts in the answer must carry.
    pub nonce: Nonce,
}

/// The answer for one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "nearly every answer is the large one")]
pub enum QuoteAnswer {
    /// A price, and a receipt if the chunk is already here.
    Offered {
        /// The signed price.
        quote: Quote,
        /// Signed proof that the chunk is already here.
        receipt: Option<Receipt>,
    },
    /// No price for this chunk.
    Refused(Refusal),
}

/// The answers, in the order of the items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteResponse {
    /// One answer an item, or one refusal for the whole request.
    pub answers: Result<Vec<QuoteAnswer>, Refusal>,
}

/// Asks to store a chunk. The chunk's bytes follow the header and are read last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRequest {
    /// The chunk and who is paid what for it.
    pub leaf: Leaf,
    /// Length of the body, in bytes.
    pub size: u32,
    /// What shows that the leaf is paid.
    pub proof: PaymentProof,
    /// The five quotes, in the order of the leaf's shares.
    pub quotes: [Quote; CLOSE_GROUP],
    /// Peers that the node shall pass the chunk on to. Refused as unsupported for now.
    pub relay_to: Vec<PeerKey>,
    /// What the receipts must carry.
    pub nonce: Nonce,
}

/// Asks to take over a chunk that was stored in time: for repair when its upload window is over. Judged
/// like a put, but the node need not be among the quoted peers, and the window may have ended. The
/// chunk's bytes follow the header and are read last; the answer is that of a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRequest {
    /// The chunk, what shows that it is paid, and what the node's own receipt must carry. It is
    /// relayed to nobody.
    pub put: PutRequest,
    /// What shows that it was stored in time: receipts for this leaf and payment, one a peer, of at
    /// least [`STORE_QUORUM`](crate::limits::STORE_QUORUM) of its quoted peers, in any order.
    pub receipts: Vec<Receipt>,
}

/// The node's own receipt first, then one for each relayed peer; or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutResponse {
    /// The receipts.
    pub receipts: Result<Vec<Receipt>, Refusal>,
}

/// The answer to `Get`. The chunk's bytes follow the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GetResponse {
    /// It is here; so many bytes follow.
    Found {
        /// Length of the body, in bytes.
        size: u32,
    },
    /// It is not here.
    NotFound,
    /// It may be here, but not now.
    Refused(Refusal),
}

/// Asks which of up to [`MAX_HAS_ITEMS`] chunks are here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HasRequest {
    /// The chunks, at least one.
    pub addresses: Vec<ChunkAddress>,
}

/// One answer an address, in order; or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HasResponse {
    /// Whether each chunk is here.
    pub present: Result<Vec<bool>, Refusal>,
}

/// Asks for the draws that the node knows to be won by chunks that it keeps, those after the named
/// one in the order of payment id and draw. Anybody may ask: whoever settles them pays the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinsRequest {
    /// The last one of the page before.
    pub after: Option<(PaymentId, u8)>,
}

/// Some of the wins, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinsPage {
    /// At most [`MAX_WINS_ITEMS`]. Whoever asks checks them: they are a peer's word.
    pub wins: Vec<Win>,
    /// Whether there are more after the last one.
    pub more: bool,
    /// On the first page, at most [`MAX_AWAITED_SEEDS`]: the ends of upload windows of batches whose
    /// draw is due by the chain's time and whose seed the node has not heard of; one for each seed,
    /// the earliest first. Whoever makes them known lets the node see its wins.
    pub waiting: Vec<UnixTime>,
}

/// The answer to `Wins`, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinsResponse {
    /// The page.
    pub page: Result<WinsPage, Refusal>,
}

/// A request's header. A version of the protocol only ever adds variants at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// For prices.
    Quote(QuoteRequest),
    /// Store this.
    Put(PutRequest),
    /// Give me this.
    Get(ChunkAddress),
    /// Which of these do you have?
    Has(HasRequest),
    /// Which draws have you won?
    Wins(WinsRequest),
    /// Take this over.
    Offer(OfferRequest),
}

/// A response's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To `Quote`.
    Quote(QuoteResponse),
    /// To `Put` and `Offer`.
    Put(PutResponse),
    /// To `Get`.
    Get(GetResponse),
    /// To `Has`.
    Has(HasResponse),
    /// To `Wins`.
    Wins(WinsResponse),
}

/// A header that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is longer than [`MAX_HEADER_BYTES`].
    #[error("a header of {found} bytes; the limit is {MAX_HEADER_BYTES}")]
    TooLong {
        /// Its length, in bytes.
        found: usize,
    },
    /// It is not a header of this version, or bytes are left over.
    #[error("not a message of this protocol")]
    Malformed(#[source] postcard::Error),
    /// Bytes are left over after the message.
    #[error("{count} bytes follow the message")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A list or a body that must not be empty is empty or longer than its limit.
    #[error("{what}: {found}, allowed are 1 to {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A list that may be empty is longer than its limit.
    #[error("{what}: {found}, allowed are 0 to {limit}")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl WireError {
    /// The same bytes fail the same way again.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
    if (1..=limit).contains(&found) { Ok(()) } else { Err(WireError::Limit { what, found, limit }) }
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
    if found <= limit { Ok(()) } else { Err(WireError::TooMany { what, found, limit }) }
}

/// A batch of one leaf has no levels.
fn levels(found: usize) -> Result<(), WireError> {
    at_most("proof levels", found, MAX_PROOF_DEPTH)
}

fn check_put(put: &PutRequest, relay_peers: usize) -> Result<(), WireError> {
    within("body bytes", put.size as usize, MAX_CHUNK_BYTES)?;
    at_most("relay peers", put.relay_to.len(), relay_peers)?;
    match &put.proof {
        PaymentProof::Direct(direct) => within("entries", direct.entries.len(), MAX_DIRECT_ENTRIES),
        PaymentProof::Batch(batch) => levels(batch.siblings.len()),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MAX_HEADER_BYTES {
        return Err(WireError::TooLong { found: bytes.len() });
    }
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(WireError::Malformed)?;
    if rest.is_empty() { Ok(message) } else { Err(WireError::Trailing { count: rest.len() }) }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_stdvec(message).map_err(WireError::Malformed)?;
    if bytes.len() > MAX_HEADER_BYTES {
        return Err(WireError::TooLong { found: bytes.len() });
    }
    Ok(bytes)
}

impl Request {
    /// The header's bytes.
    ///
    /// # Errors
    /// When a limit is broken; nothing over a limit is ever sent.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        encode(self)
    }

    /// Reads a header and checks every count in it.
    ///
    /// # Errors
    /// When it is not a message or a limit is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let request: Self = decode(bytes)?;
        request.check()?;
        Ok(request)
    }

    /// Length of the body that follows, in bytes.
    pub fn body_bytes(&self) -> usize {
        match self {
            Self::Put(put) | Self::Offer(OfferRequest { put, .. }) => put.size as usize,
            Self::Quote(_) | Self::Get(_) | Self::Has(_) | Self::Wins(_) => 0,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Quote(quote) => within("quote items", quote.items.len(), MAX_QUOTE_ITEMS),
            Self::Get(_) | Self::Wins(_) => Ok(()),
            Self::Has(has) => within("addresses", has.addresses.len(), MAX_HAS_ITEMS),
            // An empty relay list is the usual one.
            Self::Put(put) => check_put(put, MAX_RELAY_PEERS),
            Self::Offer(offer) => {
                within("receipts", offer.receipts.len(), CLOSE_GROUP)?;
                check_put(&offer.put, 0)
            }
        }
    }
}

impl Response {
    /// The header's bytes.
    ///
    /// # Errors
    /// When a limit is broken; nothing over a limit is ever sent.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        encode(self)
    }

    /// Reads a header and checks every count in it.
    ///
    /// # Errors
    /// When it is not a message or a limit is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let response: Self = decode(bytes)?;
        response.check()?;
        Ok(response)
    }

    /// Length of the body that follows, in bytes.
    pub fn body_bytes(&self) -> usize {
        match self {
            Self::Get(GetResponse::Found { size }) => *size as usize,
            _ => 0,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Quote(QuoteResponse { answers: Ok(answers) }) => {
                within("quote answers", answers.len(), MAX_QUOTE_ITEMS)
            }
            Self::Put(PutResponse { receipts: Ok(receipts) }) => {
                within("receipts", receipts.len(), CLOSE_GROUP)
            }
            Self::Get(GetResponse::Found { size }) => {
                within("body bytes", *size as usize, MAX_CHUNK_BYTES)
            }
            Self::Has(HasResponse { present: Ok(present) }) => {
                within("answers", present.len(), MAX_HAS_ITEMS)
            }
            Self::Wins(WinsResponse { page: Ok(page) }) => {
                // No wins is the usual answer.
                at_most("wins", page.wins.len(), MAX_WINS_ITEMS)?;
                at_most("awaited seeds", page.waiting.len(), MAX_AWAITED_SEEDS)?;
                page.wins.iter().try_for_each(|win| levels(win.siblings.len()))
            }
            Self::Quote(_) | Self::Put(_) | Self::Get(_) | Self::Has(_) | Self::Wins(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Atto, BatchProof, BatchTerms, Domain, EvmAddress, NetworkId, NodeHash, PeerSecret,
        QuoteTerms, ReceiptBody, RewardAddress, Share, Sibling, Side,
    };

    const ADDRESS: ChunkAddress = ChunkAddress([1; 32]);

    fn leaf() -> Leaf {
        let share = Share { payee: RewardAddress([2; 20]), amount: Atto::MAX_SHARE };
        Leaf { address: ADDRESS, shares: [share; CLOSE_GROUP] }
    }

    fn proof(levels: usize) -> BatchProof {
        let terms = BatchTerms {
            payer: EvmAddress([3; 20]),
            root: NodeHash([4; 32]),
            total: Atto::MAX_SHARE,
            tip: Atto::MAX_SHARE,
            upload_by: UnixTime(u64::MAX),
            draws: 200,
        };
        let sibling = Sibling { hash: NodeHash([5; 32]), sum: Atto::MAX_SHARE, side: Side::Left };
        BatchProof { terms, siblings: vec![sibling; levels] }
    }

    fn put(levels: usize, relays: usize) -> Request {
        let secret = PeerSecret::from_seed(&[6; 32]);
        let terms = QuoteTerms {
            domain: Domain { network: NetworkId([7; 32]), chain_id: 1, vault: EvmAddress([8; 20]) },
            address: ADDRESS,
            size: 300,
            price: Atto(1),
            reward: RewardAddress([2; 20]),
            issued: UnixTime(1),
            expires: UnixTime(2),
            min_tip: Atto(1),
            max_prize: Atto(1),
            max_window_secs: 1,
            confirmations: 0,
        };
        Request::Put(PutRequest {
            leaf: leaf(),
            size: 300,
            proof: PaymentProof::Batch(proof(levels)),
            quotes: [terms.sign(&secret); CLOSE_GROUP],
            relay_to: vec![secret.peer(); relays],
            nonce: Nonce([9; 16]),
        })
    }

    fn offer(receipts: usize, relays: usize) -> Request {
        let Request::Put(put) = put(0, relays) else { unreachable!("a put") };
        let body = ReceiptBody {
            domain: put.quotes[0].terms.domain,
            payment: PaymentId([1; 32]),
            leaf: put.leaf.hash(),
            address: ADDRESS,
            size: 300,
            time: UnixTime(1),
            nonce: Nonce([2; 16]),
        };
        let receipt = body.sign(&PeerSecret::from_seed(&[6; 32]));
        Request::Offer(OfferRequest { put, receipts: vec![receipt; receipts] })
    }

    fn wins(count: usize, levels: usize) -> Response {
        let BatchProof { terms, siblings } = proof(levels);
        let wins = vec![Win { terms, draw: 199, leaf: leaf(), siblings }; count];
        Response::Wins(WinsResponse {
            page: Ok(WinsPage { wins, more: true, waiting: Vec::new() }),
        })
    }

    fn waiting(count: usize) -> Response {
        let waiting = vec![UnixTime(u64::MAX); count];
        Response::Wins(WinsResponse {
            page: Ok(WinsPage { wins: Vec::new(), more: false, waiting }),
        })
    }

    #[test]
    fn lists_that_may_be_empty_hold_nothing_to_exactly_their_limit() {
        for (levels, relays) in [(0, 0), (MAX_PROOF_DEPTH, MAX_RELAY_PEERS)] {
            let request = put(levels, relays);
            assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
        }
        for receipts in [1, CLOSE_GROUP] {
            let request = offer(receipts, 0);
            assert_eq!(request.body_bytes(), 300);
            assert_eq!(Request::decode(&request.encode().unwrap()), Ok(request));
        }
        let pages = [(0, 0), (1, 0), (MAX_WINS_ITEMS, MAX_PROOF_DEPTH)];
        let pages = pages.map(|(count, levels)| wins(count, levels));
        for response in pages.into_iter().chain([waiting(1), waiting(MAX_AWAITED_SEEDS)]) {
            assert_eq!(Response::decode(&response.encode().unwrap()), Ok(response));
        }
    }

    #[test]
    fn one_more_is_told_as_it_was_counted() {
        for (request, text) in [
            (put(33, 0), "proof levels: 33, allowed are 0 to 32"),
            (put(0, 5), "relay peers: 5, allowed are 0 to 4"),
            (offer(0, 0), "receipts: 0, allowed are 1 to 5"),
            (offer(6, 0), "receipts: 6, allowed are 1 to 5"),
            (offer(3, 1), "relay peers: 1, allowed are 0 to 0"),
        ] {
            assert_eq!(request.encode().unwrap_err().to_string(), text);
            let sent_anyhow = postcard::to_stdvec(&request).unwrap();
            assert_eq!(Request::decode(&sent_anyhow).unwrap_err().to_string(), text);
        }
        for (response, text) in [
            (wins(1, 33), "proof levels: 33, allowed are 0 to 32"),
            (wins(49, 0), "wins: 49, allowed are 0 to 48"),
            (waiting(17), "awaited seeds: 17, allowed are 0 to 16"),
        ] {
            assert_eq!(response.encode().unwrap_err().to_string(), text);
            let sent_anyhow = postcard::to_stdvec(&response).unwrap();
            assert_eq!(Response::decode(&sent_anyhow).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn what_must_not_be_empty_is_told_so() {
        let none = Request::Has(HasRequest { addresses: Vec::new() });
        assert_eq!(none.encode().unwrap_err().to_string(), "addresses: 0, allowed are 1 to 1024");
    }
}
