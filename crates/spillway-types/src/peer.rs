use std::{fmt, str::FromStr};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ChunkAddress;

/// The bytes before the key in a PeerId: an identity multihash (code 0x00, 36 bytes) of the
/// protobuf form of an Ed25519 public key (field 1: type 1; field 2: 32 bytes).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Length of a PeerId of an Ed25519 key, in bytes.
const PEER_ID_BYTES: usize = PEER_ID_PREFIX.len() + 32;

/// A peer: its Ed25519 public key. A PeerId of libp2p holds exactly this key, so the two are the
/// same thing in two spellings; other kinds of key are refused where peers enter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerKey(pub [u8; 32]);

/// A text that is not the PeerId of an Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the peer id of an Ed25519 key")]
pub struct ParsePeerError;

/// A signature that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this peer over these bytes")]
pub struct SignatureError;

impl PeerKey {
    /// The bytes of the peer's PeerId.
    pub fn peer_id_bytes(&self) -> [u8; PEER_ID_BYTES] {
        let mut bytes = [0; PEER_ID_BYTES];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The peer of these PeerId bytes.
    ///
    /// # Errors
    /// When they do not hold an Ed25519 key.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Result<Self, ParsePeerError> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX).ok_or(ParsePeerError)?;
        key.try_into().map(Self).map_err(|_| ParsePeerError)
    }

    /// Checks a signature of this peer over `message`, strictly: no weak keys, one valid form.
    ///
    /// # Errors
    /// When the key is not a key or the signature does not hold.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| SignatureError)
    }

    /// How far this peer is from a chunk: the XOR distance of the SHA-256 of its PeerId and the
    /// SHA-256 of the address, which is the key space of libp2p's Kademlia.
    pub fn distance(&self, address: &ChunkAddress) -> Distance {
        let peer = Sha256::digest(self.peer_id_bytes());
        let chunk = Sha256::digest(address.as_bytes());
        let mut distance = [0; 32];
        for (byte, (a, b)) in distance.iter_mut().zip(peer.iter().zip(chunk.iter())) {
            *byte = a ^ b;
        }
        Distance(distance)
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({self})")
    }
}

impl FromStr for PeerKey {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = bs58::decode(text).into_vec().map_err(|_| ParsePeerError)?;
        Self::from_peer_id_bytes(&bytes)
    }
}

/// An XOR distance. Smaller is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance(pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

// serde derives arrays up to 32 only; two halves have the same 64 raw bytes on the wire.
impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (a, b) = self.0.split_at(32);
        let a: [u8; 32] = a.try_into().expect("invariant: half of 64 bytes");
        let b: [u8; 32] = b.try_into().expect("invariant: half of 64 bytes");
        (a, b).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, b) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&a);
        bytes[32..].copy_from_slice(&b);
        Ok(Self(bytes))
    }
}

/// A peer's secret key. It is wiped when dropped and never shown.
#[derive(Clone)]
pub struct PeerSecret(SigningKey);

impl PeerSecret {
    /// A fresh key from the system's randomness.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of this 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept in a file that only its owner can read.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The peer that this key is of.
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerSecret(of {})", self.peer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> PeerSecret {
        PeerSecret::from_seed(&[byte; 32])
    }

    #[test]
    fn a_peer_id_round_trips() {
        let peer = secret(1).peer();
        assert!(peer.to_string().starts_with("12D3KooW"), "{peer}");
        assert_eq!(peer.to_string().parse(), Ok(peer));
        assert_eq!(PeerKey::from_peer_id_bytes(&peer.peer_id_bytes()), Ok(peer));
        assert_eq!(PeerKey::from_peer_id_bytes(&peer.0), Err(ParsePeerError));
    }

    #[test]
    fn only_the_signed_bytes_verify() {
        let signature = secret(1).sign(b"message");
        assert_eq!(secret(1).peer().verify(b"message", &signature), Ok(()));
        assert_eq!(secret(1).peer().verify(b"massage", &signature), Err(SignatureError));
        assert_eq!(secret(2).peer().verify(b"message", &signature), Err(SignatureError));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", secret(0x41));
        assert!(!shown.contains("4141"), "{shown}");
    }
}
