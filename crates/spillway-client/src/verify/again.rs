//! Storing a chunk again with a proof that was paid for.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use spillway_types::{PeerKey, Retry, limits::RETRY_DELAYS};

use crate::{
    ClientParts, PutFailure,
    limits::{MAX_PEER_PAUSE, WINDOWS_BYTES},
    session::Kept,
    upload::{self, Terms},
    workers::Work,
};

/// Puts the chunk on those of these peers that were quoted, while its window is open, and offers it to
/// the others, and after the window to all. Returns who took it, and why the others did not. Those whom
/// it may not even be offered to are in neither.
///
/// # Cost
/// Nothing: it was paid.
pub(crate) async fn store_again(
    parts: &ClientParts,
    kept: &Kept,
    peers: &[PeerKey],
    body: &Bytes,
) -> (Vec<PeerKey>, BTreeMap<PeerKey, PutFailure>) {
    let _held = parts.workers.reserve(u64::from(kept.size) + WINDOWS_BYTES).await;
    let (mut took, mut failures) = (Vec::new(), BTreeMap::new());
    let mut asked: Vec<PeerKey> = peers.to_vec();
    for attempt in 0.. {
        let place = parts.workers.enter(Work::Store).await;
        let mut answers: FuturesUnordered<_> = asked
            .iter()
            .map(|&peer| async move { (peer, one(parts, kept, peer, body).await) })
            .collect();
        while let Some((peer, answer)) = answers.next().await {
            match answer {
                None => {}
                Some(Ok(())) => {
                    failures.remove(&peer);
                    took.push(peer);
                }
                Some(Err(failure)) => {
                    tracing::debug!(%peer, %failure, "not stored again there");
                    failures.insert(peer, failure);
                }
            }
        }
        drop(answers);
        drop(place);
        let retries = failures.iter().map(|(peer, failure)| (*peer, failure.retry()));
        let retries: Vec<_> = retries.filter(|(_, retry)| *retry != Retry::Never).collect();
        let Some(delay) = RETRY_DELAYS.get(attempt).filter(|_| !retries.is_empty()) else { break };
        let waits = retries.iter().filter_map(|(_, retry)| match retry {
            Retry::After(wait) => Some((*wait).min(MAX_PEER_PAUSE)),
            _ => None,
        });
        parts.clock.sleep(waits.max().unwrap_or_default().max(*delay)).await;
        asked = retries.into_iter().map(|(peer, _)| peer).collect();
    }
    (took, failures)
}

/// `None`: this peer cannot be asked, with what is kept.
async fn one(
    parts: &ClientParts,
    kept: &Kept,
    peer: PeerKey,
    body: &Bytes,
) -> Option<Result<(), PutFailure>> {
    let terms = Terms {
        leaf: &kept.leaf,
        size: kept.size,
        quotes: &kept.quotes,
        proof: &kept.proof,
        payment: kept.payment,
        upload_by: kept.upload_by,
    };
    let quoted = kept.quotes.iter().any(|quote| quote.peer == peer);
    let stored = if quoted && kept.is_open(parts.clock.now()) {
        upload::put(parts, terms, (peer, body.clone())).await
    } else if kept.is_offer() {
        upload::offer(parts, terms, &kept.receipts, (peer, body.clone())).await
    } else {
        return None;
    };
    Some(stored.map(|_| ()))
}
