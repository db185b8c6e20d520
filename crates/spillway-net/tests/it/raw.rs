use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    identity::Keypair,
    kad::{self, store::MemoryStore},
    noise,
    request_response::{
        self, Behaviour, Codec, Config, Event, Message, OutboundFailure, OutboundRequestId,
        ProtocolSupport,
    },
    swarm::SwarmEvent,
    tcp, yamux,
};
use spillway_net::Address;

pub(crate) const CHUNK: StreamProtocol = StreamProtocol::new("/spillway/chunk/1");

/// What a hostile peer writes on a stream.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) bytes: Vec<u8>,
    /// Then it stays, and says no more.
    pub(crate) stalls: bool,
}

impl Script {
    pub(crate) fn says(bytes: Vec<u8>) -> Self {
        Self { bytes, stalls: false }
    }

    pub(crate) fn stalls(bytes: Vec<u8>) -> Self {
        Self { bytes, stalls: true }
    }

    /// A frame's header with its length before it.
    pub(crate) fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(header.len()).unwrap();
        [&length.to_le_bytes(), header, body].concat()
    }

    async fn perform<T: AsyncWrite + Unpin>(self, io: &mut T) -> io::Result<()> {
        // The other side may have heard enough.
        let _ = io.write_all(&self.bytes).await;
        let _ = io.flush().await;
        if self.stalls { std::future::pending().await } else { Ok(()) }
    }
}

/// A codec that says what it is told to and hears everything.
#[derive(Clone, Default)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Script;
    type Response = Script;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Script>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(Script::says(bytes))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Script>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(Script::says(bytes))
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        script: Script,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        script.perform(io).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        script: Script,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        script.perform(io).await
    }
}

/// A peer that speaks libp2p and beyond that only what a test tells it.
pub(crate) struct RawPeer {
    swarm: Swarm<Behaviour<RawCodec>>,
}

impl RawPeer {
    pub(crate) fn new(protocol: StreamProtocol) -> Self {
        let config = Config::default().with_max_concurrent_streams(1_000);
        let swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_behaviour(|_| Behaviour::new([(protocol, ProtocolSupport::Full)], config))
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(std::time::Duration::from_mins(1))
            })
            .build();
        Self { swarm }
    }

    pub(crate) fn send(&mut self, to: &Address, script: Script) -> OutboundRequestId {
        let address: Multiaddr = to.to_string().parse().unwrap();
        let peer = peer_id(to);
        self.swarm.behaviour_mut().send_request_with_addresses(&peer, script, vec![address])
    }

    /// The next answer to what was sent.
    pub(crate) async fn heard(&mut self) -> (OutboundRequestId, Result<Vec<u8>, OutboundFailure>) {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(Event::Message {
                    message: Message::Response { request_id, response },
                    ..
                }) => return (request_id, Ok(response.bytes)),
                SwarmEvent::Behaviour(Event::OutboundFailure { request_id, error, .. }) => {
                    return (request_id, Err(error));
                }
                _ => {}
            }
        }
    }

    /// Keeps what was sent alive, and does not care what is answered.
    pub(crate) async fn carry_on(&mut self) {
        loop {
            drop(self.heard().await);
        }
    }

    /// Sends one thing and hears the answer.
    pub(crate) async fn ask(
        &mut self,
        to: &Address,
        script: Script,
    ) -> Result<Vec<u8>, OutboundFailure> {
        self.send(to, script);
        self.heard().await.1
    }

    /// Listens, and tells where.
    pub(crate) async fn listen(&mut self, at: &Address) -> Address {
        self.swarm.listen_on(at.to_string().parse().unwrap()).unwrap();
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = self.swarm.select_next_some().await {
                return format!("{address}/p2p/{}", self.swarm.local_peer_id()).parse().unwrap();
            }
        }
    }

    /// Answers every request with this, for ever.
    pub(crate) async fn answer(&mut self, script: Script) {
        loop {
            let event = self.swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = event
            {
                self.swarm.behaviour_mut().send_response(channel, script.clone()).unwrap();
            }
        }
    }
}

pub(crate) fn peer_id(of: &Address) -> PeerId {
    of.peer().unwrap().to_string().parse().unwrap()
}

/// A peer that speaks nothing but Kademlia, and knows one other.
pub(crate) fn raw_kad(known: &Address) -> Swarm<kad::Behaviour<MemoryStore>> {
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|key| {
            let local = key.public().to_peer_id();
            let config = kad::Config::new(StreamProtocol::new("/spillway/kad/1"));
            kad::Behaviour::with_config(local, MemoryStore::new(local), config)
        })
        .unwrap()
        .build();
    swarm.behaviour_mut().set_mode(Some(kad::Mode::Client));
    swarm.behaviour_mut().add_address(&peer_id(known), known.to_string().parse().unwrap());
    swarm
}

/// The last result of the query that was begun.
pub(crate) async fn kad_result(swarm: &mut Swarm<kad::Behaviour<MemoryStore>>) -> kad::QueryResult {
    loop {
        let event = swarm.select_next_some().await;
        if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { result, step, .. }) =
            event
            && step.last
            && !matches!(result, kad::QueryResult::Bootstrap(_))
        {
            return result;
        }
    }
}
