//! The words of Spillway: what client and node say to each other and to the chain.
//!
//! Owns the newtypes, the peer keys and their signatures, quotes, leaves, receipts, the wire
//! messages and every protocol limit. It has no tasks, does no I/O and keeps no state, so a crash
//! leaves nothing. Deliberately absent: tokio, sockets, files, chain calls, and any conversion to
//! the types of libp2p or alloy: those live in the one crate that names them.
//!
//! Invariants: two values of different meaning never share a type; every decoder checks its bounds
//! before it allocates; every signature covers a domain-separated, versioned preimage.

mod batch;
mod domain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hashes;
mod leaf;
pub mod limits;
mod message;
mod money;
mod peer;
mod proof;
mod quote;
mod receipt;
mod refusal;
mod retry;
mod time;

pub use batch::{BatchProof, BatchTerms, DrawSet, NodeHash, Seed, Sibling, Side, Win};
pub use domain::{Domain, EvmAddress, NetworkId, RewardAddress};
pub use hashes::{ChunkAddress, LeafHash, Nonce, ParseHexError, PaymentId, SegmentHash, TxHash};
pub use leaf::{Leaf, Share};
pub use message::{
    GetResponse, HasRequest, HasResponse, OfferRequest, PutRequest, PutResponse, QuoteAnswer,
    QuoteItem, QuoteRequest, QuoteResponse, Request, Response, WinsPage, WinsRequest, WinsResponse,
    WireError,
};
pub use money::{Atto, TokenRate, Wei};
pub use peer::{Distance, PeerKey, PeerSecret, Signature, SignatureError};
pub use proof::{DirectEntry, DirectProof, PaymentProof};
pub use quote::{Quote, QuoteError, QuoteTerms};
pub use receipt::{Receipt, ReceiptBody, ReceiptError};
pub use refusal::Refusal;
pub use retry::Retry;
pub use time::UnixTime;
