//! What is broken on purpose after a run.

use std::path::Path;

use bytes::Bytes;
use spillway_disk::{Disk, MemoryDisk, Overwrite};
use spillway_types::limits::STORE_QUORUM;

use crate::{
    Sabotage, durable,
    play::{Came, Play},
    world::DataDir,
};

impl Play {
    /// Breaks what is to be broken after a run.
    pub(crate) async fn sabotage(&self, dir: &DataDir, came: &Came) {
        let disk = dir.machine.disk();
        let died = matches!(came, Came::Died);
        match self.world.sabotage {
            Some(Sabotage::SessionsForgotten) if died => remove(&disk, Path::new("sessions")),
            Some(Sabotage::SpillForgotten) if died => {
                for spill in durable::spills(&disk) {
                    remove(&disk, &spill);
                }
            }
            Some(Sabotage::DistantCopies) => {
                self.send_away().await;
            }
            Some(Sabotage::WritesElsewhere) => {
                let _ = disk.write_durable(Path::new("other/more"), b"x", Overwrite::Replace);
            }
            Some(Sabotage::LeavesSpill) => {
                let _ = disk.create_dir_all(Path::new("spill/spill_1_orphan"));
            }
            _ => {}
        }
    }

    /// All that is stored goes to the three nodes that are farthest from it.
    async fn send_away(&self) {
        for (from, member) in self.world.members.iter().enumerate() {
            let mut gone = Vec::new();
            for address in member.alive().store.addresses(None, usize::MAX) {
                let mut all: Vec<usize> = (0..self.world.members.len()).collect();
                all.sort_by_cached_key(|&index| self.world.peers[index].distance(&address));
                let far = &all[all.len() - STORE_QUORUM..];
                let Ok(Some(chunk)) = member.alive().store.get(address).await else { continue };
                if far.contains(&from) {
                    continue;
                }
                for &index in far {
                    let store = self.world.members[index].alive().store;
                    let size = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
                    if let Ok(reservation) = store.reserve(address, size) {
                        let _ = store.put(reservation, chunk.clone(), Bytes::new()).await;
                    }
                }
                gone.push(address);
            }
            if !gone.is_empty() {
                member.remove(&gone).await;
            }
        }
    }
}

/// Removes a directory and all in it.
fn remove(disk: &MemoryDisk, dir: &Path) {
    for (path, kind) in durable::entries(disk, dir) {
        if kind == spillway_disk::EntryKind::Dir {
            remove(disk, &path);
        } else {
            let _ = disk.remove_file(&path);
        }
    }
    let _ = disk.remove_dir(dir);
}
