use bytes::Bytes;
use spillway_net::PeersError;
use spillway_types::{ChunkAddress, PeerKey, limits::CLOSE_GROUP};

use crate::{ClientParts, DownloadError, limits::FETCH_PEERS};

/// What came of asking peers for one chunk.
#[derive(Debug, Default)]
struct Asked {
    peers: Vec<PeerKey>,
    /// Peers that sent other bytes.
    bad: usize,
    /// Peers that did not answer, and what the last of them said.
    failed: usize,
    last: Option<PeersError>,
}

/// Fetches one chunk: from the nearest peers that are known already, then from the nearest that the
/// network names. The bytes hash to the address.
pub(crate) async fn fetch_chunk(
    parts: &ClientParts,
    address: ChunkAddress,
) -> Result<Bytes, DownloadError> {
    tokio::select! {
        biased;
        () = parts.stop.cancelled() => Err(DownloadError::Interrupted),
        chunk = search(parts, address) => chunk,
    }
}

async fn search(parts: &ClientParts, address: ChunkAddress) -> Result<Bytes, DownloadError> {
    let mut asked = Asked::default();
    let mut known = parts.peers.known_closest(address, FETCH_PEERS).await?;
    // Any of the close group serves as well as the nearest: spread the load.
    let close = known.len().min(CLOSE_GROUP);
    fastrand::shuffle(&mut known[..close]);
    if let Some(chunk) = try_peers(parts, address, known, &mut asked).await {
        return Ok(chunk);
    }
    let closest = parts.peers.closest(address, FETCH_PEERS).await?;
    if let Some(chunk) = try_peers(parts, address, closest, &mut asked).await {
        return Ok(chunk);
    }
    let Asked { peers, bad, failed, last } = asked;
    if bad + failed == 0 {
        return Err(DownloadError::NotFound { address, asked: peers.len() });
    }
    Err(DownloadError::Unavailable { address, bad, failed, last })
}

async fn try_peers(
    parts: &ClientParts,
    address: ChunkAddress,
    peers: Vec<PeerKey>,
    asked: &mut Asked,
) -> Option<Bytes> {
    for peer in peers {
        if asked.peers.contains(&peer) {
            continue;
        }
        asked.peers.push(peer);
        match parts.peers.get(peer, address).await {
            Ok(Some(chunk)) if ChunkAddress::of(&chunk) == address => return Some(chunk),
            Ok(Some(_)) => {
                tracing::warn!(%peer, chunk = %address, "wrong bytes, asking the next peer");
                asked.bad += 1;
            }
            Ok(None) => tracing::debug!(%peer, chunk = %address, "not there"),
            Err(error) => {
                tracing::debug!(%error, chunk = %address, "not fetched");
                asked.failed += 1;
                asked.last = Some(error);
            }
        }
    }
    None
}
