use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use spillway_types::{PeerKey, Retry};

use crate::identity::{peer_id, peer_key};

/// Where a peer can be reached: a multiaddr such as `/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo…` or
/// `/ip6/::1/udp/4001/quic-v1`. The `/p2p/…` part names the peer and may be missing. Other kinds of
/// multiaddr, names in DNS among them, are not addresses here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(Multiaddr);

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an address of a peer: it looks like /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo… \
     or /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3Koo…"
)]
pub struct ParseAddressError;

impl ParseAddressError {
    /// The same text fails the same way again.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

impl Address {
    /// The peer that the address names, if it names one.
    pub fn peer(&self) -> Option<PeerKey> {
        self.peer_id().as_ref().and_then(peer_key)
    }

    /// The same place, naming this peer.
    #[must_use]
    pub fn with_peer(&self, peer: PeerKey) -> Self {
        let mut address = self.without_peer();
        address.push(Protocol::P2p(peer_id(peer)));
        Self(address)
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    pub(crate) fn peer_id(&self) -> Option<PeerId> {
        self.0.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        })
    }

    pub(crate) fn without_peer(&self) -> Multiaddr {
        self.0.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
    }

    /// The TCP socket that it names.
    pub(crate) fn tcp_socket(&self) -> Option<SocketAddr> {
        let mut parts = self.0.iter();
        let ip = match parts.next()? {
            Protocol::Ip4(ip) => IpAddr::from(ip),
            Protocol::Ip6(ip) => IpAddr::from(ip),
            _ => return None,
        };
        match parts.next()? {
            Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
            _ => None,
        }
    }

    pub(crate) fn from_multiaddr(address: Multiaddr) -> Self {
        Self(address)
    }
}

/// Whether only this machine can reach the address.
fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().next().is_some_and(|part| match part {
        Protocol::Ip4(ip) => IpAddr::from(ip).is_loopback(),
        Protocol::Ip6(ip) => IpAddr::from(ip).is_loopback(),
        _ => false,
    })
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address: Multiaddr = text.parse().map_err(|_| ParseAddressError)?;
        let parsed = Self(address);
        let mut parts = parsed.0.iter();
        let ip = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let socket = match parts.next() {
            Some(Protocol::Tcp(_)) => true,
            Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
            _ => false,
        };
        // A peer that is named must be one that can be spoken to.
        let named = match parts.next() {
            None => true,
            Some(Protocol::P2p(peer)) => peer_key(&peer).is_some() && parts.next().is_none(),
            Some(_) => false,
        };
        if ip && socket && named { Ok(parsed) } else { Err(ParseAddressError) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use spillway_types::PeerSecret;

    use super::*;

    #[test]
    fn an_address_is_read_and_shown_the_same() {
        let peer = PeerSecret::from_seed(&[1; 32]).peer();
        let text = format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}");
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.peer(), Some(peer));
        assert!(address.is_loopback());
    }

    #[test]
    fn a_peer_is_named_once() {
        let (a, b) =
            (PeerSecret::from_seed(&[1; 32]).peer(), PeerSecret::from_seed(&[2; 32]).peer());
        let bare: Address = "/ip4/192.0.2.1/udp/4001/quic-v1".parse().unwrap();
        assert_eq!(bare.peer(), None);
        assert!(!bare.is_loopback());
        assert_eq!(bare.with_peer(a).with_peer(b).peer(), Some(b));
        assert_eq!(bare.with_peer(a).with_peer(b), bare.with_peer(b));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        // The last names a peer by a hash, so by a key that is not Ed25519.
        let hashed = "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        let relayed = format!(
            "/ip4/127.0.0.1/tcp/1/p2p/{0}/p2p-circuit/p2p/{0}",
            PeerSecret::from_seed(&[1; 32]).peer()
        );
        for text in [
            "",
            "/",
            "localhost:4001",
            "/ip4/300.0.0.1/tcp/1",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/dns4/example.org/tcp/1",
            hashed,
            &relayed,
        ] {
            assert_eq!(text.parse::<Address>(), Err(ParseAddressError), "{text}");
        }
    }
}
