use std::fmt;

use bytes::Bytes;
use spillway_types::{ChunkAddress, PutRequest, QuoteRequest, QuoteResponse, Receipt, Refusal};

type QuoteTrick = Box<dyn Fn(&QuoteRequest, QuoteResponse) -> QuoteResponse + Send + Sync>;
type AdmitTrick = Box<dyn Fn(&PutRequest) -> Admit + Send + Sync>;
type ReceiptTrick = Box<dyn Fn(Receipt) -> Receipt + Send + Sync>;
type HangTrick = Box<dyn Fn(ChunkAddress) -> bool + Send + Sync>;
type HasTrick = Box<dyn Fn(ChunkAddress, bool) -> bool + Send + Sync>;
type GetTrick = Box<dyn Fn(ChunkAddress, Option<Bytes>) -> Option<Bytes> + Send + Sync>;

/// What a node does with a put before it looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// What an honest node does.
    Serve,
    /// Refuses it.
    Refuse(Refusal),
    /// Never answers.
    Hang,
}

/// What a node does otherwise than an honest one.
#[derive(Default)]
pub struct Tricks {
    /// Changes its prices.
    pub quote: Option<QuoteTrick>,
    /// Judges puts.
    pub admit: Option<AdmitTrick>,
    /// Changes its receipts for puts.
    pub receipt: Option<ReceiptTrick>,
    /// Which gets it never answers.
    pub hang: Option<HangTrick>,
    /// Changes what it says that it has.
    pub has: Option<HasTrick>,
    /// Changes what it gives.
    pub get: Option<GetTrick>,
}

impl fmt::Debug for Tricks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tricks")
    }
}
