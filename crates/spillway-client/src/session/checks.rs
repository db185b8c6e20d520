//! Verifying an upload: which stored chunks are to be looked for, and when. Pure, like a batch.
//!
//! ```text
//!   stored ──▶ queued ──▶ looked for ──found──▶ verified
//!                             │ ▲
//!                      missed ▼ │ its time has come: stored again and looked for
//!                             missed ──too often in this run──▶ failed
//! ```
//!
//! Only misses are written down. A restart looks for everything once more, which costs a few bytes a
//! chunk, and for what was missed not before its time. The session's lock is the lease: while it is
//! held nobody else works on the session, and here a chunk is in one place at a time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use spillway_types::UnixTime;

use super::{ChunkIx, Miss, Record};
use crate::limits::{CHECK_ATTEMPTS, CHECK_BACKOFF, CHECK_BACKOFF_MOST};

/// What looking for a chunk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A quorum of its peers has it.
    Verified,
    /// Only so many have.
    Missed { copies: usize },
}

/// The chunks of an upload that are to be verified.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    queued: VecDeque<ChunkIx>,
    missed: BTreeSet<(UnixTime, ChunkIx)>,
    /// How often a chunk was missed, in all runs.
    attempts: BTreeMap<ChunkIx, u32>,
    /// How often in this one.
    tried: BTreeMap<ChunkIx, u32>,
    /// Missed too often in this run, with the copies that were found last.
    failed: BTreeMap<ChunkIx, usize>,
}

impl Checks {
    /// All of these are to be verified, of which these were missed before. None is left alone for longer
    /// than any miss says: it was written down by a clock that was ahead.
    pub(crate) fn new(
        stored: impl Iterator<Item = ChunkIx>,
        missed: &BTreeMap<ChunkIx, Miss>,
        now: UnixTime,
    ) -> Self {
        let latest = now.saturating_add(CHECK_BACKOFF_MOST);
        let mut checks = Self::default();
        for chunk in stored {
            match missed.get(&chunk) {
                None => checks.queued.push_back(chunk),
                Some(miss) => {
                    checks.attempts.insert(chunk, miss.attempt);
                    checks.missed.insert((miss.next.min(latest), chunk));
                }
            }
        }
        checks
    }

    /// This one is stored now.
    pub(crate) fn stored(&mut self, chunk: ChunkIx) {
        self.queued.push_back(chunk);
    }

    /// The next ones that are to be looked for, at most so many.
    pub(crate) fn take_queued(&mut self, most: usize) -> Vec<ChunkIx> {
        self.queued.drain(..most.min(self.queued.len())).collect()
    }

    /// The missed one whose time comes first, with its time.
    pub(crate) fn take_missed(&mut self) -> Option<(UnixTime, ChunkIx)> {
        self.missed.pop_first()
    }

    /// The others that were missed, those whose time comes first before the rest.
    pub(crate) fn missed(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        self.missed.iter().map(|(_, chunk)| *chunk)
    }

    /// Takes in what was found, at this time. What is to be written down before anything is done
    /// about it.
    pub(crate) fn take_in(
        &mut self,
        chunk: ChunkIx,
        found: Found,
        now: UnixTime,
    ) -> Option<Record> {
        let Found::Missed { copies } = found else {
            self.attempts.remove(&chunk);
            return None;
        };
        let attempts = self.attempts.entry(chunk).or_default();
        *attempts = attempts.saturating_add(1);
        let (attempt, tried) = (*attempts, self.tried.entry(chunk).or_default());
        *tried += 1;
        let next = now.saturating_add(backoff(attempt));
        if *tried > CHECK_ATTEMPTS {
            self.failed.insert(chunk, copies);
        } else {
            self.missed.insert((next, chunk));
        }
        Some(Record::Missed { chunk, attempt, next })
    }

    /// What was missed too often, with the copies that were found last.
    pub(crate) fn failed(&self) -> &BTreeMap<ChunkIx, usize> {
        &self.failed
    }
}

/// How long a chunk is left alone that was missed so often.
fn backoff(attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    CHECK_BACKOFF.saturating_mul(factor).min(CHECK_BACKOFF_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSED: Found = Found::Missed { copies: 2 };

    fn at(secs: u64) -> UnixTime {
        UnixTime(secs)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be none")]
    fn miss(attempt: u32, next: u64) -> Option<Record> {
        Some(Record::Missed { chunk: ChunkIx(0), attempt, next: at(next) })
    }

    #[test]
    fn what_is_found_is_done_and_nothing_is_written() {
        let mut checks = Checks::new((0..3).map(ChunkIx), &BTreeMap::new(), at(0));
        assert_eq!(checks.take_queued(2), [ChunkIx(0), ChunkIx(1)]);
        assert_eq!(checks.take_in(ChunkIx(0), Found::Verified, at(0)), None);
        checks.stored(ChunkIx(3));
        assert_eq!(checks.take_queued(9), [ChunkIx(2), ChunkIx(3)]);
        assert_eq!((checks.take_queued(9), checks.take_missed()), (vec![], None));
    }

    #[test]
    fn a_miss_is_left_alone_longer_each_time_and_given_up_in_the_end() {
        let mut checks = Checks::new([ChunkIx(0)].into_iter(), &BTreeMap::new(), at(100));
        checks.take_queued(1);
        let mut now = 100;
        for (attempt, wait) in (1..=CHECK_ATTEMPTS).zip([2, 4, 8, 16]) {
            assert_eq!(checks.take_in(ChunkIx(0), MISSED, at(now)), miss(attempt, now + wait));
            now += wait;
            assert_eq!(checks.take_missed(), Some((at(now), ChunkIx(0))));
        }
        assert!(checks.failed().is_empty());
        assert_eq!(checks.take_in(ChunkIx(0), MISSED, at(now)), miss(5, now + 32));
        assert_eq!(checks.failed(), &BTreeMap::from([(ChunkIx(0), 2)]));
        assert_eq!(checks.take_missed(), None);
    }

    #[test]
    fn a_restart_waits_as_long_and_tries_as_often() {
        let before = BTreeMap::from([(ChunkIx(0), Miss { attempt: 40, next: at(500) })]);
        let mut checks = Checks::new((0..2).map(ChunkIx), &before, at(490));
        assert_eq!(checks.take_queued(9), [ChunkIx(1)]);
        for attempt in 41..=40 + CHECK_ATTEMPTS {
            assert!(checks.take_missed().is_some());
            assert_eq!(checks.take_in(ChunkIx(0), MISSED, at(500)), miss(attempt, 560));
        }
        assert!(checks.failed().is_empty());
        checks.take_missed();
        assert_eq!(checks.take_in(ChunkIx(0), Found::Verified, at(500)), None);
        assert_eq!((checks.take_missed(), checks.failed().len()), (None, 0));
    }

    #[test]
    fn a_miss_of_a_clock_that_was_ahead_is_not_waited_for() {
        let before = [(0, 500), (1, 100 + 365 * 86_400)];
        let before =
            before.map(|(chunk, next)| (ChunkIx(chunk), Miss { attempt: 1, next: at(next) }));
        let before = before.into();
        let most = CHECK_BACKOFF_MOST.as_secs();
        let mut checks = Checks::new((0..2).map(ChunkIx), &before, at(490));
        assert_eq!(checks.missed().collect::<Vec<_>>(), [ChunkIx(0), ChunkIx(1)]);
        assert_eq!(checks.take_missed(), Some((at(500), ChunkIx(0))));
        assert_eq!(checks.take_missed(), Some((at(490 + most), ChunkIx(1))));
    }
}
