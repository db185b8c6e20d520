use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::reach::{Reach, ip};

/// Limits the connections that others open from one network: names of peers cost nothing,
/// addresses do. Private networks and this machine itself are not limited: behind one address of
/// those may be a router with everybody behind it.
#[derive(Debug)]
pub(crate) struct Crowds {
    limit: u32,
    /// Connections that are open or being opened.
    connections: HashMap<ConnectionId, Network>,
    /// How many there are of each; never zero.
    counts: HashMap<Network, u32>,
}

/// What one customer gets from a provider: a /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4([u8; 3]),
    V6([u16; 3]),
}

/// Too many connections come from one network.
#[derive(Debug, thiserror::Error)]
#[error("more than {limit} connections from {network:?}")]
pub(crate) struct Crowded {
    network: Network,
    limit: u32,
}

impl Network {
    fn of(address: &Multiaddr) -> Option<Self> {
        if matches!(Reach::of(address), Some(Reach::Machine | Reach::Site)) {
            return None;
        }
        Some(match ip(address)? {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, ..] = ip.segments();
                Self::V6([a, b, c])
            }
        })
    }
}

impl Crowds {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, connections: HashMap::new(), counts: HashMap::new() }
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(network) = self.connections.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }
}

impl NetworkBehaviour for Crowds {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(network) = Network::of(remote) else { return Ok(()) };
        let limit = self.limit;
        if self.counts.get(&network).copied().unwrap_or(0) >= limit {
            return Err(ConnectionDenied::new(Crowded { network, limit }));
        }
        *self.counts.entry(network).or_default() += 1;
        self.connections.insert(connection, network);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            // Also when another behaviour denied it.
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.leave(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use libp2p::{core::ConnectedPoint, swarm::ListenError};
    use spillway_types::PeerSecret;

    use super::*;
    use crate::{Deadlines, NetLimits, Role, behaviour::Behaviour, gate::Gate, identity::keypair};

    /// All behaviours together, and the number of connections that they were asked about.
    struct Swarmed(Behaviour, usize);

    impl Swarmed {
        /// Asks for a connection from this address.
        fn knock(&mut self, from: &str) -> Result<ConnectionId, Network> {
            self.1 += 1;
            let id = ConnectionId::new_unchecked(self.1);
            let local = "/ip4/203.0.113.1/tcp/1".parse().unwrap();
            let from = format!("{from}/tcp/{}", self.1).parse().unwrap();
            match self.0.handle_pending_inbound_connection(id, &local, &from) {
                Ok(()) => Ok(id),
                Err(denied) => Err(denied.downcast::<Crowded>().unwrap().network),
            }
        }
    }

    #[test]
    fn one_network_cannot_fill_all_places() {
        let limits = NetLimits { inbound_connections_per_network: 3, ..NetLimits::default() };
        let gate = Arc::new(Gate::new(limits, Deadlines::default()));
        let keys = keypair(&PeerSecret::from_seed(&[1; 32]));
        let mut swarm = Swarmed(Behaviour::new(&keys, Role::Node, &gate), 0);
        let first = swarm.knock("/ip4/198.51.100.1").unwrap();
        let second = swarm.knock("/ip4/198.51.100.2").unwrap();
        swarm.knock("/ip4/198.51.100.2").unwrap();
        let crowded = Err(Network::V4([198, 51, 100]));
        assert_eq!(swarm.knock("/ip4/198.51.100.3"), crowded);
        assert_eq!(swarm.knock("/ip6/::ffff:198.51.100.3"), crowded);
        swarm.knock("/ip4/198.51.101.1").unwrap();
        for host in 1..=3 {
            swarm.knock(&format!("/ip6/2001:db8:1:{host}::1")).unwrap();
        }
        let crowded_v6 = Err(Network::V6([0x2001, 0xdb8, 1]));
        assert_eq!(swarm.knock("/ip6/2001:db8:1:4::1"), crowded_v6);
        swarm.knock("/ip6/2001:db8:2::1").unwrap();
        for _ in 0..10 {
            swarm.knock("/ip4/127.0.0.1").unwrap();
            swarm.knock("/ip4/10.0.0.1").unwrap();
        }
        // Places come back, of those that never opened and of those that closed.
        let (local_addr, send_back_addr) = (Multiaddr::empty(), Multiaddr::empty());
        swarm.0.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &local_addr,
            send_back_addr: &send_back_addr,
            error: &ListenError::Aborted,
            connection_id: first,
            peer_id: None,
        }));
        swarm.knock("/ip4/198.51.100.3").unwrap();
        assert_eq!(swarm.knock("/ip4/198.51.100.3"), crowded);
        let endpoint = ConnectedPoint::Listener { local_addr, send_back_addr };
        swarm.0.crowds.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: PeerId::random(),
            connection_id: second,
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
        swarm.knock("/ip4/198.51.100.3").unwrap();
    }
}
