//! What is read as text, for `cargo xtask fuzz` and the test below.

use crate::{Atto, ChunkAddress, EvmAddress, PeerKey, PeerSecret, Wei};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate. Headers of messages are with the frames that they come in.
pub const TARGETS: &[Target] = &[("text", text, text_seeds)];

/// Addresses, keys and amounts: what is read is shown as something that is read as the same.
fn text(input: &[u8]) {
    fn same<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str) {
        if let Ok(read) = text.parse::<T>() {
            let again = read.to_string().parse::<T>();
            assert!(again.is_ok_and(|again| again == read), "{text:?}");
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    same::<ChunkAddress>(text);
    same::<EvmAddress>(text);
    same::<PeerKey>(text);
    same::<Atto>(text);
    same::<Wei>(text);
}

fn text_seeds() -> Vec<Vec<u8>> {
    let peer = PeerSecret::from_seed(&[1; 32]).peer();
    [
        ChunkAddress([0xab; 32]).to_string(),
        EvmAddress([0xcd; 20]).to_string(),
        peer.to_string(),
        "0".into(),
        "1.000000000000000001".into(),
        "340282366920938463463374607431768211455".into(),
        "0x".into(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_that_is_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, 5_000);
    }
}
