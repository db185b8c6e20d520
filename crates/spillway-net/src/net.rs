use std::{fmt, io, sync::Arc};

use futures::StreamExt;
use libp2p::{
    Swarm,
    core::{
        transport::{ListenerId, TransportError},
        upgrade::Version,
    },
    swarm::{self, SwarmEvent},
};
use spillway_types::PeerKey;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Address, Deadlines, NetError, NetOptions, Peers, Role, Serve, Traffic, actor::Actor,
    behaviour::Behaviour, bootstrap::Bootstrap, gate::Gate, identity::keypair,
    limits::COMMAND_QUEUE, net_peers::NetPeers, traffic::TrafficCounter, transport, view::View,
};

/// A running peer. Dropping it ends it at once; [`Net::shutdown`] lets it finish first.
#[must_use = "dropping it ends the network"]
pub struct Net {
    peers: Arc<NetPeers>,
    gate: Arc<Gate>,
    view: View,
    traffic: TrafficCounter,
    deadlines: Deadlines,
    lonely: bool,
    stop: CancellationToken,
    /// The actor.
    actor: JoinSet<()>,
    /// The tasks of the connections.
    connections: TaskTracker,
}

impl Net {
    /// Begins to listen and to look for the bootstrap peers. When it returns, every address of
    /// `listen` accepts connections; [`Net::bootstrapped`] tells when the others are found.
    ///
    /// # Errors
    /// When an address cannot be listened on or no transport is switched on.
    pub async fn start(options: NetOptions) -> Result<Self, NetError> {
        let NetOptions { secret, role, listen, external, bootstrap, transports, .. } = options;
        let (limits, deadlines) = (options.limits, options.deadlines);
        let local = secret.peer();
        let keypair = keypair(&secret);
        let gate = Arc::new(Gate::new(limits.clone(), deadlines.clone()));
        let traffic = TrafficCounter::default();
        let transport = transport::build(&keypair, transports, &deadlines, &traffic)?;
        let connections = TaskTracker::new();
        let behaviour = Behaviour::new(&keypair, role, &gate);
        let spawner = connections.clone();
        // Lazy: a request goes out together with the name of its protocol, not a round trip later.
        let config = swarm::Config::with_executor(move |task| drop(spawner.spawn(task)))
            .with_substream_upgrade_protocol_override(Version::V1Lazy)
            .with_idle_connection_timeout(deadlines.idle);
        let peer_id = keypair.public().to_peer_id();
        let mut swarm = Swarm::new(transport, behaviour, peer_id, config);

        let bootstrap = Bootstrap::new(&bootstrap, peer_id);
        let lonely = bootstrap.is_empty() && role == Role::Client;
        let view = View::new(local, &external, bootstrap.is_empty() && role == Role::Node);
        for address in &external {
            swarm.add_external_address(address.without_peer());
        }
        listen_on(&mut swarm, &listen, &deadlines).await?;
        view.set_listening(swarm.listeners());

        let (commands, received) = mpsc::channel(COMMAND_QUEUE);
        let stop = CancellationToken::new();
        let actor = Actor::new(swarm, Arc::clone(&gate), view.clone(), bootstrap, received);
        let mut tasks = JoinSet::new();
        tasks.spawn(actor.run(stop.clone()));
        let peers = Arc::new(NetPeers::new(local, commands, &limits, deadlines.clone()));
        let actor = tasks;
        Ok(Self { peers, gate, view, traffic, deadlines, lonely, stop, actor, connections })
    }

    /// The way to the other peers.
    pub fn peers(&self) -> Arc<dyn Peers> {
        Arc::clone(&self.peers) as Arc<dyn Peers>
    }

    /// This peer.
    pub fn local(&self) -> PeerKey {
        self.peers.local()
    }

    /// Answers the others from now on with this. Until then they are refused as busy.
    pub fn serve(&self, serve: Arc<dyn Serve>) {
        self.gate.set(Some(serve));
    }

    /// Where others reach this peer, with its name: the external addresses, then those that are
    /// listened on. `0.0.0.0` is spelt out, port 0 is the port that was taken.
    pub fn listen_addresses(&self) -> Vec<Address> {
        self.view.addresses()
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
        if self.lonely {
            return Err(NetError::NoBootstrap);
        }
        let after = self.deadlines.bootstrap;
        let mut bootstrapped = self.view.bootstrapped();
        match timeout(after, bootstrapped.wait_for(|done| *done)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(NetError::Closed),
            Err(_) => Err(NetError::Unreachable { after }),
        }
    }

    /// How many nodes are in the routing table.
    pub fn known_peers(&self) -> usize {
        *self.view.known().borrow()
    }

    /// Waits until that many nodes are in the routing table.
    ///
    /// # Errors
    /// When the network is shut down.
    ///
    /// # Cancel safety
    /// Dropping the call changes nothing.
    pub async fn known_at_least(&self, count: usize) -> Result<(), NetError> {
        let mut known = self.view.known();
        known.wait_for(|known| *known >= count).await.map_err(|_| NetError::Closed)?;
        Ok(())
    }

    /// Bytes moved since the start.
    pub fn traffic(&self) -> Traffic {
        self.traffic.read()
    }

    /// Takes no new requests, lets those under way finish within a deadline, closes all
    /// connections and waits for every task.
    ///
    /// # Panics
    /// When the actor did.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.actor.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        self.connections.close();
        // Its tasks end with the swarm that fed them; one that hangs must not hang the caller.
        if timeout(self.deadlines.drain, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "connections still closing");
        }
    }
}

/// Listens on all addresses and waits until they are.
async fn listen_on(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[Address],
    deadlines: &Deadlines,
) -> Result<(), NetError> {
    for address in addresses {
        let refused = |source| NetError::Listen { address: address.clone(), source };
        // libp2p shares a TCP port with whoever else has it, and each would get half of the
        // connections. Binding it alone first tells whether it is free.
        if let Some(socket) = address.tcp_socket() {
            TcpListener::bind(socket).await.map_err(refused)?;
        }
        let listener = swarm.listen_on(address.without_peer()).map_err(|error| {
            refused(match error {
                TransportError::Other(error) => error,
                TransportError::MultiaddrNotSupported(_) => io::ErrorKind::Unsupported.into(),
            })
        })?;
        let after = deadlines.connect;
        timeout(after, listening(swarm, listener))
            .await
            .map_err(|_| NetError::ListenTimeout { address: address.clone(), after })?
            .map_err(refused)?;
    }
    Ok(())
}

async fn listening(swarm: &mut Swarm<Behaviour>, listener: ListenerId) -> io::Result<()> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == listener => {
                return Ok(());
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == listener => {
                return reason.and(Err(io::ErrorKind::NotConnected.into()));
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("local", &self.peers.local())
            .field("listening", &self.listen_addresses())
            .field("known", &self.known_peers())
            .finish_non_exhaustive()
    }
}
