use std::sync::Arc;

use spillway_net::{Address, MemoryNetwork, Net, NetOptions, Peers, Transports};
use spillway_types::PeerKey;

use crate::fixture::{Manner, TestNode, secret};

/// What connects the peers of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Quic,
    Tcp,
    Memory,
}

impl Medium {
    pub(crate) fn transports(self) -> Transports {
        Transports { quic: self != Self::Tcp, tcp: self != Self::Quic }
    }

    pub(crate) fn listen(self) -> Address {
        match self {
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
            Self::Tcp | Self::Memory => "/ip4/127.0.0.1/tcp/0",
        }
        .parse()
        .unwrap()
    }
}

/// A client and nodes that know each other.
pub(crate) struct Stage {
    pub(crate) client: Arc<dyn Peers>,
    pub(crate) nodes: Vec<Actor>,
    nets: Vec<Net>,
}

/// One of the nodes.
pub(crate) struct Actor {
    pub(crate) key: PeerKey,
    pub(crate) node: Arc<TestNode>,
    pub(crate) peers: Arc<dyn Peers>,
}

impl Stage {
    /// As many nodes as there are manners.
    pub(crate) async fn new(medium: Medium, manners: &[Manner]) -> Self {
        match medium {
            Medium::Memory => Self::in_memory(manners),
            Medium::Quic | Medium::Tcp => Self::real(medium, manners).await,
        }
    }

    /// Willing nodes.
    pub(crate) async fn willing(medium: Medium, count: usize) -> Self {
        Self::new(medium, &vec![Manner::Willing; count]).await
    }

    /// One node of this manner.
    pub(crate) async fn one(medium: Medium, manner: Manner) -> Self {
        Self::new(medium, &[manner]).await
    }

    fn in_memory(manners: &[Manner]) -> Self {
        let network = MemoryNetwork::new();
        let nodes = actors(manners, |key, node| network.join(key, Some(Arc::clone(node) as _)));
        Self { client: network.join(secret(200), None), nodes, nets: Vec::new() }
    }

    async fn real(medium: Medium, manners: &[Manner]) -> Self {
        let mut nets: Vec<Net> = Vec::new();
        for index in 0..manners.len() {
            let key = secret(u8::try_from(index + 1).unwrap());
            let known = nets.first().map(Net::listen_addresses).unwrap_or_default();
            let mut options = NetOptions::node(key, vec![medium.listen()], known);
            options.transports = medium.transports();
            let net = Net::start(options).await.unwrap();
            net.bootstrapped().await.unwrap();
            nets.push(net);
        }
        for net in &nets {
            net.known_at_least(manners.len() - 1).await.unwrap();
        }
        let mut options = NetOptions::client(secret(200), nets[0].listen_addresses());
        options.transports = medium.transports();
        let client = Net::start(options).await.unwrap();
        client.bootstrapped().await.unwrap();
        let mut index = 0;
        let nodes = actors(manners, |_, node| {
            let net = &nets[index];
            net.serve(Arc::clone(node) as _);
            index += 1;
            net.peers()
        });
        let peers = client.peers();
        nets.push(client);
        Self { client: peers, nodes, nets }
    }

    pub(crate) fn node(&self) -> &Actor {
        &self.nodes[0]
    }

    pub(crate) async fn end(self) {
        for net in self.nets {
            net.shutdown().await;
        }
    }
}

fn actors(
    manners: &[Manner],
    mut join: impl FnMut(spillway_types::PeerSecret, &Arc<TestNode>) -> Arc<dyn Peers>,
) -> Vec<Actor> {
    manners
        .iter()
        .enumerate()
        .map(|(index, manner)| {
            let key = secret(u8::try_from(index + 1).unwrap());
            let node = TestNode::new(key.clone(), manner.clone());
            let peers = join(key.clone(), &node);
            Actor { key: key.peer(), node, peers }
        })
        .collect()
}
