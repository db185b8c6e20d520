use std::sync::Arc;

use spillway_types::PeerKey;

use crate::{Address, NetError, NetOptions, Peers, Serve, Traffic};

/// A running peer. Dropping it ends it at once; [`Net::shutdown`] lets it finish first.
#[must_use = "dropping it ends the network"]
#[derive(Debug)]
pub struct Net {}

impl Net {
    /// Begins to listen and to look for the bootstrap peers. When it returns, every address of
    /// `listen` accepts connections; [`Net::bootstrapped`] tells when the others are found.
    ///
    /// # Errors
    /// When an address cannot be listened on or no transport is switched on.
    pub async fn start(options: NetOptions) -> Result<Self, NetError> {
        unimplemented!()
    }

    /// The way to the other peers.
    pub fn peers(&self) -> Arc<dyn Peers> {
        unimplemented!()
    }

    /// This peer.
    pub fn local(&self) -> PeerKey {
        unimplemented!()
    }

    /// Answers the others from now on with this. Until then they are refused as busy.
    pub fn serve(&self, serve: Arc<dyn Serve>) {
        unimplemented!()
    }

    /// Where others reach this peer, with its name: the external addresses, then those that are
    /// listened on. `0.0.0.0` is spelt out, port 0 is the port that was taken.
    pub fn listen_addresses(&self) -> Vec<Address> {
        unimplemented!()
    }

    /// Waits until the network is found: the routing table holds peers and this peer's own
    /// neighbourhood was searched. The first node of a network is there at once.
    ///
    /// # Errors
    /// When nobody at the bootstrap addresses answers in time. A later call waits again.
    ///
    /// # Cancel safety
    /// Dropping the call changes nothing.
    pub async fn bootstrapped(&self) -> Result<(), NetError> {
        unimplemented!()
    }

    /// How many nodes are in the routing table.
    pub fn known_peers(&self) -> usize {
        unimplemented!()
    }

    /// Waits until that many nodes are in the routing table.
    ///
    /// # Errors
    /// When the network is shut down.
    ///
    /// # Cancel safety
    /// Dropping the call changes nothing.
    pub async fn known_at_least(&self, count: usize) -> Result<(), NetError> {
        unimplemented!()
    }

    /// Bytes moved since the start.
    pub fn traffic(&self) -> Traffic {
        unimplemented!()
    }

    /// Takes no new requests, lets those under way finish within a deadline, closes all
    /// connections and waits for every task.
    pub async fn shutdown(self) {
        unimplemented!()
    }
}
