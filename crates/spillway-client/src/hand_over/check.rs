//! What an archive says of itself must fit together: a session is found by the key of its contents, and
//! what it pays for and hands out must be those.

use std::collections::BTreeSet;

use spillway_seal::{DataMap, FileSecret, PackOptions};
use spillway_types::{ChunkAddress, SegmentHash, limits::MAX_CHUNK_BYTES};

use super::archive::bad;
use crate::{
    SessionError,
    session::{KeyParts, Manifest, SessionKey, Snapshot},
};

/// Whether the manifest is that of the contents which the data map of level 0 describes, or of one raw
/// chunk. Blocks.
pub(super) fn contents(manifest: &Manifest, map: Option<&[u8]>) -> Result<(), SessionError> {
    let addresses: BTreeSet<ChunkAddress> =
        manifest.chunks.iter().map(|chunk| chunk.address).collect();
    let sizes = 1..=MAX_CHUNK_BYTES as u64;
    let sound = addresses.len() == manifest.chunks.len()
        && manifest.chunks.iter().all(|chunk| sizes.contains(&u64::from(chunk.size)));
    if !sound {
        return Err(bad("its list of chunks is none"));
    }
    let key = match map {
        None => raw_key(manifest),
        Some(map) => mapped_key(manifest, map, &addresses)?,
    };
    if key == Some(manifest.key) {
        Ok(())
    } else {
        Err(bad("its contents are not those of its key"))
    }
}

/// The key of a single chunk; `None` when it is not one.
fn raw_key(manifest: &Manifest) -> Option<SessionKey> {
    let [chunk] = &manifest.chunks[..] else { return None };
    let whole = manifest.root.is_none() && manifest.public_address == Some(chunk.address);
    whole.then(|| {
        SessionKey::of(&KeyParts {
            domain: &manifest.domain,
            payer: manifest.payer,
            content: None,
            public: true,
            segment_bytes: 0,
            secret: &FileSecret::public(),
            hashes: &[SegmentHash(chunk.address.0)],
        })
    })
}

/// The key of what the map describes; `None` when the manifest lists other chunks.
fn mapped_key(
    manifest: &Manifest,
    map: &[u8],
    addresses: &BTreeSet<ChunkAddress>,
) -> Result<Option<SessionKey>, SessionError> {
    let map = DataMap::decode(map).map_err(|_| bad("its data map does not decode"))?;
    let segments = map.entries();
    let listed = manifest.chunks.iter().all(|chunk| {
        let entry = chunk.segment.map(|segment| segments.get(segment as usize));
        entry.is_none_or(|entry| entry.is_some_and(|entry| entry.address == chunk.address))
    });
    let packed = map.clone().pack(PackOptions::default());
    let packed = packed.map_err(|_| bad("its data map cannot be packed"))?;
    let public = manifest.public_address.is_some();
    let root = packed.root.public_chunk().address;
    let mut expected: BTreeSet<ChunkAddress> = segments.iter().map(|entry| entry.address).collect();
    expected.extend(packed.chunks.iter().map(|chunk| chunk.address));
    expected.extend(public.then_some(root));
    let whole = listed
        && map.level() == 0
        && expected == *addresses
        && manifest.public_address.is_none_or(|address| address == root)
        && manifest.root.as_deref() == Some(packed.root.encode().as_slice());
    let hashes: Vec<SegmentHash> = segments.iter().map(|entry| entry.hash).collect();
    Ok(whole.then(|| {
        SessionKey::of(&KeyParts {
            domain: &manifest.domain,
            payer: manifest.payer,
            content: Some(map.content()),
            public,
            segment_bytes: map.segment_bytes(),
            secret: map.secret(),
            hashes: &hashes,
        })
    }))
}

/// Whether the plans pay for the chunks that they say, and the journal is one that goes on.
pub(super) fn history(snapshot: &Snapshot) -> Result<(), SessionError> {
    let manifest = &snapshot.manifest;
    for file in &snapshot.plans {
        let pairs = file.chunks.iter().zip(&file.plan.leaves);
        let mut own = pairs.filter_map(|(chunk, leaf)| chunk.map(|chunk| (chunk, leaf.address)));
        let fits = own.all(|(chunk, address)| manifest.chunks[chunk.0 as usize].address == address);
        // What another session has planned may be another wallet's.
        if !fits || file.plan.domain != manifest.domain {
            return Err(bad("a plan is not of its chunks"));
        }
    }
    if snapshot.journal.is_torn() || snapshot.progressed.handed_over.is_some() {
        return Err(bad("its journal does not go on"));
    }
    Ok(())
}
