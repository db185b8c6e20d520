use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId, Swarm,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

use crate::{Address, behaviour::Behaviour};

/// Finds the network: dials the bootstrap addresses for as long as nobody is known, and begins the
/// search for the own neighbourhood when the first node is.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    named: BTreeMap<PeerId, Vec<Multiaddr>>,
    unnamed: Vec<Multiaddr>,
    /// Nodes are known.
    met: bool,
}

impl Bootstrap {
    pub(crate) fn new(addresses: &[Address], local: PeerId) -> Self {
        let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut unnamed = Vec::new();
        for address in addresses {
            match address.peer_id() {
                // Its own address in everybody's list is no mistake.
                Some(peer) if peer == local => {}
                Some(peer) => named.entry(peer).or_default().push(address.without_peer()),
                None => unnamed.push(address.without_peer()),
            }
        }
        Self { named, unnamed, met: false }
    }

    /// Whether there is nobody to dial.
    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.unnamed.is_empty()
    }

    /// Dials those who were not met, unless nodes are known.
    pub(crate) fn dial(&self, swarm: &mut Swarm<Behaviour>) {
        if self.met {
            return;
        }
        let named = self.named.iter().map(|(peer, addresses)| {
            DialOpts::peer_id(*peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses.clone())
                .build()
        });
        let unnamed = self.unnamed.iter().cloned().map(DialOpts::from);
        for options in named.chain(unnamed) {
            if let Err(error) = swarm.dial(options) {
                tracing::debug!(%error, "bootstrap peer not dialled");
            }
        }
    }

    /// Takes note of how many nodes are known. When they were none before, the neighbourhood is
    /// searched; when they are none again, the bootstrap addresses are dialled again.
    pub(crate) fn met(&mut self, swarm: &mut Swarm<Behaviour>, known: usize) {
        let first = known > 0 && !self.met;
        self.met = known > 0;
        if first && let Err(error) = swarm.behaviour_mut().kad.bootstrap() {
            tracing::debug!(%error, "neighbourhood not searched");
        }
    }
}
