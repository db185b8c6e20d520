//! From typed calls to frames and back, the same for the real network and the one in memory.

use async_trait::async_trait;
use bytes::Bytes;
use spillway_types::{
    ChunkAddress, GetResponse, HasRequest, HasResponse, OfferRequest, PeerKey, PutRequest,
    PutResponse, QuoteRequest, QuoteResponse, Request, Response, WinsRequest, WinsResponse,
    WireError,
};

use crate::PeersError;

/// Carries one request to a peer and its response back.
#[async_trait]
pub(crate) trait Ask: Sync {
    /// `header` is `request`, encoded.
    async fn ask(
        &self,
        peer: PeerKey,
        request: &Request,
        header: Vec<u8>,
        body: Bytes,
    ) -> Result<(Response, Bytes), PeersError>;
}

async fn send(
    net: &impl Ask,
    peer: PeerKey,
    request: Request,
    body: Bytes,
) -> Result<(Response, Bytes), PeersError> {
    let header = request.encode()?;
    if body.len() != request.body_bytes() {
        let (found, limit) = (body.len(), request.body_bytes());
        return Err(WireError::Limit { what: "body bytes", found, limit }.into());
    }
    net.ask(peer, &request, header, body).await
}

pub(crate) async fn quote(
    net: &impl Ask,
    peer: PeerKey,
    request: QuoteRequest,
) -> Result<QuoteResponse, PeersError> {
    let asked = request.items.len();
    match send(net, peer, Request::Quote(request), Bytes::new()).await? {
        (Response::Quote(response), _) if fits(&response.answers, asked) => Ok(response),
        _ => Err(PeersError::Protocol { peer }),
    }
}

pub(crate) async fn put(
    net: &impl Ask,
    peer: PeerKey,
    request: PutRequest,
    chunk: Bytes,
) -> Result<PutResponse, PeersError> {
    let most = 1 + request.relay_to.len();
    store(net, peer, Request::Put(request), chunk, most).await
}

pub(crate) async fn offer(
    net: &impl Ask,
    peer: PeerKey,
    request: OfferRequest,
    chunk: Bytes,
) -> Result<PutResponse, PeersError> {
    store(net, peer, Request::Offer(request), chunk, 1).await
}

async fn store(
    net: &impl Ask,
    peer: PeerKey,
    request: Request,
    chunk: Bytes,
    most: usize,
) -> Result<PutResponse, PeersError> {
    match send(net, peer, request, chunk).await? {
        (Response::Put(response), _)
            if response.receipts.as_ref().map_or(true, |list| list.len() <= most) =>
        {
            Ok(response)
        }
        _ => Err(PeersError::Protocol { peer }),
    }
}

pub(crate) async fn get(
    net: &impl Ask,
    peer: PeerKey,
    address: ChunkAddress,
) -> Result<Option<Bytes>, PeersError> {
    match send(net, peer, Request::Get(address), Bytes::new()).await? {
        (Response::Get(GetResponse::Found { .. }), body) => Ok(Some(body)),
        (Response::Get(GetResponse::NotFound), _) => Ok(None),
        (Response::Get(GetResponse::Refused(refusal)), _) => {
            Err(PeersError::Refused { peer, refusal })
        }
        _ => Err(PeersError::Protocol { peer }),
    }
}

pub(crate) async fn has(
    net: &impl Ask,
    peer: PeerKey,
    request: HasRequest,
) -> Result<HasResponse, PeersError> {
    let asked = request.addresses.len();
    match send(net, peer, Request::Has(request), Bytes::new()).await? {
        (Response::Has(response), _) if fits(&response.present, asked) => Ok(response),
        _ => Err(PeersError::Protocol { peer }),
    }
}

pub(crate) async fn wins(
    net: &impl Ask,
    peer: PeerKey,
    request: WinsRequest,
) -> Result<WinsResponse, PeersError> {
    match send(net, peer, Request::Wins(request), Bytes::new()).await? {
        (Response::Wins(response), _) => Ok(response),
        _ => Err(PeersError::Protocol { peer }),
    }
}

/// Whether there is one answer for each question, or a refusal.
fn fits<T, E>(answers: &Result<Vec<T>, E>, asked: usize) -> bool {
    answers.as_ref().map_or(true, |answers| answers.len() == asked)
}
