use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use spillway_disk::{Disk, DiskError, EntryKind, FileLock, TEMPORARY_PREFIX};
use spillway_types::ChunkAddress;

use super::{CHUNKS, LOCK, QUARANTINE, quarantine, record_path};
use crate::{
    StoreError,
    record::{BadHeader, HEADER_BYTES, Header, VERSION},
};

/// What a store finds when it is opened.
pub(super) struct Found {
    pub(super) lock: Box<dyn FileLock>,
    pub(super) records: BTreeMap<ChunkAddress, Header>,
    /// What records and quarantine fill, in bytes.
    pub(super) used_bytes: u64,
}

/// Locks the store, cleans up and rebuilds the index.
pub(super) fn scan(disk: &dyn Disk) -> Result<Found, StoreError> {
    disk.create_dir_all(Path::new(CHUNKS))?;
    // Only under the lock: temporary files may be another store's.
    let lock = disk.lock(Path::new(LOCK)).map_err(|source| match source {
        DiskError::Locked { .. } => StoreError::Locked { source },
        source => StoreError::Disk { source },
    })?;
    let mut records = BTreeMap::new();
    for entry in disk.list(Path::new(CHUNKS))? {
        if entry.kind != EntryKind::File {
            continue;
        }
        if is_temporary(&entry.name) {
            tracing::info!(file = %entry.name.display(), "removing what a crash has left");
            disk.remove_file(&Path::new(CHUNKS).join(&entry.name))?;
        } else if let Some(address) = address_of(&entry.name)
            && let Some(header) = read_header(disk, address)?
        {
            records.insert(address, header);
        }
    }
    let stored: u64 = records.values().map(Header::record_bytes).sum();
    let used_bytes = stored.saturating_add(quarantined_bytes(disk)?);
    Ok(Found { lock, records, used_bytes })
}

fn is_temporary(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX))
}

/// The address that a file's name says, if it is written as this store writes it.
fn address_of(name: &Path) -> Option<ChunkAddress> {
    let name = name.to_str()?;
    let address = ChunkAddress::from_str(name).ok()?;
    (address.to_string() == name).then_some(address)
}

/// The header of the record of this address; a damaged record is moved aside.
fn read_header(disk: &dyn Disk, address: ChunkAddress) -> Result<Option<Header>, StoreError> {
    let file = disk.open(&record_path(address))?;
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut bytes)?;
    let decoded =
        if read == HEADER_BYTES { Header::decode(&bytes) } else { Err(BadHeader::Damaged) };
    match decoded {
        Ok(header) if header.address == address && header.record_bytes() == file.stat()?.len => {
            Ok(Some(header))
        }
        Err(BadHeader::Newer(found)) => {
            Err(StoreError::NewerFormat { address, found, supported: VERSION })
        }
        Ok(_) | Err(BadHeader::Damaged) => {
            tracing::error!(%address, "a stored chunk's file is damaged and is moved aside");
            quarantine(disk, address)?;
            Ok(None)
        }
    }
}

/// What was moved aside, now or before, in bytes.
fn quarantined_bytes(disk: &dyn Disk) -> Result<u64, DiskError> {
    let entries = match disk.list(Path::new(QUARANTINE)) {
        Ok(entries) => entries,
        Err(DiskError::NotFound { .. }) => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes: u64 = 0;
    for entry in entries {
        let path: PathBuf = Path::new(QUARANTINE).join(&entry.name);
        bytes = bytes.saturating_add(disk.stat(&path)?.len);
    }
    Ok(bytes)
}
