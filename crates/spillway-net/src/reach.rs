use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// From how far away an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Only from this machine.
    Machine,
    /// From the same private network.
    Site,
    /// From everywhere.
    World,
}

impl Reach {
    /// `None` for what is not one peer's address: unspecified, multicast and reserved addresses,
    /// and IPv4 in the guise of IPv6, behind which each of them can hide.
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => of_v4(ip),
            Protocol::Ip6(ip) => of_v6(ip),
            _ => None,
        }
    }

    /// Whether an address that a peer tells is one to dial, when the peer itself is connected over
    /// an address of this reach. Another network's private address would be a stranger in ours.
    pub(crate) fn believes(self, told: &Multiaddr) -> bool {
        Self::of(told).is_some_and(|told| told >= self)
    }
}

/// The address of a multiaddr that begins with one.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    }
}

fn of_v4(ip: Ipv4Addr) -> Option<Reach> {
    let [first, second, ..] = ip.octets();
    // 0.0.0.0/8 is "this network", 224.0.0.0/4 multicast, 240.0.0.0/4 reserved (RFC 6890).
    if first == 0 || first >= 224 {
        return None;
    }
    // 100.64.0.0/10 is shared by the customers of one provider (RFC 6598).
    let shared = first == 100 && second & 0xc0 == 64;
    Some(if ip.is_loopback() {
        Reach::Machine
    } else if ip.is_private() || ip.is_link_local() || shared {
        Reach::Site
    } else {
        Reach::World
    })
}

fn of_v6(ip: Ipv6Addr) -> Option<Reach> {
    if ip.is_loopback() {
        return Some(Reach::Machine);
    }
    // ::/96 holds the unspecified address and an outdated guise of IPv4.
    if ip.is_multicast() || ip.to_ipv4().is_some() {
        return None;
    }
    let site = ip.is_unique_local() || ip.is_unicast_link_local();
    Some(if site { Reach::Site } else { Reach::World })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_believed_as_far_as_it_reaches() {
        let world = ["/ip4/198.51.100.1/tcp/1", "/ip6/2001:db8::1/tcp/1"];
        let site = [
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/192.168.1.1/udp/1/quic-v1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
        ];
        let machine = ["/ip4/127.0.0.1/tcp/1", "/ip4/127.1.2.3/tcp/1", "/ip6/::1/tcp/1"];
        let never = [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/0.1.2.3/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip6/::/tcp/1",
            "/ip6/ff02::1/tcp/1",
            "/ip6/::ffff:127.0.0.1/tcp/1",
            "/ip6/::ffff:198.51.100.1/tcp/1",
            "/ip6/::7f00:1/tcp/1",
            "/dns4/example.org/tcp/1",
        ];
        let told = [&world[..], &site, &machine, &never];
        let over = [(Reach::World, 1), (Reach::Site, 2), (Reach::Machine, 3)];
        for (reach, believed) in over {
            for (index, addresses) in told.iter().enumerate() {
                for address in *addresses {
                    let address = address.parse().unwrap();
                    assert_eq!(reach.believes(&address), index < believed, "{reach:?} {address}");
                }
            }
        }
    }
}
