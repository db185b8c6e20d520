//! Sealing: segments of plaintext in, encrypted chunks with content addresses out, and back.
//!
//! Owns the segment keys, compression, encryption, the data map with its encoding, maps of maps
//! and range reads. It has no tasks, does no I/O and keeps no state outside its values, so a crash
//! leaves nothing. The formats are described byte by byte in `docs/formats.md`, "Sealing and data
//! maps".
//!
//! Invariants:
//! - the same segments, secret and options give the same chunks, always;
//! - a key and a nonce never meet two payloads: the nonce depends on the payload;
//! - nothing that fails a check gives plaintext: the address, the tag, the flag, the length and the
//!   hash of the plaintext all have to agree first;
//! - no length that was read is believed before it was compared with its cap.
//!
//! # How a file is sealed
//! 1. Cut it ([`Cut`]) and hash every segment ([`SegmentHash::of`]). A seekable file is read twice:
//!    this is the first, fast pass. A pipe goes through [`StreamSealer`] instead.
//! 2. [`SealOptions::file_secret`] from the hashes, a [`Sealer`] of level 0 from that.
//! 3. Each segment with its [`KeyHashes`] through [`Sealer::seal`]: an [`Entry`] and a chunk.
//! 4. [`DataMap::new`] of the entries, [`DataMap::pack`] down to one root.
//!
//! Reading goes the other way: [`DataMap::decode`], [`Unpacker`] to the map of level 0,
//! [`DataMap::segments_in`] for the segments of a range, [`Opener::open`] for each.
//!
//! # Consequences of the key
//! The key of a segment needs the hashes of it and the two before it, cyclically. So a change of
//! one byte changes three chunks and the map, an append the last chunk and the first two, an
//! insertion all that follows it. With the public [`FileSecret`] everybody who has the same file
//! makes the same chunks: they are stored and paid for once, and whoever can guess a whole file of
//! low entropy can find out that it is stored. A [`UserSecret`] prevents both.
//!
//! Deliberately absent: files and sockets, threads (the caller runs a `Sealer` a thread), retries,
//! and any knowledge of directories beyond [`ContentKind`]: segments come however they were cut.
//!
//! [`SegmentHash::of`]: spillway_types::SegmentHash::of

mod codec;
mod compression;
mod content_kind;
mod cut;
mod data_map;
mod entry;
mod file_secret;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hold_key;
mod key_hashes;
mod map_error;
mod open_error;
mod opener;
mod pack;
mod seal_error;
mod seal_options;
mod sealed_chunk;
mod sealer;
mod stream_error;
mod stream_sealer;
mod unpack_error;
mod unpacker;
mod user_secret;

pub use codec::{ENTRY_BYTES, MAP_OVERHEAD_BYTES, MAP_VERSION, MAX_MAP_ENTRIES};
pub use compression::Compression;
pub use content_kind::ContentKind;
pub use cut::Cut;
pub use data_map::{DataMap, SegmentSlice};
pub use entry::Entry;
pub use file_secret::FileSecret;
pub use hold_key::HoldKey;
pub use key_hashes::KeyHashes;
pub use map_error::MapError;
pub use open_error::OpenError;
pub use opener::Opener;
pub use pack::{MAX_ROOT_BYTES, PackError, PackOptions, PackedMap};
pub use seal_error::SealError;
pub use seal_options::SealOptions;
pub use sealed_chunk::SealedChunk;
pub use sealer::Sealer;
pub use stream_error::StreamError;
pub use stream_sealer::{Pushed, StreamSealer};
pub use unpack_error::UnpackError;
pub use unpacker::Unpacker;
pub use user_secret::UserSecret;
