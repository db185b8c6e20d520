use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use spillway_disk::{Disk, run};
use spillway_types::{
    ChunkAddress,
    limits::{CLOSE_GROUP, MAX_CHUNK_BYTES},
};

use super::{
    RepairFailure, VerifyError,
    again::{look_up, store_with_any},
    count::Copies,
    report::{NotRepaired, Verified},
};
use crate::{
    ClientParts, DownloadError,
    download::fetch_chunk,
    limits::STORE_WORKERS,
    session::{self, Kept},
    spill,
};

/// What came of one chunk.
struct Repaired {
    added: usize,
    why: Option<RepairFailure>,
    /// Whether there are no bytes of it anywhere.
    is_lost: bool,
}

/// Stores these chunks again on those of their closest peers that lack them, from the spill of a session
/// that keeps a proof, or else from a copy. Without `is_repair` only those are found that are
/// lost.
pub(super) async fn repair(
    parts: &ClientParts,
    short: Vec<Copies>,
    is_repair: bool,
    report: &mut Verified,
) -> Result<(), VerifyError> {
    if short.is_empty() {
        return Ok(());
    }
    let wanted: BTreeSet<ChunkAddress> = short.iter().map(|copies| copies.address).collect();
    let (domain, now) = (parts.domain, parts.clock.now());
    let look = move |disk: &dyn Disk| session::kept_proofs(disk, (domain, now), &wanted);
    let proofs = look_up(parts, look).await?;
    report.unreadable = proofs.unreadable;
    let found = Arc::new(proofs.found);
    let mut repairs = stream::iter(short)
        .map(|copies| {
            let kept = found.get(&copies.address).cloned().unwrap_or_default();
            async move {
                let done = if is_repair {
                    repair_one(parts, &copies, &kept).await
                } else {
                    look_for_lost(parts, &copies, &kept).await
                };
                (copies, done)
            }
        })
        .buffered(STORE_WORKERS);
    while let Some((copies, done)) = repairs.next().await {
        let Repaired { added, why, is_lost } = done?;
        let copies_now = report.added(copies.has.len(), added);
        let address = copies.address;
        if is_lost {
            report.lost.push(address);
        } else if let Some(why) = why.filter(|_| copies_now < CLOSE_GROUP) {
            report.not_repaired.push(NotRepaired { address, copies: copies_now, why });
        }
    }
    Ok(())
}

async fn repair_one(
    parts: &ClientParts,
    copies: &Copies,
    kept: &[(Kept, String)],
) -> Result<Repaired, VerifyError> {
    let failed = |why| Ok(Repaired { added: 0, why: Some(why), is_lost: false });
    // Without a proof its bytes are of no use, but to know that there are any.
    if kept.is_empty() && !copies.has.is_empty() {
        return failed(RepairFailure::NoProof);
    }
    let body = match bytes(parts, copies.address, kept).await? {
        Ok(body) => body,
        Err(error) if copies.has.is_empty() && is_gone(&error) => {
            return Ok(Repaired { added: 0, why: None, is_lost: true });
        }
        Err(error) => return failed(RepairFailure::NoBytes(error)),
    };
    let proofs: Vec<&Kept> = kept.iter().map(|(kept, _)| kept).collect();
    let Some(found) = proofs.iter().map(|kept| kept.receipts.len()).max() else {
        return failed(RepairFailure::NoProof);
    };
    let (took, failures) = store_with_any(parts, &proofs, &copies.lacks, &body).await;
    let not_asked = copies.lacks.len() - took.len() - failures.len();
    let why = match failures.into_values().next_back() {
        Some(failure) => RepairFailure::NotTaken(failure),
        None if not_asked > 0 => RepairFailure::NoReceipts { found },
        None => RepairFailure::NoPeers,
    };
    Ok(Repaired { added: took.len(), why: Some(why), is_lost: false })
}

/// Whether a chunk that none of its closest peers has is in a spill or with others.
async fn look_for_lost(
    parts: &ClientParts,
    copies: &Copies,
    kept: &[(Kept, String)],
) -> Result<Repaired, VerifyError> {
    let is_lost = copies.has.is_empty()
        && bytes(parts, copies.address, kept).await?.is_err_and(|error| is_gone(&error));
    Ok(Repaired { added: 0, why: None, is_lost })
}

/// A chunk's bytes, from a spill or from whoever has it: its closest peers, and as many beyond.
async fn bytes(
    parts: &ClientParts,
    address: ChunkAddress,
    kept: &[(Kept, String)],
) -> Result<Result<Bytes, DownloadError>, VerifyError> {
    for (_, spill) in kept {
        if let Some(body) = in_spill(parts, spill, address).await? {
            return Ok(Ok(body));
        }
    }
    match fetch_chunk(parts, address).await {
        Err(DownloadError::Interrupted) => Err(VerifyError::Interrupted),
        fetched => Ok(fetched),
    }
}

/// Whether everybody who should have a chunk has answered, and nobody has it. One who is silent may
/// have it, and where there is nobody nothing is known.
fn is_gone(error: &DownloadError) -> bool {
    match error {
        DownloadError::NotFound { asked, .. } => *asked > 0,
        DownloadError::Unavailable { failed, .. } => *failed == 0,
        _ => false,
    }
}

async fn in_spill(
    parts: &ClientParts,
    spill: &str,
    address: ChunkAddress,
) -> Result<Option<Bytes>, VerifyError> {
    let _held = parts.workers.reserve(MAX_CHUNK_BYTES as u64).await;
    let name = spill.to_owned();
    Ok(run(&parts.data, move |disk| spill::read(disk, &name, address)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_was_asked_for_and_nobody_kept_silent_about_is_gone() {
        let address = ChunkAddress([1; 32]);
        let unavailable =
            |bad, failed| DownloadError::Unavailable { address, bad, failed, last: None };
        for (error, gone) in [
            (DownloadError::NotFound { address, asked: 0 }, false),
            (DownloadError::NotFound { address, asked: 1 }, true),
            (DownloadError::NotFound { address, asked: 10 }, true),
            (unavailable(1, 0), true),
            (unavailable(1, 1), false),
            (unavailable(0, 2), false),
            (DownloadError::Interrupted, false),
        ] {
            assert_eq!(is_gone(&error), gone, "{error:?}");
        }
    }
}
