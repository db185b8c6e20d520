//! Records on disk, for `cargo xtask fuzz` and the test below.

use std::{path::Path, sync::Arc};

use spillway_disk::{Disk, MemoryDisk, Overwrite};
use spillway_types::ChunkAddress;

use crate::{
    ChunkStore, FsStore, FsStoreOptions,
    record::{HEADER_BYTES, Header},
};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[("record", record, seeds)];

/// Where the checksum of a header stands.
const CHECKSUM_AT: usize = 52;

/// The file of a record, as it is and with the header's checksum made right, in a store that is
/// opened on it and asked for it.
fn record(input: &[u8]) {
    one_record(input);
    if let Some(header) = input.get(..CHECKSUM_AT)
        && input.len() >= HEADER_BYTES
    {
        let crc = crc32fast::hash(header).to_le_bytes();
        one_record(&[header, &crc, &input[HEADER_BYTES..]].concat());
    }
}

fn one_record(bytes: &[u8]) {
    let header = bytes.first_chunk().map(Header::decode);
    if let Some(Ok(header)) = header {
        assert_eq!(Some(&header.encode()), bytes.first_chunk(), "a header has one encoding");
    }
    // A store looks under the name that the record says, and under another.
    let named = bytes.get(16..48).and_then(|name| name.try_into().ok()).map(ChunkAddress);
    for address in [named.unwrap_or(ChunkAddress([0; 32])), ChunkAddress([7; 32])] {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("chunks")).expect("a disk in memory");
        let path = Path::new("chunks").join(address.to_string());
        disk.write_durable(&path, bytes, Overwrite::Never).expect("a disk in memory");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime without files").block_on(look(Arc::new(disk), address));
    }
}

async fn look(disk: Arc<dyn Disk>, address: ChunkAddress) {
    let options = FsStoreOptions::default();
    // A record of a newer version keeps the store closed.
    let Ok(store) = FsStore::open(disk, options).await else { return };
    if let Ok(Some(chunk)) = store.get(address).await {
        assert_eq!(ChunkAddress::of(&chunk), address, "what comes out is what was asked for");
    }
    let _ = store.evidence(address).await;
}

fn seeds() -> Vec<Vec<u8>> {
    let record = |chunk: &[u8], evidence: &[u8]| {
        let header = Header::of(ChunkAddress::of(chunk), chunk, evidence);
        [&header.encode()[..], evidence, chunk].concat()
    };
    vec![record(b"sealed bytes", b"evidence"), record(b"x", b""), record(&[1; 300], &[2; 40])]
}

#[cfg(test)]
mod tests {
    #[test]
    fn records_that_are_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, 500);
    }
}
