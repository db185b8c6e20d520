//! The formats, held to bytes that are committed: `tests/golden/seal-v1.json`. Chunks of other
//! versions of zstd still open, but they are not shared, so a change here is a change of format.
//!
//! When it differs, the test writes what it made beside the built tests and names the file: look at
//! the difference and, if it is meant, copy it over.

use serde_json::{Value, json};
use spillway_seal::{Compression, PackOptions, SealOptions};
use spillway_types::limits::SEGMENT_BYTES;

use crate::support::{Sealed, seal_file, small, with_secret};

const COMMITTED: &str = include_str!("../golden/seal-v1.json");

/// Bytes that anybody can make again: the first `len` of BLAKE3's extended output for "spillway".
fn xof(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"spillway").finalize_xof().fill(&mut bytes);
    bytes
}

/// "spillway " again and again, cut to `len`.
fn text(len: usize) -> Vec<u8> {
    b"spillway ".iter().copied().cycle().take(len).collect()
}

fn record(name: &str, source: &str, file: &[u8], options: &SealOptions) -> Value {
    let sealed = seal_file(file, options);
    let whole = file.len() <= 4096;
    json!({
        "name": name,
        "source": source,
        "len": file.len(),
        "segment_bytes": options.segment_bytes,
        "compressed_if_smaller": options.compression.applies(options.secret.is_none()),
        "file_secret": hex::encode(sealed.map.secret().as_bytes()),
        "hashes": sealed.map.entries().iter().map(|e| e.hash.to_string()).collect::<Vec<_>>(),
        "addresses": sealed.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "chunks": whole.then(|| chunks(&sealed)),
        "map": hex::encode(sealed.map.encode()),
    })
}

fn chunks(sealed: &Sealed) -> Vec<String> {
    sealed.chunks.iter().map(|chunk| hex::encode(&chunk.bytes)).collect()
}

fn packed() -> Value {
    let sealed = seal_file(&xof(60), &small(5));
    let options = PackOptions { max_root_bytes: 300, segment_bytes: 300 };
    let packed = sealed.map.clone().pack(options).unwrap();
    json!({
        "name": "a data map two levels high",
        "source": "xof",
        "len": 60,
        "segment_bytes": 5,
        "map_segment_bytes": options.segment_bytes,
        "max_root_bytes": options.max_root_bytes,
        "map": hex::encode(sealed.map.encode()),
        "map_chunks": packed.chunks.iter().map(|c| hex::encode(&c.bytes)).collect::<Vec<_>>(),
        "root": hex::encode(packed.root.encode()),
        "root_address": packed.root.public_chunk().address.to_string(),
    })
}

fn made() -> String {
    let on = SealOptions { compression: Compression::On, ..small(100) };
    let secret = |options| with_secret(options, "correct horse");
    let vectors = json!([
        record("empty", "xof", &[], &SealOptions::default()),
        record("one byte", "xof", &xof(1), &SealOptions::default()),
        record("two segments", "xof", &xof(20), &small(16)),
        record("three segments", "xof", &xof(48), &small(16)),
        record("five segments, the last shorter", "xof", &xof(70), &small(16)),
        record("compressed", "text", &text(250), &small(100)),
        record("secret \"correct horse\"", "text", &text(250), &secret(small(100))),
        record("secret \"correct horse\", compressed", "text", &text(250), &secret(on)),
        record("real segments", "xof", &xof(SEGMENT_BYTES + 1), &SealOptions::default()),
        record(
            "real segments, compressed",
            "text",
            &text(SEGMENT_BYTES + 1),
            &SealOptions::default()
        ),
        packed(),
    ]);
    let mut made = serde_json::to_string_pretty(&vectors).unwrap();
    made.push('\n');
    made
}

#[test]
fn the_formats_are_the_committed_ones() {
    let made = made();
    if made != COMMITTED {
        let path = format!("{}/seal-v1.json", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&path, &made).unwrap();
        panic!(
            "the formats changed: compare crates/spillway-seal/tests/golden/seal-v1.json with {path}"
        );
    }
}
