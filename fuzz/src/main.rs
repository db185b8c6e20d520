//! The fuzzer: one program for all targets, so that it is linked once. `cargo xtask fuzz` builds and
//! runs it.
//!
//! `SPILLWAY_FUZZ_TARGET` names the target; without it, or with a name that none has, the names are
//! printed and the program ends. `SPILLWAY_FUZZ_CORPUS` names a directory that the target's seeds are
//! written to, before libFuzzer reads it.
#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls an exported function")]
#![allow(
    clippy::print_stdout,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "libFuzzer owns the arguments and `main`"
)]

use std::{env, fs, path::Path, process, sync::OnceLock};

use spillway_fuzz::Target;

/// What runs on every input.
static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

fn targets() -> impl Iterator<Item = &'static Target> {
    [
        spillway_types::fuzzing::TARGETS,
        spillway_seal::fuzzing::TARGETS,
        spillway_net::fuzzing::TARGETS,
        spillway_pay::fuzzing::TARGETS,
        spillway_store::fuzzing::TARGETS,
        spillway_node::fuzzing::TARGETS,
        spillway_client::fuzzing::TARGETS,
    ]
    .into_iter()
    .flatten()
}

fn choose() {
    let name = env::var("SPILLWAY_FUZZ_TARGET").unwrap_or_default();
    let Some((_, run, seeds)) = targets().find(|target| target.0 == name) else {
        for (name, ..) in targets() {
            println!("{name}");
        }
        process::exit(0);
    };
    if let Ok(corpus) = env::var("SPILLWAY_FUZZ_CORPUS") {
        for (number, seed) in seeds().iter().enumerate() {
            let path = Path::new(&corpus).join(format!("seed-{number}"));
            fs::write(&path, seed).expect("the corpus can be written");
        }
    }
    RUN.get_or_init(|| *run);
}

libfuzzer_sys::fuzz_target!(init: choose(), |input: &[u8]| {
    if let Some(run) = RUN.get() {
        run(input);
    }
});
