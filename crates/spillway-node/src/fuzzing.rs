//! What a node keeps on disk, for `cargo xtask fuzz` and the test below.

use crate::{
    Evidence,
    batches::fuzzing::{proof_file, proof_name},
    identity,
};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    ("evidence", evidence, || golden(&[EVIDENCE, EVIDENCE_OF_A_BATCH])),
    ("proof_file", proof_file, || golden(&[PROOF, WIN])),
    ("proof_name", proof_name, name_seeds),
    ("identity", identity_file, identity_seeds),
];

const EVIDENCE: &str = include_str!("../tests/golden/evidence-v1.hex");
const EVIDENCE_OF_A_BATCH: &str = include_str!("../tests/golden/evidence-batch-v1.hex");
const PROOF: &str = include_str!("../tests/golden/further-proof-v1.hex");
const WIN: &str = include_str!("../tests/golden/win-v1.hex");

fn golden(texts: &[&str]) -> Vec<Vec<u8>> {
    let bytes = |text: &&str| hex::decode(text.split_whitespace().collect::<String>());
    texts.iter().map(|text| bytes(text).expect("invariant: golden bytes are digits")).collect()
}

fn evidence(input: &[u8]) {
    let Ok(evidence) = Evidence::decode(input) else { return };
    let bytes = evidence.encode().expect("what was read is within the limits");
    assert_eq!(Evidence::decode(&bytes).as_ref(), Ok(&evidence));
    assert!(Evidence::decode(&[input, &[0]].concat()).is_err(), "nothing follows evidence");
    let _ = evidence.payment();
}

fn name_seeds() -> Vec<Vec<u8>> {
    let payment = "ab".repeat(32);
    vec![format!("{payment}-c7").into_bytes(), format!("{payment}-{:024x}", 7).into_bytes()]
}

fn identity_file(input: &[u8]) {
    if let Ok(secret) = identity::decode(input) {
        let text = identity::encode(&secret);
        let again = identity::decode(text.as_bytes());
        assert!(again.is_ok_and(|again| again.peer() == secret.peer()));
    }
}

fn identity_seeds() -> Vec<Vec<u8>> {
    let secret = spillway_types::PeerSecret::from_seed(&[7; 32]);
    vec![identity::encode(&secret).as_bytes().to_vec()]
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_that_are_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, spillway_fuzz::ROUNDS);
    }
}
