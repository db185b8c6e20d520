use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use spillway_types::{PeerKey, Refusal};

use crate::limits::BUSY_RETRY;

/// How much may be under way at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotLimits {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
    pub(crate) per_peer: usize,
    pub(crate) bytes_per_peer: u64,
}

/// What is under way, for all peers and for each.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: SlotLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    bytes: u64,
    /// Only peers that hold one, so at most as many as there are slots.
    by_peer: BTreeMap<PeerKey, OfPeer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfPeer {
    count: usize,
    bytes: u64,
}

/// A place for one thing under way; free again when dropped.
#[must_use = "dropping a slot frees it"]
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    peer: PeerKey,
    bytes: u64,
}

impl Slots {
    pub(crate) fn new(limits: SlotLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// Takes a place for this many bytes.
    pub(crate) fn take(self: &Arc<Self>, peer: PeerKey, bytes: u64) -> Result<Slot, Refusal> {
        let limits = self.limits;
        let mut taken = self.taken();
        let of_peer = taken.by_peer.get(&peer).copied().unwrap_or_default();
        let all = (taken.count, taken.bytes.saturating_add(bytes));
        let own = (of_peer.count, of_peer.bytes.saturating_add(bytes));
        if all.0 >= limits.count
            || all.1 > limits.bytes
            || own.0 >= limits.per_peer
            || own.1 > limits.bytes_per_peer
        {
            return Err(busy());
        }
        taken.count += 1;
        taken.bytes = all.1;
        taken.by_peer.insert(peer, OfPeer { count: own.0 + 1, bytes: own.1 });
        Ok(Slot { slots: Arc::clone(self), peer, bytes })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.count -= 1;
        taken.bytes -= self.bytes;
        if let Some(of_peer) = taken.by_peer.get_mut(&self.peer) {
            of_peer.count -= 1;
            of_peer.bytes -= self.bytes;
            if of_peer.count == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

/// At a limit that clears in moments.
pub(crate) fn busy() -> Refusal {
    busy_for(BUSY_RETRY)
}

/// At a limit that clears after this long.
pub(crate) fn busy_for(wait: std::time::Duration) -> Refusal {
    Refusal::Busy { after_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Arc<Slots> {
        Slots::new(SlotLimits { count: 3, bytes: 100, per_peer: 2, bytes_per_peer: 80 })
    }

    #[test]
    fn each_limit_holds_and_clears() {
        let (slots, a, b) = (slots(), PeerKey([1; 32]), PeerKey([2; 32]));
        let first = slots.take(a, 40).unwrap();
        let second = slots.take(a, 40).unwrap();
        // One peer's share, then the bytes, then the count.
        assert_eq!(slots.take(a, 1).unwrap_err(), busy());
        assert_eq!(slots.take(b, 21).unwrap_err(), busy());
        let third = slots.take(b, 20).unwrap();
        assert_eq!(slots.take(b, 0).unwrap_err(), busy());
        drop(first);
        let fourth = slots.take(b, 40).unwrap();
        drop((second, third, fourth));
        let taken = slots.taken();
        assert_eq!((taken.count, taken.bytes, taken.by_peer.len()), (0, 0, 0));
    }

    #[test]
    fn one_peer_never_holds_all_the_bytes() {
        let (slots, a, b) = (slots(), PeerKey([1; 32]), PeerKey([2; 32]));
        assert_eq!(slots.take(a, 81).unwrap_err(), busy());
        let first = slots.take(a, 50).unwrap();
        assert_eq!(slots.take(a, 31).unwrap_err(), busy());
        let second = slots.take(a, 30).unwrap();
        let other = slots.take(b, 20).unwrap();
        drop(first);
        let third = slots.take(a, 50).unwrap();
        drop((second, third, other));
        assert_eq!(slots.taken().by_peer.len(), 0);
    }
}
