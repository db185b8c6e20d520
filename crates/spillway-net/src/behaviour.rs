use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use libp2p::{
    PeerId, StreamProtocol, connection_limits, identify,
    identity::Keypair,
    kad::{
        self,
        store::{MemoryStore, MemoryStoreConfig},
    },
    ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};

use crate::{
    NetLimits, Role,
    codec::{CHUNK_PROTOCOL, ChunkCodec, NextPeer},
    crowds::Crowds,
    gate::Gate,
    limits::{ADDRESS_BOOK, SPARE_STREAMS},
    scoped::Scoped,
};

/// The protocol that peers are found with.
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/spillway/kad/1");

/// What peers tell about themselves when they meet.
const IDENTIFY_VERSION: &str = "/spillway/1";

/// How often a quiet connection is tried, and how long the other side may take. A line that is
/// filled by uploads delays an answer by what is buffered before it, so both are long.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_mins(1);

/// Everything that runs on a connection. Those that may deny one come first: the others remember a
/// connection from the moment that they are asked.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) crowds: Crowds,
    pub(crate) chunk: Scoped,
    identify: identify::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    ping: ping::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(keypair: &Keypair, role: Role, gate: &Arc<Gate>) -> Self {
        let local = keypair.public().to_peer_id();
        let identify = identify::Config::new(IDENTIFY_VERSION.to_owned(), keypair.public())
            .with_agent_version(concat!("spillway/", env!("CARGO_PKG_VERSION")).to_owned())
            .with_cache_size(ADDRESS_BOOK);
        let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);
        Self {
            limits: connection_limits::Behaviour::new(connections(&gate.limits)),
            crowds: Crowds::new(gate.limits.inbound_connections_per_network),
            chunk: chunk(gate),
            identify: identify::Behaviour::new(identify),
            kad: kademlia(local, role, gate.deadlines.search),
            ping: ping::Behaviour::new(ping),
        }
    }
}

fn connections(limits: &NetLimits) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_inbound_connections))
        .with_max_pending_outgoing(Some(limits.outbound_connections))
        .with_max_established_incoming(Some(limits.inbound_connections))
        .with_max_established_outgoing(Some(limits.outbound_connections))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
}

fn chunk(gate: &Arc<Gate>) -> Scoped {
    // The codec holds the deadlines of each kind; this one is behind them all.
    let deadline = gate.deadlines.longest() + gate.deadlines.answer;
    let config = request_response::Config::default()
        .with_request_timeout(deadline)
        .with_max_concurrent_streams(gate.limits.requests_per_connection + SPARE_STREAMS);
    let next = NextPeer::default();
    let codec = ChunkCodec::new(Arc::clone(gate), next.clone());
    let protocols = [(CHUNK_PROTOCOL, ProtocolSupport::Full)];
    Scoped::new(request_response::Behaviour::with_codec(codec, protocols, config), next)
}

/// Kademlia, which finds peers and stores nothing: what others want stored goes to an event that
/// nobody handles, and the store has no room.
fn kademlia(local: PeerId, role: Role, search: Duration) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_query_timeout(search)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled);
    let nothing = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let store = MemoryStore::with_config(local, nothing);
    let mut kad = kad::Behaviour::with_config(local, store, config);
    kad.set_mode(Some(match role {
        Role::Client => kad::Mode::Client,
        Role::Node => kad::Mode::Server,
    }));
    kad
}

/// How many peers a search asks for.
pub(crate) fn results(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count.min(crate::limits::MAX_SEARCH_RESULTS)).unwrap_or(NonZeroUsize::MIN)
}
