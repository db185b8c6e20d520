use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A text that is not the hexadecimal form of the value that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found:?}")]
pub struct ParseHexError {
    /// How many digits were expected.
    pub expected: usize,
    /// The text, cut to at most 80 characters.
    pub found: String,
}

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| ParseHexError { expected: 2 * N, found: text.chars().take(80).collect() })?;
    Ok(bytes)
}

/// Defines a newtype of `$len` bytes: hexadecimal in text, raw in binary formats.
macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = $crate::ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::hashes::parse_hex(text).map(Self)
            }
        }
    };
}
pub(crate) use bytes_newtype;

bytes_newtype! {
    /// Where a chunk lives: the BLAKE3 hash of its sealed bytes.
    ChunkAddress, 32, ""
}
bytes_newtype! {
    /// The BLAKE3 hash of a plaintext segment. Secret: it is part of the segment's key.
    SegmentHash, 32, ""
}
bytes_newtype! {
    /// The vault's id of one payment: the hash of the chain, the vault, the payer and all terms.
    PaymentId, 32, "0x"
}
bytes_newtype! {
    /// The hash of a leaf: a chunk address and its shares, as the vault computes it.
    LeafHash, 32, "0x"
}
bytes_newtype! {
    /// The hash of a transaction.
    TxHash, 32, "0x"
}
bytes_newtype! {
    /// A random number of the client's that makes a receipt fresh.
    Nonce, 16, ""
}

impl ChunkAddress {
    /// The address of these sealed bytes.
    pub fn of(chunk: &[u8]) -> Self {
        Self(*blake3::hash(chunk).as_bytes())
    }
}

impl SegmentHash {
    /// The hash of this plaintext.
    pub fn of(segment: &[u8]) -> Self {
        Self(*blake3::hash(segment).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_with_and_without_prefix() {
        let address = ChunkAddress::of(b"chunk");
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(format!("0x{address}").parse(), Ok(address));
        let id = PaymentId([7; 32]);
        assert!(id.to_string().starts_with("0x0707"));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_text_of_another_length_is_refused() {
        let error = "abcd".parse::<ChunkAddress>().unwrap_err();
        assert_eq!(error, ParseHexError { expected: 64, found: "abcd".into() });
        assert_eq!("zz".repeat(32).parse::<ChunkAddress>().unwrap_err().expected, 64);
    }
}
