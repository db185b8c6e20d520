use futures::{StreamExt, TryStreamExt, stream};
use spillway_seal::{DataMap, Entry, MAX_ROOT_BYTES, Unpacker};
use spillway_types::ChunkAddress;

use super::VerifyError;
use crate::{ClientParts, DownloadError, Remote, download::fetch_chunk, limits::FETCH_WORKERS};

/// Every chunk of an upload: a public root, the data maps of all levels, and what they list.
pub(super) async fn chunks(
    parts: &ClientParts,
    remote: Remote,
) -> Result<Vec<ChunkAddress>, VerifyError> {
    let mut chunks = Vec::new();
    let bytes = match remote {
        Remote::DataMap(bytes) => bytes,
        Remote::Public(address) => {
            chunks.push(address);
            fetch_chunk(parts, address).await?.to_vec()
        }
    };
    if bytes.len() > MAX_ROOT_BYTES {
        return Err(DownloadError::MapTooLong { found: bytes.len() }.into());
    }
    let root = DataMap::decode(&bytes).map_err(DownloadError::DataMap)?;
    let mut unpacker = Unpacker::new(root).map_err(DownloadError::from)?;
    loop {
        let pending: Vec<Entry> = unpacker.pending().to_vec();
        if pending.is_empty() {
            break;
        }
        chunks.extend(pending.iter().map(|entry| entry.address));
        let mut fetched = stream::iter(pending)
            .map(|entry| fetch_chunk(parts, entry.address))
            .buffered(FETCH_WORKERS);
        while let Some(chunk) = fetched.try_next().await? {
            unpacker.supply(&chunk).map_err(DownloadError::from)?;
        }
    }
    let map = unpacker.finish().map_err(DownloadError::from)?;
    chunks.extend(map.entries().iter().map(|entry| entry.address));
    Ok(chunks)
}
