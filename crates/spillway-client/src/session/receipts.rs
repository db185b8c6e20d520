//! Receipts of other sessions for chunks of this one: what is stored and paid for there is neither
//! asked for nor stored again here.

use std::collections::{BTreeMap, BTreeSet};

use spillway_disk::Disk;
use spillway_types::{ChunkAddress, Domain, PaymentId, Receipt, UnixTime, limits::STORE_QUORUM};

use super::{
    PlanIx, Progressed, Record,
    open::{is_there, load_ids, load_manifest, load_plans, load_records},
};
use crate::UploadError;

/// Receipts that other sessions hold for these chunks: a quorum for a payment that is recorded and
/// whose upload window is not over. When it is over, the network is asked again. A session that
/// cannot be read gives none. Blocks.
///
/// # Errors
/// When our disk fails.
pub(crate) fn receipts_elsewhere(
    disk: &dyn Disk,
    own: &str,
    (domain, now): (&Domain, UnixTime),
    wanted: &BTreeSet<ChunkAddress>,
) -> Result<BTreeMap<ChunkAddress, Vec<Receipt>>, UploadError> {
    let mut found = BTreeMap::new();
    for id in load_ids(disk)? {
        if id == own || wanted.is_empty() {
            continue;
        }
        match of_session(disk, &id, (domain, now), wanted) {
            Ok(mut receipts) => found.append(&mut receipts),
            Err(UploadError::Disk(error)) if is_there(disk, &id)? => return Err(error.into()),
            Err(UploadError::Disk(_)) => {}
            // Before anything is planned it stops the upload; what is paid goes on without it.
            Err(error) => tracing::warn!(session = %id, %error, "its receipts are not used"),
        }
    }
    Ok(found)
}

fn of_session(
    disk: &dyn Disk,
    id: &str,
    (domain, now): (&Domain, UnixTime),
    wanted: &BTreeSet<ChunkAddress>,
) -> Result<BTreeMap<ChunkAddress, Vec<Receipt>>, UploadError> {
    let manifest = load_manifest(disk, id)?;
    let ours = manifest.chunks.iter().any(|chunk| wanted.contains(&chunk.address));
    if manifest.domain != *domain || !ours {
        return Ok(BTreeMap::new());
    }
    let (_, records) = load_records(disk, id)?;
    let progressed = Progressed::of(&records);
    let plans = (0..).map(PlanIx).zip(load_plans(disk, id)?);
    let payments: BTreeSet<PaymentId> = plans
        .filter(|(plan, file)| progressed.paid.contains_key(plan) && !file.is_over(now))
        .map(|(_, file)| file.plan.id())
        .collect();
    let mut found = BTreeMap::new();
    for record in records {
        let Record::Stored { chunk, mut receipts } = record else { continue };
        let Some(info) = manifest.chunks.get(chunk.0 as usize) else { continue };
        receipts.retain(|receipt| {
            let body = &receipt.body;
            payments.contains(&body.payment)
                && (body.address, body.size) == (info.address, info.size)
        });
        if wanted.contains(&info.address) && receipts.len() >= STORE_QUORUM {
            found.insert(info.address, receipts);
        }
    }
    Ok(found)
}
