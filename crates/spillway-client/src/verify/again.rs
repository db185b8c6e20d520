//! Storing a chunk again with a proof that was paid for.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use spillway_disk::{Disk, run};
use spillway_types::{PeerKey, Refusal, Retry, limits::RETRY_DELAYS};
use tokio::sync::Semaphore;

use crate::{
    ClientParts, PutFailure, UploadError,
    limits::{MAX_PEER_PAUSE, WINDOWS_BYTES},
    session::Kept,
    upload::{self, Terms},
    workers::Work,
};

/// Looks through sessions, for their proofs or receipts. Journals and plans are read whole, a plan of the
/// largest batch is 107 MiB, so a process does this once at a time.
pub(crate) async fn look_up<T: Send + 'static>(
    parts: &ClientParts,
    look: impl FnOnce(&dyn Disk) -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    static ONE: Semaphore = Semaphore::const_new(1);
    let _one = ONE.acquire().await.expect("invariant: it is never closed");
    run(&parts.data, move |disk| Ok(look(disk))).await?
}

/// As [`store_again`], with one of these proofs after the other: who says that it is not paid, or could
/// not be asked, is asked with the next. A failure is the last one of its peer.
pub(crate) async fn store_with_any(
    parts: &ClientParts,
    proofs: &[&Kept],
    peers: &[PeerKey],
    body: &Bytes,
) -> (Vec<PeerKey>, BTreeMap<PeerKey, PutFailure>) {
    let (mut took, mut failures) = (Vec::new(), BTreeMap::new());
    let mut open: Vec<PeerKey> = peers.to_vec();
    for kept in proofs {
        if open.is_empty() {
            break;
        }
        let (stored, refused) = store_again(parts, kept, &open, body).await;
        failures.extend(refused);
        failures.retain(|peer, _| !stored.contains(peer));
        took.extend(stored);
        open.retain(|peer| match failures.get(peer) {
            None => !took.contains(peer),
            Some(failure) => matches!(failure, PutFailure::Refused(Refusal::Unpaid { .. })),
        });
    }
    (took, failures)
}

/// Puts the chunk on those of these peers that were quoted, while its window is open, and offers it to
/// the others, and after the window to all. Returns who took it, and why the others did not. Those whom
/// it may not even be offered to are in neither.
///
/// # Cost
/// Nothing: it was paid.
async fn store_again(
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
