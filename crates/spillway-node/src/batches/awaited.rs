use std::collections::{BTreeMap, BTreeSet};

use spillway_types::UnixTime;

use super::Batches;

/// The seeds that the batches of the index wait for. Two entries of 16 bytes a seed: windows end
/// within weeks, so with one seed a day they are some dozens.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Those whose boundary has passed, with one `upload_by` of each.
    due: BTreeMap<u64, UnixTime>,
    /// Those that were logged as overdue.
    warned: BTreeSet<u64>,
}

impl Awaited {
    /// Replaces what is due by the chain's time. Returns the boundaries that are overdue by an epoch
    /// and were not before, each with its `upload_by`.
    fn replace(
        &mut self,
        due: BTreeMap<u64, UnixTime>,
        epoch_secs: u64,
        now: UnixTime,
    ) -> Vec<(u64, UnixTime)> {
        self.warned.retain(|boundary| due.contains_key(boundary));
        let is_late = |boundary: u64| boundary.saturating_add(epoch_secs) <= now.as_secs();
        let late = due.iter().filter(|(boundary, _)| is_late(**boundary));
        let late = late.map(|(boundary, upload_by)| (*boundary, *upload_by));
        let late = late.filter(|(boundary, _)| self.warned.insert(*boundary)).collect();
        self.due = due;
        late
    }

    /// The ends of upload windows of batches whose draw is due and whose seed is not known, as of the
    /// last look: one for each seed, the earliest first, at most `limit`.
    pub(super) fn named(&self, limit: usize) -> Vec<UnixTime> {
        self.due.values().take(limit).copied().collect()
    }
}

impl Batches {
    /// Looks which seeds are awaited now, by the chain's time, and logs those that are overdue by an
    /// epoch, each once.
    pub(super) fn note_awaited(&self) {
        let Some((beacon, _)) = self.news().beacon else {
            return;
        };
        let (epoch, now) = (beacon.epoch.as_secs(), self.shared.clock.chain_time());
        let mut book = self.book();
        let mut due = BTreeMap::new();
        for (_, terms) in book.index.batches() {
            let boundary = self.boundary(terms.upload_by, epoch);
            let claim_end = self.shared.windows.claim_end(terms.upload_by);
            if boundary <= now.as_secs() && now <= claim_end {
                due.entry(boundary).or_insert(terms.upload_by);
            }
        }
        due.retain(|boundary, _| book.seeds.get(boundary).is_none());
        for (boundary, upload_by) in book.awaited.replace(due, epoch, now) {
            let claim_end = self.shared.windows.claim_end(upload_by);
            tracing::warn!(
                boundary, %upload_by, %claim_end,
                "nobody has made a seed known: what it draws pays nobody until somebody does"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdue_is_told_once() {
        let mut awaited = Awaited::default();
        let due = |boundaries: &[u64]| -> BTreeMap<_, _> {
            boundaries.iter().map(|boundary| (*boundary, UnixTime(boundary - 7))).collect()
        };
        let late = |boundary: u64| (boundary, UnixTime(boundary - 7));
        assert_eq!(awaited.replace(due(&[100, 200]), 100, UnixTime(199)), []);
        assert_eq!(awaited.replace(due(&[100, 200]), 100, UnixTime(200)), [late(100)]);
        assert_eq!(awaited.replace(due(&[100, 200]), 100, UnixTime(299)), []);
        assert_eq!(awaited.replace(due(&[100, 200]), 100, UnixTime(300)), [late(200)]);
        // Known meanwhile, and gone again with a reorganisation.
        assert_eq!(awaited.replace(due(&[200]), 100, UnixTime(400)), []);
        assert_eq!(awaited.replace(due(&[100, 200]), 100, UnixTime(400)), [late(100)]);
    }
}
