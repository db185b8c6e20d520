//! Asking one peer about copies: whether it says that it has a chunk, and whether it really has.

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use spillway_net::PeersError;
use spillway_types::{
    ChunkAddress, HasRequest, PeerKey, Refusal, Retry,
    limits::{MAX_CHUNK_BYTES, RETRY_DELAYS},
};

use crate::{
    ClientParts,
    limits::{MAX_PEER_PAUSE, VERIFY_WORKERS},
    workers::Work,
};

/// What a peer gave for a chunk that it says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// The chunk.
    Good(Bytes),
    /// Other bytes, or nothing.
    Bad,
    /// No answer.
    Silent,
}

/// Which of these chunks, [`MAX_HAS_ITEMS`](spillway_types::limits::MAX_HAS_ITEMS) at most, a peer says
/// that it has; `None` when it does not answer.
pub(crate) async fn has(
    parts: &ClientParts,
    peer: PeerKey,
    addresses: Vec<ChunkAddress>,
) -> Option<Vec<bool>> {
    let ask = || async {
        let _place = parts.workers.enter(Work::Verify).await;
        let response = parts.peers.has(peer, HasRequest { addresses: addresses.clone() }).await?;
        response.present.map_err(|refusal| PeersError::Refused { peer, refusal })
    };
    patiently(parts, ask).await.ok()
}

/// Reads these copies, each named by a number, a few at once; in no order.
pub(crate) fn read_copies(
    parts: &ClientParts,
    claims: Vec<(usize, ChunkAddress, PeerKey)>,
) -> impl Stream<Item = (usize, PeerKey, Copy)> + Unpin + Send {
    stream::iter(claims)
        .map(move |(at, address, peer)| {
            async move { (at, peer, read_copy(parts, peer, address).await) }.boxed()
        })
        .buffer_unordered(VERIFY_WORKERS)
}

/// Fetches a peer's copy and hashes it.
async fn read_copy(parts: &ClientParts, peer: PeerKey, address: ChunkAddress) -> Copy {
    let ask = || async {
        let _place = parts.workers.enter(Work::Verify).await;
        let _held = parts.workers.reserve(MAX_CHUNK_BYTES as u64).await;
        parts.peers.get(peer, address).await
    };
    match patiently(parts, ask).await {
        Ok(Some(chunk)) if ChunkAddress::of(&chunk) == address => Copy::Good(chunk),
        // Refused so, it has something that it cannot read any more.
        Ok(_) | Err(PeersError::Refused { refusal: Refusal::StorageFailed, .. }) => Copy::Bad,
        Err(_) => Copy::Silent,
    }
}

/// Asks again: after a broken connection once, and while the peer is busy as often as a put would be.
async fn patiently<T, F>(parts: &ClientParts, ask: impl Fn() -> F) -> Result<T, PeersError>
where
    F: Future<Output = Result<T, PeersError>>,
{
    let mut tried = 0;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let busy = matches!(error, PeersError::Refused { .. });
        let most = if busy { RETRY_DELAYS.len() } else { 1 };
        if tried >= most || error.retry() == Retry::Never {
            tracing::debug!(%error, "a copy is not known");
            return Err(error);
        }
        let asked = match error.retry() {
            Retry::After(wait) => wait.min(MAX_PEER_PAUSE),
            _ => std::time::Duration::ZERO,
        };
        parts.clock.sleep(RETRY_DELAYS[tried].max(asked)).await;
        tried += 1;
    }
}
