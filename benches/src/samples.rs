/// How many made-up words the text has.
const VOCABULARY: usize = 4000;

/// Sources that lend the text their lines.
const SOURCES: [&str; 6] = [
    include_str!("../../crates/spillway-seal/src/codec.rs"),
    include_str!("../../crates/spillway-seal/src/data_map.rs"),
    include_str!("../../crates/spillway-seal/src/opener.rs"),
    include_str!("../../crates/spillway-seal/src/pack.rs"),
    include_str!("../../crates/spillway-seal/src/sealer.rs"),
    include_str!("../../crates/spillway-seal/src/stream_sealer.rs"),
];

/// `len` random bytes, the same for the same seed.
pub fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// `len` bytes that compress about as source code does: lines of this project's sources in random
/// order, a quarter of their longer words exchanged for made-up ones, frequent and rare.
pub fn source_text(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let words: Vec<String> = (0..VOCABULARY).map(|_| made_up(&mut rng)).collect();
    let lines: Vec<&str> = SOURCES.iter().flat_map(|source| source.lines()).collect();
    let mut text = String::with_capacity(len + 200);
    while text.len() < len {
        let line = lines[rng.usize(..lines.len())];
        for part in line.split_inclusive(|c: char| !c.is_ascii_alphabetic()) {
            let letters = part.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
            if letters.len() > 3 && rng.u8(..4) == 0 {
                // The square makes low ranks frequent, as words are.
                let rank = rng.f64() * rng.f64();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "a rank below the vocabulary's size"
                )]
                let rank = (rank * VOCABULARY as f64) as usize;
                text.push_str(&words[rank]);
                text.push_str(&part[letters.len()..]);
            } else {
                text.push_str(part);
            }
        }
        text.push('\n');
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(len);
    bytes
}

fn made_up(rng: &mut fastrand::Rng) -> String {
    let syllables = 2 + rng.usize(..3);
    (0..syllables)
        .flat_map(|_| {
            let consonant = b"bcdfghklmnprstvw"[rng.usize(..16)];
            let vowel = b"aeiou"[rng.usize(..5)];
            [char::from(consonant), char::from(vowel)]
        })
        .collect()
}
