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

#[cfg(test)]
mod tests {
    use spillway_types::{ChunkAddress, Domain, EvmAddress, NetworkId, UnixTime};

    use super::*;
    use crate::session::{ChunkInfo, SessionKey, SourceNote};

    #[test]
    fn a_copy_may_differ_in_its_spill_alone() {
        let one = Manifest {
            key: SessionKey([3; 32]),
            created: UnixTime(1_800_000_000),
            domain: Domain {
                network: NetworkId([1; 32]),
                chain_id: 31_337,
                vault: EvmAddress([2; 20]),
            },
            payer: EvmAddress([4; 20]),
            source: SourceNote { name: "-".into(), bytes: 14, skipped: Vec::new() },
            spill: "spill_1800000000_0123456789abcdef".into(),
            chunks: vec![ChunkInfo { address: ChunkAddress([6; 32]), size: 14, segment: None }],
            root: None,
            public_address: None,
        };
        let with = |change: fn(&mut Manifest)| {
            let mut other = one.clone();
            change(&mut other);
            is_same(&one, &other)
        };
        assert!(with(|_| ()));
        assert!(with(|other| other.spill.clear()));
        for change in [
            (|other| other.key.0[31] += 1) as fn(&mut Manifest),
            |other| other.created.0 += 1,
            |other| other.domain.chain_id += 1,
            |other| other.payer.0[0] += 1,
            |other| other.source.bytes += 1,
            |other| other.chunks[0].size += 1,
            |other| other.root = Some(Vec::new()),
            |other| other.public_address = Some(ChunkAddress([6; 32])),
        ] {
            assert!(!with(change));
        }
    }
}
