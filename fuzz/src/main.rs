//! The fuzzer: one program for all targets, so that it is linked once. `cargo xtask fuzz` builds and
//! runs it.
//!
//! `SPILLWAY_FUZZ_TARGET` names the target; without it, or with a name that none has, the names are
//! printed and the program ends. `SPILLWAY_FUZZ_CORPUS` names a directory that the target's seeds are
//! written to, before libFuzzer reads it.
//!
//! Memory is bounded here and not by libFuzzer: its limits need a sanitizer's hooks, or pages that are
//! touched.
#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls an exported function; an allocator is unsafe")]
#![allow(
    clippy::print_stdout,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "libFuzzer owns the arguments and `main`"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, fs,
    io::{self, Write as _},
    path::Path,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use spillway_fuzz::Target;

/// What may be allocated at once, in bytes, touched or not; a decoder holds no more than the largest
/// file that it is given, and that is small here.
const MAX_HEAP_BYTES: usize = 256 * 1024 * 1024;

/// The system's allocator, up to [`MAX_HEAP_BYTES`].
struct Bounded {
    live: AtomicUsize,
}

#[global_allocator]
static HEAP: Bounded = Bounded { live: AtomicUsize::new(0) };

// SAFETY: every call goes to the system's allocator as it came; what is counted beside it changes
// nothing of it. `realloc` and `alloc_zeroed` are the trait's own and end here.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size();
        let before = self.live.fetch_add(size, Ordering::Relaxed);
        if size > MAX_HEAP_BYTES.saturating_sub(before) {
            // Nothing may be allocated here.
            let _ = io::stderr().write_all(b"ERROR: a decoder asks for too much memory\n");
            process::abort();
        }
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.live.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: it came from `alloc` with this layout, the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

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
