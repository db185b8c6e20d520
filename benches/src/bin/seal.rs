//! Sealing and opening against the published `self_encryption`, one thread against one thread in
//! one run: our crate has no threads, `self_encryption` seals in a loop and opens with rayon, whose
//! global pool is made with one thread before its first use. Both begin with the bytes in memory;
//! sealing ends with all chunks and the data map, opening with the whole content in one buffer,
//! which is compared. The crates take turns, and the medians are compared.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::{
    collections::HashMap,
    hint::black_box,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use self_encryption::bytes::Bytes;
use spillway_benches::{Comparison, random, source_text};
use spillway_seal::{
    ContentKind, DataMap, Entry, KeyHashes, PackOptions, PackedMap, SealOptions, SealedChunk,
    Sealer, Unpacker,
};
use spillway_types::SegmentHash;

/// Compare sealing and opening with the `self_encryption` crate.
#[derive(Debug, Parser)]
struct Arguments {
    /// Size of each sample, in MiB.
    #[arg(long, default_value_t = 64)]
    mib: usize,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure this file, too.
    #[arg(long)]
    file: Option<PathBuf>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What sealing ends with.
struct Sealed {
    packed: PackedMap,
    chunks: Vec<SealedChunk>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let len = arguments.mib * 1024 * 1024;
    let mut samples = vec![("random", random(len, 1)), ("text", source_text(len, 1))];
    if let Some(path) = &arguments.file {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        samples.push(("file", bytes));
    }
    if !arguments.json {
        println!("one thread, medians of {} rounds, MB/s = 10^6 bytes a second", arguments.rounds);
        println!("(in brackets: bytes stored per 100 bytes sealed)");
        println!("{}", Comparison::heading());
    }
    for (name, sample) in samples {
        for comparison in compare(name, sample, arguments.rounds)? {
            let line = if arguments.json { comparison.json() } else { comparison.row() };
            println!("{line}");
        }
    }
    Ok(())
}

fn compare(name: &str, sample: Vec<u8>, rounds: usize) -> Result<[Comparison; 2]> {
    let sample = Bytes::from(sample);
    let comparison = |what: &str| Comparison {
        name: format!("{what} {name}"),
        bytes: sample.len(),
        ..Comparison::default()
    };
    let (mut sealing, mut opening) = (comparison("seal"), comparison("open"));
    for _ in 0..rounds {
        let (sealed, took) = timed(|| seal(&sample))?;
        sealing.ours.push(took);
        let stored = sealed.chunks.iter().chain(&sealed.packed.chunks);
        let ours = stored.map(|chunk| chunk.bytes.len()).sum();
        let (opened, took) = timed(|| open(&sealed))?;
        opening.ours.push(took);
        ensure!(opened == sample, "spillway gave other bytes back");
        drop((sealed, opened));

        let ((map, chunks), took) = timed(|| Ok(self_encryption::encrypt(sample.clone())?))?;
        sealing.theirs.push(took);
        let theirs = chunks.iter().map(|chunk| chunk.content.len()).sum();
        for comparison in [&mut sealing, &mut opening] {
            (comparison.our_stored_bytes, comparison.their_stored_bytes) = (ours, theirs);
        }
        let (opened, took) = timed(|| Ok(self_encryption::decrypt(&map, &chunks)?))?;
        opening.theirs.push(took);
        ensure!(opened == sample, "self_encryption gave other bytes back");
    }
    Ok([sealing, opening])
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let made = black_box(run()?);
    Ok((made, start.elapsed()))
}

/// As a file is sealed: a pass that hashes, a pass that seals and hashes again.
fn seal(file: &[u8]) -> Result<Sealed> {
    let options = SealOptions::default();
    let segments: Vec<&[u8]> = file.chunks(options.segment_bytes).collect();
    let hashes: Vec<SegmentHash> = segments.iter().map(|bytes| SegmentHash::of(bytes)).collect();
    let secret = options.file_secret(&hashes);
    let mut sealer = Sealer::new(secret.clone(), 0, options.compression);
    let (mut entries, mut chunks) = (Vec::new(), Vec::new());
    for (index, segment) in segments.iter().enumerate() {
        let keys = KeyHashes::at(&hashes, index).context("a hash for each segment")?;
        let chunk = sealer.seal(&keys, segment)?;
        entries.push(Entry::new(&keys, segment.len(), &chunk));
        chunks.push(chunk);
    }
    let map = DataMap::new(ContentKind::File, options.segment_bytes, secret, entries)?;
    Ok(Sealed { packed: map.pack(PackOptions::default())?, chunks })
}

fn open(sealed: &Sealed) -> Result<Vec<u8>> {
    let stored: HashMap<_, _> = sealed
        .chunks
        .iter()
        .chain(&sealed.packed.chunks)
        .map(|chunk| (chunk.address, &chunk.bytes))
        .collect();
    let fetch = |entry: &Entry| stored.get(&entry.address).context("a chunk for each entry");
    let mut unpacker = Unpacker::new(sealed.packed.root.clone())?;
    while let Some(entry) = unpacker.pending().first() {
        let chunk = fetch(entry)?;
        unpacker.supply(chunk)?;
    }
    let map = unpacker.finish()?;
    let mut opener = map.opener();
    let mut file = Vec::with_capacity(usize::try_from(map.content_len())?);
    for (index, entry) in map.entries().iter().enumerate() {
        let keys = map.key_hashes(index).context("keys for each entry")?;
        file.extend_from_slice(&opener.open(&keys, entry, fetch(entry)?)?);
    }
    Ok(file)
}
