use std::collections::{BTreeMap, BTreeSet};

use spillway_pay::{At, Payments};
use spillway_types::{PeerKey, UnixTime};

use crate::{AccountError, limits::MAX_NAMED_SEEDS};

/// The seeds that nodes say they wait for: their word, so far. A node names a few at most, and nodes
/// are named by whoever settles.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<UnixTime, BTreeSet<PeerKey>>);

impl Named {
    /// Takes note of what a node names.
    pub(super) fn take(&mut self, peer: PeerKey, waiting: Vec<UnixTime>) {
        for upload_by in waiting {
            self.0.entry(upload_by).or_default().insert(peer);
        }
    }

    /// Those that are due and can still be claimed by the chain's time, one for each boundary of the
    /// beacon, and that nobody has made known: first what most nodes named, then the earliest. At most
    /// [`MAX_NAMED_SEEDS`] are asked for.
    pub(super) async fn missing(self, payments: &Payments) -> Result<Vec<UnixTime>, AccountError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let windows = payments.check_domain().await?.windows;
        let (chain, vault) = (payments.chain(), payments.domain().vault);
        let epoch = chain.beacon(vault).await?.epoch.as_secs().max(1);
        let now = chain.block(At::Depth(0)).await?.time;
        let mut by_boundary: BTreeMap<u64, (UnixTime, BTreeSet<PeerKey>)> = BTreeMap::new();
        for (upload_by, peers) in self.0 {
            let draw_time = windows.draw_time(upload_by).as_secs();
            let boundary = (draw_time / epoch).saturating_add(1).saturating_mul(epoch);
            if boundary <= now.as_secs() && now <= windows.claim_end(upload_by) {
                let entry = by_boundary.entry(boundary).or_insert((upload_by, BTreeSet::new()));
                entry.1.extend(peers);
            }
        }
        let mut due: Vec<_> = by_boundary.into_values().collect();
        due.sort_by_key(|(upload_by, peers)| (std::cmp::Reverse(peers.len()), *upload_by));
        let mut missing = Vec::new();
        for (upload_by, _) in due.into_iter().take(MAX_NAMED_SEEDS) {
            if chain.seed(vault, upload_by).await?.is_none() {
                missing.push(upload_by);
            }
        }
        Ok(missing)
    }
}
