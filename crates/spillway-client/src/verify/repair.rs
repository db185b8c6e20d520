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
    again::store_again,
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

/// Stores these chunks again on those of their closest peers that lack them, from the spill of the
/// session that keeps the proof, or else from a copy. Without `is_repair` only those are found that are
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
    let look = move |disk: &dyn Disk| Ok(session::kept_proofs(disk, (&domain, now), &wanted));
    let proofs = run(&parts.data, look).await??;
    report.unreadable = proofs.unreadable;
    let found = Arc::new(proofs.found);
    let mut repairs = stream::iter(short)
        .map(|copies| {
            let kept = found.get(&copies.address).cloned();
            async move {
                let done = if is_repair {
                    repair_one(parts, &copies, kept).await
                } else {
                    look_for_lost(parts, &copies, kept).await
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
    kept: Option<(Kept, String)>,
) -> Result<Repaired, VerifyError> {
    let failed = |why| Ok(Repaired { added: 0, why: Some(why), is_lost: false });
    // Without a proof its bytes are of no use, but to know that there are any.
    if kept.is_none() && !copies.has.is_empty() {
        return failed(RepairFailure::NoProof);
    }
    let body = match bytes(parts, copies.address, kept.as_ref()).await? {
        Ok(body) => body,
        Err(error) if copies.has.is_empty() && is_gone(&error) => {
            return Ok(Repaired { added: 0, why: None, is_lost: true });
        }
        Err(error) => return failed(RepairFailure::NoBytes(error)),
    };
    let Some((kept, _)) = kept else { return failed(RepairFailure::NoProof) };
    if !kept.is_open(parts.clock.now()) && !kept.is_offer() {
        return failed(RepairFailure::NoReceipts { found: kept.receipts.len() });
    }
    let (took, failures) = store_again(parts, &kept, &copies.lacks, &body).await;
    let not_asked = copies.lacks.len() - took.len() - failures.len();
    let why = match failures.into_values().next_back() {
        Some(failure) => RepairFailure::NotTaken(failure),
        None if not_asked > 0 => RepairFailure::NoReceipts { found: kept.receipts.len() },
        None => RepairFailure::NoPeers,
    };
    Ok(Repaired { added: took.len(), why: Some(why), is_lost: false })
}

/// Whether a chunk that none of its closest peers has is in a spill or with others.
async fn look_for_lost(
    parts: &ClientParts,
    copies: &Copies,
    kept: Option<(Kept, String)>,
) -> Result<Repaired, VerifyError> {
    let is_lost = copies.has.is_empty()
        && bytes(parts, copies.address, kept.as_ref()).await?.is_err_and(|error| is_gone(&error));
    Ok(Repaired { added: 0, why: None, is_lost })
}

/// A chunk's bytes, from the spill or from whoever has it: its closest peers, and as many beyond.
async fn bytes(
    parts: &ClientParts,
    address: ChunkAddress,
    kept: Option<&(Kept, String)>,
) -> Result<Result<Bytes, DownloadError>, VerifyError> {
    if let Some((_, spill)) = kept
        && let Some(body) = in_spill(parts, spill, address).await?
    {
        return Ok(Ok(body));
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
