use std::task::{Context, Poll};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    request_response,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};

use crate::{
    codec::{ChunkCodec, NextPeer},
    identity::peer_key,
};

/// Request-response, whose codec knows its peer: right before a connection's handler is made, and
/// with it the codec's clone, the peer is named to the codec. Connections of peers that are not
/// named by an Ed25519 key are denied here.
pub(crate) struct Scoped {
    inner: request_response::Behaviour<ChunkCodec>,
    next: NextPeer,
}

/// A peer that is not named by an Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error("peer {0} is not named by an Ed25519 key")]
pub(crate) struct ForeignKey(PeerId);

impl Scoped {
    /// `next` must be the one that the codec of `inner` takes its peer from.
    pub(crate) fn new(inner: request_response::Behaviour<ChunkCodec>, next: NextPeer) -> Self {
        Self { inner, next }
    }

    pub(crate) fn inner(&mut self) -> &mut request_response::Behaviour<ChunkCodec> {
        &mut self.inner
    }

    fn name(&self, peer: PeerId) -> Result<(), ConnectionDenied> {
        let key = peer_key(&peer).ok_or_else(|| ConnectionDenied::new(ForeignKey(peer)))?;
        self.next.set(key);
        Ok(())
    }
}

impl NetworkBehaviour for Scoped {
    type ConnectionHandler =
        <request_response::Behaviour<ChunkCodec> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <request_response::Behaviour<ChunkCodec> as NetworkBehaviour>::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.name(peer)?;
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.name(peer)?;
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use libp2p::request_response::{Config, ProtocolSupport};

    use super::*;
    use crate::{Deadlines, NetLimits, codec::CHUNK_PROTOCOL, gate::Gate};

    #[test]
    fn only_ed25519_peers_are_let_in() {
        let next = NextPeer::default();
        let gate = Arc::new(Gate::new(NetLimits::default(), Deadlines::default()));
        let mut scoped = Scoped::new(
            request_response::Behaviour::with_codec(
                ChunkCodec::new(gate, next.clone()),
                [(CHUNK_PROTOCOL, ProtocolSupport::Full)],
                Config::default(),
            ),
            next,
        );
        // The hash of a key, as peers with RSA keys are named.
        let foreign: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let connection = ConnectionId::new_unchecked(1);
        let inbound = scoped
            .handle_established_inbound_connection(connection, foreign, &address, &address)
            .err()
            .unwrap();
        assert_eq!(inbound.downcast::<ForeignKey>().unwrap().0, foreign);
        let outbound = scoped
            .handle_established_outbound_connection(
                connection,
                foreign,
                &address,
                Endpoint::Dialer,
                PortUse::New,
            )
            .err()
            .unwrap();
        assert_eq!(outbound.downcast::<ForeignKey>().unwrap().0, foreign);
    }
}
