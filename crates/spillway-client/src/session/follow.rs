//! Whether a session is what a copy of it that was handed over has become.

use spillway_disk::{Disk, DiskError};

use super::{Manifest, Snapshot};

/// Whether nothing that the copy knows is lost when this one takes its place: it is the same session,
/// has its plans and its signed transactions, and its journal begins as the copy's did until it was
/// handed over. Blocks.
pub(crate) fn goes_on_from(
    disk: &dyn Disk,
    session: &Snapshot,
    copy: &Snapshot,
) -> Result<bool, DiskError> {
    Ok(is_same(&session.manifest, &copy.manifest)
        && session.plans.starts_with(&copy.plans)
        && session.txs.starts_with(&copy.txs)
        && session.journal.goes_on_from(disk, &copy.journal)?)
}

/// Whether two manifests are of one session: all but the spill is the same.
fn is_same(one: &Manifest, other: &Manifest) -> bool {
    let Manifest { key, created, domain, payer, source, spill: _, chunks, root, public_address } =
        one;
    (key, created, domain, payer) == (&other.key, &other.created, &other.domain, &other.payer)
        && (source, chunks) == (&other.source, &other.chunks)
        && (root, public_address) == (&other.root, &other.public_address)
}
