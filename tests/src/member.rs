use std::sync::Arc;

use spillway_store::ChunkStore;
use spillway_types::{PeerKey, PeerSecret, RewardAddress};

use crate::{Playbook, Tricks};

/// One node of a cluster.
#[derive(Debug)]
pub struct Member {
    /// Its key.
    pub secret: PeerSecret,
    /// Where it wants to be paid.
    pub reward: RewardAddress,
    /// What it has stored.
    pub store: Arc<dyn ChunkStore>,
    pub(crate) index: usize,
    pub(crate) book: Playbook,
}

impl Member {
    /// The node.
    pub fn peer(&self) -> PeerKey {
        self.secret.peer()
    }

    /// From now on it does these tricks, and no others.
    pub fn play(&self, tricks: Tricks) {
        self.book.play(self.index, tricks);
    }

    /// From now on it is honest.
    pub fn behave(&self) {
        self.play(Tricks::default());
    }
}
