//! What the journals know of batches after their chunks are stored: until every draw is settled or
//! refunded, money of the payer is in the vault.

use std::path::Path;

use spillway_disk::{Disk, DiskError, DiskExt};
use spillway_types::{Atto, BatchTerms, Domain, PaymentId};

use super::{
    KeyLock, PlanIx, Record, SessionKey,
    open::{SESSIONS, load_ids, load_journal, load_manifest, load_plans},
};
use crate::UploadError;

/// A batch that a session has paid, or may have.
#[derive(Clone, Debug)]
pub(crate) struct BatchPaid {
    pub session: String,
    pub key: SessionKey,
    pub plan: PlanIx,
    pub payment: PaymentId,
    pub terms: BatchTerms,
    /// What was seen to come back after the claim window.
    pub refundable: Option<Atto>,
    /// What came back; nothing more does.
    pub refunded: Option<Atto>,
}

/// What is known of the batches of sessions.
#[derive(Debug, Default)]
pub(crate) struct BatchesFound {
    pub batches: Vec<BatchPaid>,
    /// Sessions that cannot be read, and why: there may be more in them.
    pub unreadable: Vec<(String, UploadError)>,
}

/// The batches of all sessions, or of one, that pay into this vault. What another session has paid
/// is listed there, and what can never be paid is not listed. Blocks.
pub(crate) fn batches_paid(
    disk: &dyn Disk,
    domain: &Domain,
    only: Option<&str>,
) -> Result<BatchesFound, DiskError> {
    let mut found = BatchesFound::default();
    for id in load_ids(disk)? {
        if only.is_some_and(|only| only != id) {
            continue;
        }
        match of_session(disk, domain, &id) {
            Ok(mut batches) => found.batches.append(&mut batches),
            // A file that is missing is damage of the session, unless all of it was just removed.
            Err(error @ UploadError::Disk(DiskError::NotFound { .. })) => {
                if disk.exists(&Path::new(SESSIONS).join(&id))? {
                    found.unreadable.push((id, error));
                }
            }
            Err(UploadError::Disk(error)) => return Err(error),
            Err(error) => found.unreadable.push((id, error)),
        }
    }
    Ok(found)
}

fn of_session(disk: &dyn Disk, domain: &Domain, id: &str) -> Result<Vec<BatchPaid>, UploadError> {
    let manifest = load_manifest(disk, id)?;
    if manifest.domain != *domain {
        return Ok(Vec::new());
    }
    let (_, progressed) = load_journal(disk, id)?;
    let plans = (0..).map(PlanIx).zip(load_plans(disk, id)?);
    let batches = plans.filter_map(|(plan, file)| {
        let terms = file.plan.batch_terms()?;
        // A payment that the journal does not know yet is asked for: the chain decides.
        let here = progressed.paid.get(&plan).is_none_or(|paid| paid.total > Atto::ZERO);
        (here && !progressed.dropped.contains(&plan)).then(|| BatchPaid {
            session: id.to_owned(),
            key: manifest.key,
            plan,
            payment: terms.id(domain),
            terms,
            refundable: progressed.refundable.get(&plan).copied(),
            refunded: progressed.refunded.get(&plan).copied(),
        })
    });
    Ok(batches.collect())
}

/// Writes what happened to a batch into the journal of its session. Blocks.
///
/// # Errors
/// [`UploadError::Busy`] when a process works on that session.
pub(crate) fn note(disk: &dyn Disk, batch: &BatchPaid, record: Record) -> Result<(), UploadError> {
    let lock = KeyLock::take(disk, &batch.key)?;
    let (mut journal, _) = load_journal(disk, &batch.session)?;
    journal.append(disk, &[record])?;
    drop(lock);
    Ok(())
}
