use std::str::FromStr;

use serde::Deserialize;

/// Bytes of a coordinate: the field's numbers have 381 bits.
const FIELD: usize = 48;
/// Bytes of a coordinate in the encoding of EIP-2537, which fills it up in front.
const WORD: usize = 64;
/// Bytes of a text that may be a signature or a round, at most: drand's own lines have 300.
const MAX_TEXT: usize = 4096;

/// The signature of one round of drand, in the form that the beacon contract takes as a proof.
///
/// People have it as drand publishes it: a point of G1, compressed to 48 bytes. The contract takes
/// the same point uncompressed, 128 bytes in the encoding of EIP-2537. It is read from either of
/// them, in hexadecimal, or from the JSON object of a round, `{"round": 1, "signature": "…"}`.
///
/// That it is a point of the group is checked here; that it is the network's signature for a round
/// only the contract knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrandSignature([u8; 2 * WORD]);

/// Why something is no [`DrandSignature`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotASignature {
    /// Neither hexadecimal nor the JSON object of a round.
    #[error("neither hexadecimal digits nor a round of drand in JSON")]
    Text,
    /// Neither 48 nor 128 bytes.
    #[error("a signature of drand has 48 bytes, or 128 uncompressed, and this has {found}")]
    Length {
        /// How many.
        found: usize,
    },
    /// Bytes that are no point of the group.
    #[error("not a point of the curve's group")]
    Point,
}

/// What is read of the JSON object of a round.
#[derive(Deserialize)]
struct Round {
    signature: String,
}

impl DrandSignature {
    /// Reads it from 48 or 128 bytes.
    ///
    /// # Errors
    /// [`NotASignature::Length`] and [`NotASignature::Point`]. The point at infinity is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotASignature> {
        let plain = match bytes.len() {
            FIELD => bytes.to_vec(),
            len if len == 2 * WORD => {
                let (padding, numbers): (Vec<_>, Vec<_>) =
                    bytes.chunks(WORD).map(|word| word.split_at(WORD - FIELD)).unzip();
                if padding.concat().iter().any(|&byte| byte != 0) {
                    return Err(NotASignature::Point);
                }
                numbers.concat()
            }
            found => return Err(NotASignature::Length { found }),
        };
        let point = blst::min_sig::Signature::sig_validate(&plain, true)
            .map_err(|_| NotASignature::Point)?
            .serialize();
        let mut words = [0; 2 * WORD];
        for (word, number) in words.chunks_mut(WORD).zip(point.chunks(FIELD)) {
            word[WORD - FIELD..].copy_from_slice(number);
        }
        Ok(Self(words))
    }

    /// What the beacon contract takes.
    pub fn proof(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl FromStr for DrandSignature {
    type Err = NotASignature;

    fn from_str(text: &str) -> Result<Self, NotASignature> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(NotASignature::Text);
        }
        let digits = if text.starts_with('{') {
            serde_json::from_str::<Round>(text).map_err(|_| NotASignature::Text)?.signature
        } else {
            text.to_owned()
        };
        let digits = digits.strip_prefix("0x").unwrap_or(&digits);
        let bytes = hex::decode(digits).map_err(|_| NotASignature::Text)?;
        Self::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Result<String, NotASignature> {
        Ok(format!("0x{}", hex::encode(text.parse::<DrandSignature>()?.proof())))
    }

    /// Genuine rounds, as drand publishes them and as the contract takes them: of both signs.
    #[test]
    fn every_form_is_the_same_proof() {
        let vectors = include_str!("../../../contracts/vectors/drand.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for round in vectors["rounds"].as_array().unwrap() {
            let text = |key: &str| round[key].as_str().unwrap();
            let published = text("compressed").strip_prefix("0x").unwrap();
            let line = json!({
                "round": round["round"], "randomness": "00", "signature": published,
            });
            for form in [text("compressed"), published, text("proof"), &format!("{line}\n")] {
                assert_eq!(read(form).as_deref(), Ok(text("proof")), "{form}");
            }
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let found = |found| Err(NotASignature::Length { found });
        assert_eq!((read("0x"), read("ab")), (found(0), found(1)));
        assert_eq!(read(&"00".repeat(96)), found(96));
        for text in ["0x1", "signature", "é", "{}", r#"{"signature":1}"#, r#"{"signature":"zz"}"#]
        {
            assert_eq!(read(text), Err(NotASignature::Text), "{text}");
        }
        assert_eq!(read(&" ".repeat(MAX_TEXT + 1)), found(0), "trimmed");
        assert_eq!(read(&"0".repeat(MAX_TEXT + 2)), Err(NotASignature::Text));
        // Zero, infinity in both forms, no point of the curve, and a padding that is not empty.
        let infinity = format!("c0{}", "00".repeat(47));
        let beyond = format!("9f{}", "ff".repeat(47));
        let padded = format!("01{}", "00".repeat(127));
        for text in [&"00".repeat(48), &"00".repeat(128), &infinity, &beyond, &padded] {
            assert_eq!(read(text), Err(NotASignature::Point), "{text}");
        }
        // On the curve, outside of the group: (0, 2).
        let two = format!("{}02", "00".repeat(127));
        assert_eq!(read(&two), Err(NotASignature::Point));
    }
}
