use std::sync::{Arc, PoisonError, RwLock};

use libp2p::Multiaddr;
use spillway_types::PeerKey;
use tokio::sync::watch;

use crate::Address;

/// What the actor lets others see of its state.
#[derive(Clone, Debug)]
pub(crate) struct View {
    local: PeerKey,
    external: Arc<Vec<Address>>,
    listening: Arc<RwLock<Vec<Address>>>,
    known: watch::Sender<usize>,
    bootstrapped: watch::Sender<bool>,
}

impl View {
    pub(crate) fn new(local: PeerKey, external: &[Address], bootstrapped: bool) -> Self {
        Self {
            local,
            external: Arc::new(external.iter().map(|a| a.with_peer(local)).collect()),
            listening: Arc::default(),
            known: watch::Sender::new(0),
            bootstrapped: watch::Sender::new(bootstrapped),
        }
    }

    pub(crate) fn set_listening<'a>(&self, addresses: impl Iterator<Item = &'a Multiaddr>) {
        let addresses = addresses
            .map(|address| Address::from_multiaddr(address.clone()).with_peer(self.local))
            .collect();
        *self.listening.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        let listening = self.listening.read().unwrap_or_else(PoisonError::into_inner);
        self.external.iter().chain(listening.iter()).cloned().collect()
    }

    pub(crate) fn set_known(&self, known: usize) {
        self.known.send_if_modified(|before| std::mem::replace(before, known) != known);
    }

    pub(crate) fn known(&self) -> watch::Receiver<usize> {
        self.known.subscribe()
    }

    /// Once true it stays.
    pub(crate) fn set_bootstrapped(&self, found: bool) {
        self.bootstrapped.send_if_modified(|before| found && !std::mem::replace(before, found));
    }

    pub(crate) fn bootstrapped(&self) -> watch::Receiver<bool> {
        self.bootstrapped.subscribe()
    }
}
