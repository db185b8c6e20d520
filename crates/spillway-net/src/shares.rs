use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use spillway_types::PeerKey;
use tokio::sync::Semaphore;

/// The same number of permits for each peer, whatever connections it has. A peer of which no permit
/// is held, and that nobody refers to, costs nothing.
#[derive(Debug)]
pub(crate) struct Shares {
    permits: usize,
    of: Mutex<HashMap<PeerKey, Weak<Semaphore>>>,
}

impl Shares {
    pub(crate) fn new(permits: usize) -> Self {
        Self { permits: permits.min(Semaphore::MAX_PERMITS), of: Mutex::default() }
    }

    /// The permits of one peer. They are the same ones for as long as any of them is held.
    pub(crate) fn of(&self, peer: PeerKey) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = of.get(&peer).and_then(Weak::upgrade) {
            return share;
        }
        // Only who is connected has a share, so these are few.
        of.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.permits));
        of.insert(peer, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lives_as_long_as_its_permits() {
        let shares = Shares::new(1);
        let (a, b) = (PeerKey([1; 32]), PeerKey([2; 32]));
        let held = shares.of(a).try_acquire_owned().unwrap();
        assert_eq!(shares.of(a).available_permits(), 0);
        assert_eq!(shares.of(b).available_permits(), 1);
        drop(held);
        assert_eq!(shares.of(a).available_permits(), 1);
        assert_eq!(shares.of.lock().unwrap().len(), 1);
    }
}
