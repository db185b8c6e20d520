use spillway_disk::{Disk, DiskError};
use spillway_types::Win;

use crate::batches::stored_wins;

/// The wins that a node has noted in its directory, in the order of payment id and draw. For looking
/// into a directory from beside: it takes no lock and changes nothing, so the node may run meanwhile.
///
/// They are what the node knew: some may be settled since, or be over. Files that are damaged or of
/// a newer version are logged and left out; a directory without wins has none. At most
/// [`MAX_WINS`](crate::limits::MAX_WINS) files of 2 KiB are there, but for those of another vault.
///
/// The call blocks: from async code it goes through [`spillway_disk::run`].
///
/// # Errors
/// [`DiskError`] when the directory cannot be read.
pub fn read_wins(disk: &dyn Disk) -> Result<Vec<Win>, DiskError> {
    Ok(stored_wins(disk)?.into_iter().map(|(_, win)| win).collect())
}
