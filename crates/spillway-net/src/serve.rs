use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest, PutResponse,
    QuoteRequest, QuoteResponse, Refusal, WinsRequest, WinsResponse,
};

/// The inbound seam: what a node answers. `from` is the authenticated peer of the connection.
///
/// # Cancel safety
/// The network drops a call when the connection ends or the deadline passes. A put that was
/// admitted and is being made durable may still complete.
#[async_trait]
pub trait Serve: Send + Sync + 'static {
    /// Prices for chunks.
    async fn quote(&self, from: PeerKey, request: QuoteRequest) -> QuoteResponse;

    /// Judges a put by its header alone, before a byte of the body is read. Whatever is reserved
    /// for it is held by the [`AdmittedPut`] and given back when that is dropped.
    ///
    /// # Errors
    /// The exact refusal; then the body is not read and nothing is stored.
    async fn admit(
        &self,
        from: PeerKey,
        request: PutRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal>;

    /// Judges an offer by its header alone, as [`Serve::admit`] does a put. Who keeps nothing for
    /// others takes none over.
    ///
    /// # Errors
    /// The exact refusal; then the body is not read and nothing is stored.
    async fn admit_offer(
        &self,
        from: PeerKey,
        request: OfferRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        let _ = (from, request);
        Err(Refusal::Unsupported)
    }

    /// The chunk's bytes, or `None`.
    ///
    /// # Errors
    /// A refusal when it cannot be said now.
    async fn get(&self, from: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, Refusal>;

    /// Which chunks are here.
    async fn has(&self, from: PeerKey, request: HasRequest) -> HasResponse;

    /// Which draws were won by chunks that are kept here. Who keeps no proofs has nothing to say.
    async fn wins(&self, from: PeerKey, request: WinsRequest) -> WinsResponse {
        let _ = (from, request);
        WinsResponse { page: Err(Refusal::Unsupported) }
    }
}

/// A put or an offer whose header was accepted and whose body is awaited.
#[async_trait]
pub trait AdmittedPut: Send {
    /// Takes the body (exactly as long as the header said) and stores it.
    async fn store(self: Box<Self>, body: Bytes) -> PutResponse;
}
