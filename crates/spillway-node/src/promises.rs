use std::collections::{BTreeMap, BTreeSet};

use spillway_store::{ChunkStore, Reservation, StoreError, reservation_bytes};
use spillway_types::{ChunkAddress, PeerKey, Refusal, UnixTime};

use crate::limits::{MAX_PAID_PLACES, MAX_PROMISES, PROMISED_PART, PROMISED_PART_PER_PEER};

/// A chunk that is promised a place: its address and size in bytes.
pub(crate) type Promised = (ChunkAddress, u32);

/// Space that is set aside for quotes that are valid and not used yet, and for chunks that were paid
/// for and whose put came to nothing.
///
/// One promise a chunk, however many ask for its price; it ends with the last quote, or with the upload
/// window of what was paid for. Those that nobody has paid for hold at most half of the space that is
/// not filled, and those of one peer a quarter of that: beyond, a price is still given while there is
/// space, but none is set aside for it.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    by_chunk: BTreeMap<Promised, Promise>,
    by_end: BTreeSet<(UnixTime, Promised)>,
    /// What quotes hold that nobody has paid for.
    held_bytes: u64,
    /// How many were paid for.
    paid: usize,
    /// Only peers whose quotes hold some that nobody has paid for.
    by_peer: BTreeMap<PeerKey, u64>,
}

#[derive(Debug)]
struct Promise {
    reservation: Reservation,
    bytes: u64,
    ends: UnixTime,
    /// Whose quote holds it; nobody's when it was paid for.
    holder: Option<PeerKey>,
}

/// Where space is set aside. The disk is asked before, and not while promises are locked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    pub(crate) store: &'a dyn ChunkStore,
    pub(crate) disk_free_bytes: u64,
}

/// What a put took: space, and until when it is set aside for the chunk.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) reservation: Reservation,
    pub(crate) ends: UnixTime,
}

impl Promises {
    /// Makes sure that there is space for a chunk now, and sets it aside for this peer until `ends` if
    /// the limits allow it.
    ///
    /// # Errors
    /// The refusal, when there is no space or the disk fails.
    pub(crate) fn promise(
        &mut self,
        room: Room<'_>,
        (chunk, peer): (Promised, PeerKey),
        (now, ends): (UnixTime, UnixTime),
    ) -> Result<(), Refusal> {
        let Room { store, disk_free_bytes } = room;
        self.forget_ended(now);
        if self.prolong(chunk, ends) {
            return Ok(());
        }
        let (address, size) = chunk;
        let reservation = store.reserve_knowing(disk_free_bytes, address, size);
        let reservation = reservation.map_err(|error| refusal(&error))?;
        let bytes = reservation_bytes(size);
        if self.has_room(store, peer, bytes) {
            self.insert(chunk, Promise { reservation, bytes, ends, holder: Some(peer) });
        }
        Ok(())
    }

    /// Takes what was set aside for a chunk.
    pub(crate) fn take(&mut self, chunk: Promised, now: UnixTime) -> Option<Taken> {
        self.forget_ended(now);
        let Promise { reservation, ends, .. } = self.remove(chunk)?;
        Some(Taken { reservation, ends })
    }

    /// Sets aside again, for the rest of its time, what a put took that came to nothing. It was paid
    /// for, so it comes back whatever quotes hold meanwhile, and counts for none of them; at most
    /// [`MAX_PAID_PLACES`] at once.
    pub(crate) fn give_back(&mut self, taken: Taken, now: UnixTime) {
        self.forget_ended(now);
        let Taken { reservation, ends } = taken;
        let chunk = (reservation.address(), reservation.size_bytes());
        if ends < now {
            return;
        }
        // Another price may have set space aside for it meanwhile: one place is enough.
        let ends = self.remove(chunk).map_or(ends, |other| ends.max(other.ends));
        if self.paid < MAX_PAID_PLACES {
            let bytes = reservation_bytes(chunk.1);
            self.insert(chunk, Promise { bytes, reservation, ends, holder: None });
        }
    }

    /// What quotes hold that nobody has paid for, in bytes.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    fn has_room(&self, store: &dyn ChunkStore, peer: PeerKey, bytes: u64) -> bool {
        let capacity = store.capacity();
        let room = capacity.capacity_bytes.saturating_sub(capacity.used_bytes) / PROMISED_PART;
        let of_peer = self.by_peer.get(&peer).copied().unwrap_or(0);
        self.by_chunk.len() - self.paid < MAX_PROMISES
            && self.held_bytes + bytes <= room
            && of_peer + bytes <= room / PROMISED_PART_PER_PEER
    }

    fn forget_ended(&mut self, now: UnixTime) {
        while let Some((ends, chunk)) = self.by_end.first().copied() {
            if ends >= now {
                break;
            }
            self.remove(chunk);
        }
    }

    /// Makes a promise for this chunk last at least until `ends`; false when there is none.
    fn prolong(&mut self, chunk: Promised, ends: UnixTime) -> bool {
        let Some(promise) = self.by_chunk.get_mut(&chunk) else {
            return false;
        };
        if ends > promise.ends {
            self.by_end.remove(&(promise.ends, chunk));
            self.by_end.insert((ends, chunk));
            promise.ends = ends;
        }
        true
    }

    fn insert(&mut self, chunk: Promised, promise: Promise) {
        match promise.holder {
            Some(peer) => {
                *self.by_peer.entry(peer).or_default() += promise.bytes;
                self.held_bytes += promise.bytes;
            }
            None => self.paid += 1,
        }
        self.by_end.insert((promise.ends, chunk));
        self.by_chunk.insert(chunk, promise);
    }

    fn remove(&mut self, chunk: Promised) -> Option<Promise> {
        let promise = self.by_chunk.remove(&chunk)?;
        self.by_end.remove(&(promise.ends, chunk));
        let Some(peer) = promise.holder else {
            self.paid -= 1;
            return Some(promise);
        };
        self.held_bytes -= promise.bytes;
        if let Some(of_peer) = self.by_peer.get_mut(&peer) {
            *of_peer -= promise.bytes;
            if *of_peer == 0 {
                self.by_peer.remove(&peer);
            }
        }
        Some(promise)
    }
}

/// What a peer is told when the store does not do what it was asked.
pub(crate) fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full { free_bytes, .. } => Refusal::Full { free_bytes: *free_bytes },
        StoreError::BadSize { size_bytes } => Refusal::BadSize { size: *size_bytes },
        StoreError::WrongSize { reserved_bytes, found_bytes } => Refusal::WrongSize {
            quoted: *reserved_bytes,
            found: u32::try_from(*found_bytes).unwrap_or(u32::MAX),
        },
        StoreError::WrongHash { found, .. } => Refusal::WrongHash { found: *found },
        error => {
            tracing::error!(%error, source = std::error::Error::source(error), "the store failed");
            Refusal::StorageFailed
        }
    }
}

#[cfg(test)]
mod tests {
    use spillway_store::MemoryStore;

    use super::*;

    /// What one chunk of the tests sets aside.
    const ONE: u64 = reservation_bytes(1_000);

    fn chunk(number: u8) -> Promised {
        (ChunkAddress([number; 32]), 1_000)
    }

    fn peer(number: u8) -> PeerKey {
        PeerKey([number; 32])
    }

    fn ask(
        promises: &mut Promises,
        store: &MemoryStore,
        number: u8,
        from: PeerKey,
        now: u64,
    ) -> Result<(), Refusal> {
        let room = Room { store, disk_free_bytes: u64::MAX };
        promises.promise(room, (chunk(number), from), (UnixTime(now), UnixTime(now + 10)))
    }

    #[test]
    fn a_chunk_is_promised_once_and_until_its_last_quote_ends() {
        let store = MemoryStore::new(100 * ONE);
        let mut promises = Promises::default();
        assert_eq!(ask(&mut promises, &store, 1, peer(1), 0), Ok(()));
        assert_eq!(ask(&mut promises, &store, 1, peer(2), 5), Ok(()));
        assert_eq!(store.capacity().reserved_bytes, ONE);
        // The first quote ended at 10, the second at 15, inclusive.
        assert_eq!(ask(&mut promises, &store, 2, peer(1), 15), Ok(()));
        assert_eq!(store.capacity().reserved_bytes, 2 * ONE);
        assert!(promises.take(chunk(1), UnixTime(16)).is_none());
        assert_eq!((store.capacity().reserved_bytes, promises.held_bytes()), (ONE, ONE));
        let taken = promises.take(chunk(2), UnixTime(16)).unwrap();
        assert_eq!((taken.reservation.address(), promises.held_bytes()), (chunk(2).0, 0));
        assert!(promises.by_peer.is_empty() && promises.by_end.is_empty());
    }

    #[test]
    fn quotes_hold_at_most_half_of_what_is_free_and_one_peer_a_quarter_of_that() {
        let store = MemoryStore::new(80 * ONE);
        let mut promises = Promises::default();
        for number in 0..80 {
            assert_eq!(ask(&mut promises, &store, number, peer(1), 0), Ok(()));
        }
        assert_eq!(store.capacity().reserved_bytes, 10 * ONE);
        for number in 80..240 {
            assert_eq!(ask(&mut promises, &store, number, peer(number), 0), Ok(()));
        }
        assert_eq!(store.capacity().reserved_bytes, 40 * ONE);
        // All of it comes back when the quotes end.
        assert!(promises.take(chunk(0), UnixTime(11)).is_none());
        assert_eq!(store.capacity().reserved_bytes, 0);
    }

    #[test]
    fn what_a_put_did_not_use_is_set_aside_until_its_end() {
        let store = MemoryStore::new(8 * ONE);
        let mut promises = Promises::default();
        assert_eq!(ask(&mut promises, &store, 1, peer(1), 0), Ok(()));
        let taken = promises.take(chunk(1), UnixTime(3)).unwrap();
        // Others' quotes hold all that quotes may, and it comes back all the same.
        for number in 2..10 {
            assert_eq!(ask(&mut promises, &store, number, peer(number), 3), Ok(()));
        }
        assert_eq!(promises.held_bytes(), 4 * ONE);
        promises.give_back(taken, UnixTime(5));
        assert_eq!((promises.held_bytes(), store.capacity().reserved_bytes), (4 * ONE, 5 * ONE));
        // Not twice for one chunk.
        let taken = promises.take(chunk(1), UnixTime(5)).unwrap();
        let other = store.reserve(chunk(1).0, 1_000).unwrap();
        let twin = Taken { reservation: other, ends: UnixTime(11) };
        promises.give_back(taken, UnixTime(5));
        promises.give_back(twin, UnixTime(5));
        assert_eq!((promises.held_bytes(), store.capacity().reserved_bytes), (4 * ONE, 5 * ONE));
        assert_eq!(promises.paid, 1);
        // The later end counts, and after it nothing comes back.
        let taken = promises.take(chunk(1), UnixTime(11)).unwrap();
        assert_eq!(taken.ends, UnixTime(11));
        promises.give_back(taken, UnixTime(12));
        assert!(promises.take(chunk(1), UnixTime(12)).is_none());
        assert_eq!(store.capacity().reserved_bytes, 4 * ONE);
    }

    /// What was paid for is on nobody's account, also when a quote held it before.
    #[test]
    fn a_paid_place_leaves_the_quotes_theirs() {
        let store = MemoryStore::new(80 * ONE);
        let mut promises = Promises::default();
        let reservation = store.reserve(chunk(1).0, 1_000).unwrap();
        assert_eq!(ask(&mut promises, &store, 1, peer(1), 0), Ok(()));
        promises.give_back(Taken { reservation, ends: UnixTime(500) }, UnixTime(5));
        assert_eq!((promises.held_bytes(), promises.by_peer.len(), promises.paid), (0, 0, 1));
        for number in 2..100 {
            assert_eq!(ask(&mut promises, &store, number, peer(1), 5), Ok(()));
        }
        assert_eq!(store.capacity().reserved_bytes, 11 * ONE);
        // It outlasts the quotes, also its own.
        assert!(promises.take(chunk(2), UnixTime(500)).is_none());
        assert_eq!((store.capacity().reserved_bytes, promises.held_bytes()), (ONE, 0));
        assert_eq!(promises.take(chunk(1), UnixTime(500)).unwrap().ends, UnixTime(500));
        assert_eq!((promises.paid, promises.by_chunk.len(), promises.by_end.len()), (0, 0, 0));
    }

    #[test]
    fn without_space_there_is_no_price() {
        let store = MemoryStore::new(ONE);
        let mut promises = Promises::default();
        let held = store.reserve(chunk(9).0, 1_000).unwrap();
        assert_eq!(ask(&mut promises, &store, 1, peer(1), 0), Err(Refusal::Full { free_bytes: 0 }));
        drop(held);
        assert_eq!(ask(&mut promises, &store, 1, peer(1), 0), Ok(()));
    }
}
