use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use spillway_net::PeersError;
use spillway_types::{
    ChunkAddress, PeerKey,
    limits::{CLOSE_GROUP, MAX_CHUNK_BYTES},
};

use crate::{
    ClientParts, DownloadError,
    limits::{FETCH_HEDGES, FETCH_PATIENCE, FETCH_PEERS},
    workers::{Held, Work},
};

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

/// Fetches one chunk when it is its turn among all that the process fetches: from the nearest peers
/// that are known already, then from the nearest that the network names. The bytes hash to the
/// address.
pub(crate) async fn fetch_chunk(
    parts: &ClientParts,
    address: ChunkAddress,
) -> Result<Bytes, DownloadError> {
    fetch_held(parts, address, 0).await.map(|(chunk, _)| chunk)
}

/// The same for a chunk of which `more` bytes are made: its place, and the right to hold it and them,
/// last until what comes with it is dropped.
pub(super) async fn fetch_held(
    parts: &ClientParts,
    address: ChunkAddress,
    more: u64,
) -> Result<(Bytes, Held), DownloadError> {
    let in_place = async {
        let held = parts.workers.hold(Work::Fetch, MAX_CHUNK_BYTES as u64 + more).await;
        Ok((search(parts, address).await?, held))
    };
    tokio::select! {
        biased;
        () = parts.stop.cancelled() => Err(DownloadError::Interrupted),
        chunk = in_place => chunk,
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

/// Asks the peers one after the other. One that is slow is not waited for alone: after a while the
/// next is asked beside it, and the first good answer counts.
async fn try_peers(
    parts: &ClientParts,
    address: ChunkAddress,
    mut peers: Vec<PeerKey>,
    asked: &mut Asked,
) -> Option<Bytes> {
    peers.retain(|peer| !asked.peers.contains(peer));
    let mut next = peers.into_iter();
    let mut answers = FuturesUnordered::new();
    loop {
        if answers.len() < FETCH_HEDGES
            && let Some(peer) = next.next()
        {
            asked.peers.push(peer);
            answers.push(async move { (peer, parts.peers.get(peer, address).await) });
        }
        let may_ask = next.len() > 0 && answers.len() < FETCH_HEDGES;
        tokio::select! {
            biased;
            answer = answers.next() => {
                let (peer, result) = answer?;
                if let Some(chunk) = asked.take(address, peer, result) {
                    return Some(chunk);
                }
            }
            () = parts.clock.sleep(FETCH_PATIENCE), if may_ask => {}
        }
    }
}

impl Asked {
    /// Takes an answer in; the chunk if that is what it is.
    fn take(
        &mut self,
        address: ChunkAddress,
        peer: PeerKey,
        result: Result<Option<Bytes>, PeersError>,
    ) -> Option<Bytes> {
        match result {
            Ok(Some(chunk)) if ChunkAddress::of(&chunk) == address => return Some(chunk),
            Ok(Some(_)) => {
                tracing::warn!(%peer, chunk = %address, "wrong bytes, asking the next peer");
                self.bad += 1;
            }
            Ok(None) => tracing::debug!(%peer, chunk = %address, "not there"),
            Err(error) => {
                tracing::debug!(%error, chunk = %address, "not fetched");
                self.failed += 1;
                self.last = Some(error);
            }
        }
        None
    }
}
