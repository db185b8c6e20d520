//! Plans of other sessions that pay for chunks of this one. A chunk with an unexpired proof is never
//! paid for again, so a plan that is signed or paid is taken over: the vault takes its id once, from
//! whichever session it is paid.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use spillway_disk::{Disk, DiskError, DiskExt, FileLock};
use spillway_pay::{SignedTx, TxPurpose};
use spillway_types::{Atto, ChunkAddress, Domain, EvmAddress, PaymentId, UnixTime};

use super::{
    Journal, KeyLock, PlanFile, PlanIx, Progressed, Record, SessionKey,
    open::{SESSIONS, load_ids, load_journal, load_manifest, load_plans, load_txs},
};
use crate::UploadError;

/// A plan of another session.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub session: String,
    pub key: SessionKey,
    pub plan: PlanIx,
    pub file: PlanFile,
    /// What was signed in that session, for this plan and the approvals before it.
    pub txs: Vec<SignedTx>,
}

impl Foreign {
    /// The vault's id of the plan.
    pub(crate) fn payment(&self) -> PaymentId {
        self.file.plan.id()
    }

    /// Whether a transaction that pays it may be on its way.
    pub(crate) fn is_signed(&self) -> bool {
        let payment = self.payment();
        self.txs.iter().any(|tx| tx.purpose.pays(payment))
    }

    /// Whether all that is signed for it pays for nothing but these.
    pub(crate) fn is_signed_with_others_of(&self, payments: &BTreeSet<PaymentId>) -> bool {
        self.txs.iter().all(|tx| match &tx.purpose {
            TxPurpose::PayMany { payments: all } => all.iter().all(|one| payments.contains(one)),
            _ => true,
        })
    }
}

/// The plans of all sessions but `own` that hold one of these chunks, were not dropped, and whose
/// upload window is not over. Those of another payer that came with an archive are nobody's here. Blocks.
///
/// # Errors
/// When a session cannot be read: what it has paid for is not known then, so nothing may be planned.
pub(crate) fn foreign_plans(
    disk: &dyn Disk,
    own: &str,
    (domain, payer, now): (&Domain, EvmAddress, UnixTime),
    wanted: &BTreeSet<ChunkAddress>,
) -> Result<Vec<Foreign>, UploadError> {
    let mut found = Vec::new();
    for_each_plan(disk, own, domain, |other, (plan, file)| {
        // How old the session is says nothing: its last plan may have been paid much later.
        let over = file.is_over(now);
        let strange = other.progressed.is_strange(file.plan.payer, payer);
        if over || strange || !file.plan.leaves.iter().any(|leaf| wanted.contains(&leaf.address)) {
            return Ok(());
        }
        if other.progressed.dropped.contains(&plan) {
            return other.keep(disk);
        }
        let payment = file.plan.id();
        let mut txs = load_txs(disk, &other.id)?;
        txs.retain(|tx| {
            tx.purpose.pays(payment) || matches!(tx.purpose, TxPurpose::Approve { .. })
        });
        found.push(Foreign { session: other.id.clone(), key: other.key, plan, file, txs });
        Ok(())
    })?;
    Ok(found)
}

/// Of these payments, those that another session has written down as its own spend. What is paid must go
/// on, so a session that cannot be read has paid for nothing: at worst a spend is told twice. Blocks.
pub(crate) fn counted_elsewhere(
    disk: &dyn Disk,
    own: &str,
    domain: &Domain,
    payments: &BTreeMap<PaymentId, PlanIx>,
) -> BTreeSet<PlanIx> {
    let mut counted = BTreeSet::new();
    let has_paid =
        |progressed: &Progressed| progressed.paid.values().any(|paid| paid.total > Atto::ZERO);
    let mut count = |other: &Other, (plan, file): (PlanIx, PlanFile)| {
        if other.progressed.paid.get(&plan).is_some_and(|paid| paid.total > Atto::ZERO) {
            counted.extend(payments.get(&file.plan.id()));
        }
        Ok(())
    };
    let ids = load_ids(disk).unwrap_or_else(|error| {
        tracing::warn!(%error, "what other sessions have paid is not known");
        Vec::new()
    });
    for id in ids.iter().filter(|id| *id != own) {
        if let Err(error) = each_plan_of(disk, id, domain, has_paid, &mut count) {
            tracing::warn!(session = %id, %error, "what it has paid is not known");
        }
    }
    counted
}

/// A session that is not this one.
struct Other {
    id: String,
    key: SessionKey,
    progressed: Progressed,
    journal: Journal,
}

impl Other {
    /// Makes what its journal says durable before it is acted upon, unless a process works on it, which
    /// does that itself.
    fn keep(&self, disk: &dyn Disk) -> Result<(), UploadError> {
        match KeyLock::take(disk, &self.key) {
            Ok(_lock) if is_there(disk, &self.id)? => Ok(self.journal.keep(disk)?),
            Ok(_) | Err(UploadError::Busy { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Shows every plan for this vault of all sessions but `own`.
fn for_each_plan(
    disk: &dyn Disk,
    own: &str,
    domain: &Domain,
    mut show: impl FnMut(&Other, (PlanIx, PlanFile)) -> Result<(), UploadError>,
) -> Result<(), UploadError> {
    for id in load_ids(disk)?.iter().filter(|id| *id != own) {
        each_plan_of(disk, id, domain, |_| true, &mut show)?;
    }
    Ok(())
}

/// Shows every plan for this vault of one session, if its journal is `of_interest`.
fn each_plan_of(
    disk: &dyn Disk,
    id: &str,
    domain: &Domain,
    of_interest: impl Fn(&Progressed) -> bool,
    mut show: impl FnMut(&Other, (PlanIx, PlanFile)) -> Result<(), UploadError>,
) -> Result<(), UploadError> {
    let manifest = match load_manifest(disk, id) {
        // Given up by its own upload since the list was read.
        Err(UploadError::Disk(DiskError::NotFound { .. })) if !is_there(disk, id)? => return Ok(()),
        other => other?,
    };
    if manifest.domain != *domain {
        return Ok(());
    }
    let (journal, progressed) = load_journal(disk, id)?;
    if !of_interest(&progressed) {
        return Ok(());
    }
    let plans = load_plans(disk, id)?;
    let other = Other { id: id.to_owned(), key: manifest.key, progressed, journal };
    for plan in (0..).map(PlanIx).zip(plans) {
        show(&other, plan)?;
    }
    Ok(())
}

fn is_there(disk: &dyn Disk, id: &str) -> Result<bool, DiskError> {
    disk.exists(&Path::new(SESSIONS).join(id))
}

/// Makes another session give up a plan that was never signed, or that the chain will never take, so
/// that its chunks may be planned here. Blocks.
///
/// # Errors
/// [`UploadError::Busy`] when a process works on that session.
pub(crate) fn give_up_plan(
    disk: &dyn Disk,
    foreign: &Foreign,
    never_taken: bool,
) -> Result<(), UploadError> {
    let lock = KeyLock::take(disk, &foreign.key)?;
    // Looked at again under the lock: it may have been signed since.
    let payment = foreign.payment();
    let signed = load_txs(disk, &foreign.session)?.iter().any(|tx| tx.purpose.pays(payment));
    if signed && !never_taken {
        return Err(UploadError::Busy { session: foreign.session.clone() });
    }
    let (mut journal, progressed) = load_journal(disk, &foreign.session)?;
    // Whoever it was handed over to may sign it.
    if let (Some(elsewhere), false) = (progressed.handed_over, never_taken) {
        let session = foreign.session.clone();
        return Err(UploadError::HandedOver { session, at: elsewhere.at });
    }
    journal.append(disk, &[Record::Dropped { plan: foreign.plan }])?;
    drop(lock);
    Ok(())
}

/// The lock under which plans are compared with those of other sessions and written. Blocks, but
/// does not wait for another holder.
pub(crate) fn planning_lock(disk: &dyn Disk) -> Result<Box<dyn FileLock>, DiskError> {
    disk.lock(&Path::new(SESSIONS).join("planning.lock"))
}

#[cfg(test)]
mod tests {
    use spillway_disk::{MemoryDisk, Overwrite};

    use super::*;
    use crate::session::journal;

    /// Whoever works on it keeps it, and of one that is gone nothing is to be kept.
    #[test]
    fn a_session_that_is_locked_or_gone_is_not_written_to() {
        let (disk, dir) = (MemoryDisk::new(), Path::new(SESSIONS).join("other"));
        disk.create_dir_all(&dir).unwrap();
        let records = journal::encode(&[Record::Dropped { plan: PlanIx(0) }]);
        disk.write_durable(&dir.join("journal"), &records, Overwrite::Never).unwrap();
        let (journal, progressed) = load_journal(&disk, "other").unwrap();
        let other = Other { id: "other".into(), key: SessionKey([1; 32]), progressed, journal };
        other.keep(&disk).unwrap();
        disk.remove_file(&dir.join("journal")).unwrap();
        disk.remove_dir(&dir).unwrap();
        other.keep(&disk).unwrap();
        let lock = KeyLock::take(&disk, &other.key).unwrap();
        disk.create_dir_all(&dir).unwrap();
        other.keep(&disk).unwrap();
        drop(lock);
        assert!(disk.list(&dir).unwrap().is_empty(), "nothing is made anew");
    }
}
