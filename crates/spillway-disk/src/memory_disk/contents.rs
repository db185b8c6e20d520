use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file: what is in it, and what of that a power cut leaves.
#[derive(Debug)]
pub(super) struct FileNode {
    pub(super) id: u64,
    contents: Mutex<Contents>,
}

#[derive(Debug)]
pub(super) struct Contents {
    pub(super) data: Vec<u8>,
    durable: Durable,
    pub(super) mode: u32,
    pub(super) modified: (i64, u32),
    /// Whether a directory names it: only then it counts against the capacity.
    pub(super) linked: bool,
}

/// What is on the platter. Most files only grow, so mostly it is a prefix and nothing is copied.
#[derive(Debug)]
enum Durable {
    /// This many first bytes of the data.
    Prefix(usize),
    /// Something else than the data begins with.
    Other(Vec<u8>),
}

/// What a power cut spares of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing: only what was synced is left.
    Nothing,
    /// Some of it, drawn from this seed: entries of a directory up to some change, files as synced,
    /// as last written, or cut somewhere in between.
    Seeded(u64),
    /// Everything: the process was killed and the machine went on.
    Everything,
}

impl FileNode {
    pub(super) fn new(id: u64, mode: u32, modified: (i64, u32), data: Vec<u8>) -> Self {
        let durable = Durable::Prefix(data.len());
        let contents = Contents { data, durable, mode, modified, linked: true };
        Self { id, contents: Mutex::new(contents) }
    }

    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Overwrites and grows; the caller has counted the growth.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.keep_durable_below(offset);
        let end = offset + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.keep_durable_below(len);
        self.data.resize(len, 0);
    }

    pub(super) fn sync(&mut self) {
        self.durable = Durable::Prefix(self.data.len());
    }

    /// What is left after a power cut.
    pub(super) fn survivor(&self, random: Option<&mut fastrand::Rng>, all: bool) -> Vec<u8> {
        let durable = match &self.durable {
            Durable::Prefix(len) => &self.data[..*len],
            Durable::Other(data) => data,
        };
        if all {
            return self.data.clone();
        }
        let Some(random) = random else {
            return durable.to_vec();
        };
        match random.u8(..3) {
            0 => durable.to_vec(),
            1 => self.data.clone(),
            _ => {
                let from = match self.durable {
                    Durable::Prefix(len) => len,
                    Durable::Other(_) => 0,
                };
                self.data[..random.usize(from..=self.data.len())].to_vec()
            }
        }
    }

    /// Before bytes from `offset` on change: sets aside what is durable there.
    fn keep_durable_below(&mut self, offset: usize) {
        if let Durable::Prefix(len) = self.durable
            && offset < len
        {
            self.durable = Durable::Other(self.data[..len].to_vec());
        }
    }
}
