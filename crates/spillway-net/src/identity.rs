//! The two spellings of a peer: ours and libp2p's.

use libp2p::{PeerId, identity::Keypair};
use spillway_types::{PeerKey, PeerSecret};

/// The peer of a PeerId; `None` when its key is not Ed25519.
pub(crate) fn peer_key(peer: &PeerId) -> Option<PeerKey> {
    PeerKey::from_peer_id_bytes(&peer.to_bytes()).ok()
}

/// The PeerId of a peer.
pub(crate) fn peer_id(peer: PeerKey) -> PeerId {
    PeerId::from_bytes(&peer.peer_id_bytes())
        .expect("invariant: six fixed bytes and a key are a PeerId")
}

/// The libp2p form of a secret key.
pub(crate) fn keypair(secret: &PeerSecret) -> Keypair {
    Keypair::ed25519_from_bytes(*secret.seed())
        .expect("invariant: every 32 bytes are the seed of an Ed25519 key")
}

#[cfg(test)]
mod tests {
    use libp2p::kad::KBucketKey;
    use spillway_types::ChunkAddress;

    use super::*;

    fn secrets() -> impl Iterator<Item = PeerSecret> {
        (0..32).map(|byte| PeerSecret::from_seed(&[byte; 32]))
    }

    #[test]
    fn a_peer_key_is_the_peer_id_of_the_same_secret() {
        for secret in secrets() {
            let theirs = keypair(&secret).public().to_peer_id();
            assert_eq!(peer_id(secret.peer()), theirs);
            assert_eq!(peer_key(&theirs), Some(secret.peer()));
            assert_eq!(secret.peer().to_string(), theirs.to_string());
        }
    }

    #[test]
    fn a_peer_without_an_ed25519_key_has_no_peer_key() {
        assert_eq!(peer_key(&PeerId::random()), None);
    }

    #[test]
    fn our_distance_is_kademlias() {
        for secret in secrets() {
            for byte in 0..32 {
                let address = ChunkAddress([byte; 32]);
                let theirs = KBucketKey::from(peer_id(secret.peer()))
                    .distance(&KBucketKey::new(address.as_bytes().to_vec()));
                assert_eq!(secret.peer().distance(&address).0, theirs.0.to_big_endian());
            }
        }
    }
}
