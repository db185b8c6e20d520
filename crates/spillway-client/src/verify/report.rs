use std::{collections::BTreeSet, time::Duration};

use spillway_types::{
    ChunkAddress, PeerKey,
    limits::{CLOSE_GROUP, STORE_QUORUM},
};

use super::{RepairFailure, count::Copies};
use crate::{UnreadableSession, limits::MAX_REPAIRS};

/// A copy that is not what its peer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BadCopy {
    /// The chunk.
    pub address: ChunkAddress,
    /// Who says that it has it.
    pub peer: PeerKey,
}

/// A chunk that still has fewer than five copies.
#[derive(Debug)]
pub struct NotRepaired {
    /// The chunk.
    pub address: ChunkAddress,
    /// How many copies it has now.
    pub copies: usize,
    /// Why it has no more.
    pub why: RepairFailure,
}

/// What verifying has found. Copies are those that the five closest peers have now.
#[derive(Debug, Default)]
pub struct Verified {
    /// Chunks of the upload, data maps included.
    pub chunks_total: u64,
    /// How many chunks had 0, 1, … 5 copies.
    pub copies: [u64; CLOSE_GROUP + 1],
    /// The same after repair.
    pub copies_after: [u64; CLOSE_GROUP + 1],
    /// Chunks of which copies were read.
    pub chunks_read: u64,
    /// Copies that were read and are good.
    pub copies_read: u64,
    /// Their bytes, sealed.
    pub bytes_read: u64,
    /// How many copies are not what their peers say.
    pub bad_copies: u64,
    /// The first 8,192 of them.
    pub bad: Vec<BadCopy>,
    /// Peers that did not answer a question: their copies are not counted.
    pub silent: BTreeSet<PeerKey>,
    /// Chunks that were short and have five copies now.
    pub repaired: u64,
    /// Copies that were added, of these and of others.
    pub copies_added: u64,
    /// Chunks that are still short, and why; without `repair` none are named. At most 8,192: see
    /// [`Verified::left`].
    pub not_repaired: Vec<NotRepaired>,
    /// Chunks that are gone: none of their ten closest peers has them, all of whom have answered, and
    /// there are no bytes of them here. At most 8,192. Chunks without a copy that are not among these
    /// are here, with peers further away, or maybe with one that is silent.
    pub lost: Vec<ChunkAddress>,
    /// Chunks that were short and that this call has not looked after: verify again.
    pub left: u64,
    /// Sessions that cannot be read: they may keep further proofs.
    pub unreadable: Vec<UnreadableSession>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Verified {
    /// Chunks with fewer copies than make them stored, after repair.
    pub fn short(&self) -> u64 {
        self.copies_after[..STORE_QUORUM].iter().sum()
    }

    /// Whether every chunk has at least as many copies as make it stored.
    pub fn is_sound(&self) -> bool {
        self.short() == 0
    }

    pub(super) fn bad(&mut self, address: ChunkAddress, peer: PeerKey) {
        tracing::info!(%peer, chunk = %address, "a copy is not what the peer says");
        self.bad_copies += 1;
        if self.bad.len() < MAX_REPAIRS {
            self.bad.push(BadCopy { address, peer });
        }
    }

    /// Counts a chunk, and keeps it when it is short.
    pub(super) fn count(&mut self, short: &mut Vec<Copies>, copies: Copies) {
        let count = copies.has.len().min(CLOSE_GROUP);
        self.copies[count] += 1;
        if count == CLOSE_GROUP {
            return;
        }
        if short.len() < MAX_REPAIRS {
            short.push(copies);
        } else {
            self.left += 1;
        }
    }

    /// So many copies were added to a chunk that had so many.
    pub(super) fn added(&mut self, before: usize, added: usize) -> usize {
        let after = (before + added).min(CLOSE_GROUP);
        self.copies_after[before] -= 1;
        self.copies_after[after] += 1;
        self.copies_added += added as u64;
        self.repaired += u64::from(after == CLOSE_GROUP);
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(has: u8) -> Copies {
        let has = (0..has).map(|number| PeerKey([number; 32])).collect();
        Copies { address: ChunkAddress([1; 32]), has, lacks: Vec::new() }
    }

    #[test]
    fn all_are_counted_and_the_first_are_listed() {
        let (mut report, mut short) = (Verified::default(), Vec::new());
        for _ in 0..MAX_REPAIRS + 2 {
            report.count(&mut short, copies(2));
            report.bad(ChunkAddress([1; 32]), PeerKey([2; 32]));
        }
        report.count(&mut short, copies(5));
        let all = MAX_REPAIRS as u64 + 2;
        assert_eq!(
            (report.copies, short.len(), report.left),
            ([0, 0, all, 0, 0, 1], MAX_REPAIRS, 2)
        );
        assert_eq!((report.bad_copies, report.bad.len()), (all, MAX_REPAIRS));
    }

    #[test]
    fn a_chunk_counts_with_the_copies_that_it_has_after_repair() {
        let mut report = Verified { copies_after: [0, 1, 0, 3, 0, 0], ..Verified::default() };
        assert_eq!(report.added(1, 0), 1);
        assert_eq!((report.short(), report.is_sound()), (1, false));
        assert_eq!(report.added(1, 2), 3);
        assert_eq!((report.short(), report.is_sound()), (0, true));
        assert_eq!(report.added(3, 1), 4);
        // One of its closest peers came while it was looked at.
        assert_eq!((report.added(3, 2), report.added(3, 3)), (5, 5));
        assert_eq!(report.copies_after, [0, 0, 0, 1, 1, 2]);
        assert_eq!((report.copies_added, report.repaired), (8, 2));
    }
}
