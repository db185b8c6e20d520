//! Where a chunk must be: among the nodes that count for it, not anywhere.

use spillway_types::{ChunkAddress, limits::STORE_QUORUM};

use crate::{
    Promise, Violation,
    oracle::Oracle,
    play::Checked,
    world::{World, reward_of},
};

/// What is known of a chunk that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Nodes have signed for it, some of which may have lost it since.
    Signed,
    /// It was found afterwards.
    Found,
}

impl Oracle {
    /// The five nodes that a chunk is asked of, by their place: for each payment of it those that it
    /// pays, and the closest five.
    fn groups(&self, world: &World, address: ChunkAddress) -> Vec<Vec<usize>> {
        let paid = self.ever.iter().filter_map(|payment| self.plan(*payment));
        let leaves = paid.flat_map(|plan| &plan.leaves).filter(|leaf| leaf.address == address);
        let payees = leaves.map(|leaf| {
            let is_paid =
                |index: &usize| leaf.shares.iter().any(|share| share.payee == reward_of(*index));
            (0..world.members.len()).filter(is_paid).collect()
        });
        payees.chain([world.closest(address)]).collect()
    }

    /// I3: the nodes that count have this chunk: of those that it pays, or of the closest, at least
    /// three. Liars that have signed for it are not found out, and count.
    pub(crate) fn check_copies(
        &self,
        world: &World,
        address: ChunkAddress,
        (promise, stored): (Promise, Stored),
    ) -> Checked {
        let counts = |index: &&usize| {
            let node = &world.members[**index];
            let lost = stored == Stored::Signed && node.has_lost(address);
            node.has(address) || node.has_claimed(address) || lost
        };
        let groups = self.groups(world, address);
        let copies = groups.iter().map(|group| group.iter().filter(counts).count());
        let most = copies.max().unwrap_or(0);
        if most >= STORE_QUORUM {
            return Ok(());
        }
        Err(Violation::new(
            promise,
            format!("chunk {address} ({stored:?}) on {STORE_QUORUM} of the five that it is for"),
            format!("it is on {most} of them, and on {} nodes in all", world.holders(address)),
        ))
    }
}
