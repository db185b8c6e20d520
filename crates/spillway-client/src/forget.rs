//! Forgetting a session: the only way in which proofs and sealed chunks of one that was paid for go
//! before everything is stored.

use std::sync::Arc;

use spillway_disk::{Disk, DiskError, run};
use spillway_types::UnixTime;

use crate::{
    ForgetError, SessionError, Stakes,
    session::{self, KeyLock, Snapshot},
    spill::Spill,
};

/// How a session is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct ForgetOptions {
    /// The time, which says which upload windows are over.
    pub now: UnixTime,
    /// Also when something of worth is lost with it.
    pub even_paid: bool,
}

/// A session that is gone, with its sealed chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Its name.
    pub session: String,
    /// What was given up with it.
    pub stakes: Stakes,
}

/// Forgets a session by its name or the unique beginning of it: its files, proofs and receipts
/// included, and its sealed chunks. Of one that was handed over, nothing counts as lost: the archive
/// has it.
///
/// One that is finished can be forgotten though its payments are not final yet
/// ([`SessionStatus::payments_not_final`](crate::SessionStatus::payments_not_final)). What is signed
/// goes with it: a payment that a reorganisation takes back after that is not sent again from here, and
/// its chunks stay unpaid or are paid for anew by a later upload. While a payment is known to be taken
/// back, it counts as perhaps paid.
///
/// What a batch holds can be had back without its session only by who knows its terms, so one that may
/// bring something back is not forgotten before it is refunded. A session whose files are damaged is
/// never forgotten: what it holds is not known.
///
/// # Errors
/// [`ForgetError::AtStake`] with the amounts, unless the options say otherwise; [`SessionError::Busy`]
/// while a process works on it.
///
/// # Cancel safety
/// It runs to its end, unobserved. A crash leaves the session whole or gone; what is left of its files
/// goes with [`Client::reap`](crate::Client::reap).
pub async fn forget(
    data: &Arc<dyn Disk>,
    session: &str,
    options: ForgetOptions,
) -> Result<Forgotten, ForgetError> {
    let (disk, name) = (Arc::clone(data), session.to_owned());
    run(data, move |_| Ok(forget_now(&disk, &name, options))).await?
}

fn forget_now(
    data: &Arc<dyn Disk>,
    name: &str,
    options: ForgetOptions,
) -> Result<Forgotten, ForgetError> {
    let disk = data.as_ref();
    let id = session::resolve(disk, name)?;
    let key = session::load_manifest(disk, &id)?.key;
    let lock = KeyLock::take(disk, &key)?;
    let snapshot = Snapshot::load(disk, &id)?;
    let elsewhere = snapshot.progressed.handed_over.is_some_and(|over| over.exported);
    let stakes =
        if elsewhere { Stakes::default() } else { session::stakes(&snapshot, options.now) };
    if !stakes.is_nothing() && !options.even_paid {
        return Err(ForgetError::AtStake { session: id, stakes: Box::new(stakes) });
    }
    remove(data, &id, &snapshot)?;
    lock.remove(disk, &key)?;
    Ok(Forgotten { session: id, stakes })
}

/// Removes a session whose key is locked, and its spill. The session goes first: a spill that nobody
/// names goes when it is stale, a session without its spill would have lost its chunks. Blocks.
pub(crate) fn remove(
    data: &Arc<dyn Disk>,
    id: &str,
    snapshot: &Snapshot,
) -> Result<(), SessionError> {
    let spill = match Spill::open(data, &snapshot.manifest.spill) {
        Ok(spill) => Some(spill),
        Err(DiskError::NotFound { .. } | DiskError::BadPath { .. }) => None,
        Err(DiskError::Locked { .. }) => {
            return Err(SessionError::Busy { session: id.to_owned() });
        }
        Err(error) => return Err(error.into()),
    };
    session::discard(data.as_ref(), id)?;
    if let Some(spill) = spill
        && let Err(error) = spill.destroy()
    {
        tracing::warn!(%error, "the spill could not be removed; it goes when it is stale");
    }
    Ok(())
}
