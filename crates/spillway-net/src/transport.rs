use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture, io::BufReader};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        Transport,
        muxing::StreamMuxerBox,
        transport::{
            Boxed, DialOpts, ListenerId, OptionalTransport, PortUse, TransportError,
            TransportEvent, timeout::TransportTimeout,
        },
        upgrade::Version,
    },
    identity::Keypair,
    noise, quic, tcp, yamux,
};

use crate::{
    Deadlines, NetError, Transports,
    counted::CountedMuxer,
    limits::{
        MAX_STREAMS, QUIC_CONNECTION_WINDOW, QUIC_DELAY, QUIC_STREAM_WINDOW, TCP_BUFFER_BYTES,
    },
    reach::Reach,
    traffic::TrafficCounter,
};

/// What connections run over: TCP with Noise and Yamux, and QUIC, each if it is switched on.
pub(crate) fn build(
    keypair: &Keypair,
    transports: Transports,
    deadlines: &Deadlines,
    counter: &TrafficCounter,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    if !transports.tcp && !transports.quic {
        return Err(NetError::NoTransport);
    }
    let tcp = optional(transports.tcp.then(|| tcp_transport(keypair, counter)).transpose()?);
    let quic = optional(transports.quic.then(|| quic_transport(keypair, deadlines, counter)));
    // Where both are on, TCP gets a head start.
    let delay = if transports.tcp { QUIC_DELAY } else { Duration::ZERO };
    let tcp = Dialling { inner: tcp, delay: Duration::ZERO, port: Some(PortUse::New) };
    let quic = Dialling { inner: quic, delay, port: None };
    let both = tcp.or_transport(quic).map(|either, _| either.into_inner());
    Ok(TransportTimeout::new(both, deadlines.connect).boxed())
}

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn optional(transport: Option<Connections>) -> OptionalTransport<Connections> {
    transport.map_or_else(OptionalTransport::none, OptionalTransport::some)
}

fn tcp_transport(keypair: &Keypair, counter: &TrafficCounter) -> Result<Connections, NetError> {
    let noise = noise::Config::new(keypair)
        .map_err(|error| NetError::Handshake(io::Error::other(error)))?;
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MAX_STREAMS);
    let counter = counter.clone();
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        // Noise reads 8 KiB at a time: a call to the system for each would be half of the calls.
        .map(|stream, _| BufReader::with_capacity(TCP_BUFFER_BYTES, stream))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer)
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(CountedMuxer::new(muxer, counter))))
        .boxed())
}

fn quic_transport(
    keypair: &Keypair,
    deadlines: &Deadlines,
    counter: &TrafficCounter,
) -> Connections {
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = deadlines.connect;
    config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    let counter = counter.clone();
    quic::tokio::Transport::new(config)
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(CountedMuxer::new(muxer, counter))))
        .boxed()
}

/// A transport that dials in its own way.
struct Dialling<T> {
    inner: T,
    /// How long a dial waits before it begins. Of addresses that are dialled at once the first
    /// that connects is taken.
    delay: Duration,
    /// Overrides the port that is dialled from. TCP dials from a new port: from the listening port
    /// two peers that dial each other at the same moment open one connection that has two dialling
    /// ends, and the handshake fails.
    port: Option<PortUse>,
}

impl<T> Transport for Dialling<T>
where
    T: Transport + Unpin,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = BoxFuture<'static, Result<T::Output, T::Error>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        mut options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        // Kademlia dials what others tell during a search, whatever it is.
        if Reach::of(&address).is_none() {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        if let Some(port) = self.port {
            options.port_use = port;
        }
        let dial = self.inner.dial(address, options)?;
        let delay = self.delay;
        Ok(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            dial.await
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use spillway_types::PeerSecret;

    use super::*;
    use crate::identity;

    #[tokio::test]
    async fn what_is_nobodys_address_is_not_dialled() {
        let keys = identity::keypair(&PeerSecret::from_seed(&[1; 32]));
        let counter = TrafficCounter::default();
        let both = Transports::default();
        let mut transport = build(&keys, both, &Deadlines::default(), &counter).unwrap();
        let mut dials = |address: &str| {
            let address: Multiaddr = address.parse().unwrap();
            let (role, port_use) = (libp2p::core::Endpoint::Dialer, PortUse::New);
            match transport.dial(address.clone(), DialOpts { role, port_use }) {
                Ok(_) => true,
                Err(TransportError::MultiaddrNotSupported(refused)) => {
                    assert_eq!(refused, address);
                    false
                }
                Err(TransportError::Other(error)) => panic!("{error}"),
            }
        };
        for address in ["/ip6/::ffff:127.0.0.1/tcp/1", "/ip4/224.0.0.1/udp/1/quic-v1"] {
            assert!(!dials(address), "{address}");
        }
        for address in ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"] {
            assert!(dials(address), "{address}");
        }
    }
}
