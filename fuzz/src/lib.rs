//! Bytes that are wrong in every way, for decoders to be tried on.
//!
//! Each crate lists its decoders in a module `fuzzing`, which is there for tests and with
//! `--cfg fuzzing`: a name, a function that takes any bytes and must not panic, and seeds. This library
//! plays them as ordinary tests ([`play`]): the seeds, what was once found (`fuzz/regressions/<target>/`),
//! and mutations of both that are the same every time. `cargo xtask fuzz` runs the same functions under
//! libFuzzer, with bounded memory.
//!
//! It depends on nothing, so that every crate can name it for its tests.

mod mutation;

use std::{
    fmt::Write as _,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

pub use mutation::Mutator;

/// A decoder: its name, what is run on every input, and inputs to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// How many mutations [`play`] makes of one target.
pub const ROUNDS: usize = 2_000;

/// The longest input that mutations make, in bytes. Longer seeds are played as they are.
pub const MAX_INPUT_BYTES: usize = 64 * 1024;

/// Runs a target on its seeds, on what was found before, and on `rounds` mutations of them: the same
/// ones every time.
///
/// # Panics
/// When the target does, with the input in hexadecimal digits; when it has no seeds.
pub fn play((name, run, seeds): Target, rounds: usize) {
    let mut inputs = seeds();
    assert!(!inputs.is_empty(), "{name} has no seeds");
    inputs.extend(regressions(name));
    for input in &inputs {
        run_one(name, run, input);
    }
    inputs.retain(|input| input.len() <= MAX_INPUT_BYTES);
    let mut mutator = Mutator::new(name);
    for _ in 0..rounds {
        run_one(name, run, &mutator.mutate(&inputs));
    }
}

/// [`play`] of each of these.
///
/// # Panics
/// When one of them does.
pub fn play_all(targets: &[Target], rounds: usize) {
    for target in targets {
        play(*target, rounds);
    }
}

fn run_one(name: &str, run: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| run(input))) {
        let mut digits = String::with_capacity(2 * input.len());
        for byte in input {
            // Writing to a string never fails.
            let _ = write!(digits, "{byte:02x}");
        }
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or_default();
        panic!("{name} on {digits}: {text}");
    }
}

/// Inputs that a decoder once failed on, in `fuzz/regressions/<target>/`.
fn regressions(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(name);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds() -> Vec<Vec<u8>> {
        vec![vec![7; 8], b"length \x08\0\0\0".to_vec()]
    }

    #[test]
    fn what_a_decoder_does_wrong_is_found_and_told() {
        fn trusts_a_length(input: &[u8]) {
            if let Some((b"length ", rest)) = input.split_first_chunk()
                && let Some((len, rest)) = rest.split_first_chunk()
            {
                assert!(u32::from_le_bytes(*len) < 1 << 20, "out of memory for {}", rest.len());
            }
        }
        let played = panic::catch_unwind(|| play(("length", trusts_a_length, seeds), ROUNDS));
        let told = played.unwrap_err().downcast::<String>().unwrap();
        assert!(told.starts_with("length on 6c656e67746820"), "{told}");
        assert!(told.contains("out of memory"), "{told}");
    }

    #[test]
    fn mutations_are_the_same_every_time_and_differ_between_targets() {
        let made = |name| {
            let mut mutator = Mutator::new(name);
            (0..200).map(|_| mutator.mutate(&seeds())).collect::<Vec<_>>()
        };
        assert_eq!(made("a"), made("a"));
        assert_ne!(made("a"), made("b"));
        assert!(made("a").iter().all(|input| input.len() <= MAX_INPUT_BYTES));
    }
}
