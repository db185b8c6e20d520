//! What is uploaded, and what happens to it between two runs.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use fastrand::Rng;
use spillway_client::{
    BatchOptions, CommitChoice, ModeChoice, Source, StreamSource, UploadOptions, VerifyUpload,
};
use spillway_disk::{Disk, MemoryDisk, Overwrite};

use crate::{Fate, Life, SimDisk, TOKENS};

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Stream,
    Chunk,
}

/// How it is uploaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub segment_bytes: usize,
    pub public: bool,
    pub mode: ModeChoice,
    pub batch: BatchOptions,
    pub secret: bool,
    /// It is done only when it is verified.
    pub verified: bool,
}

impl How {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let mode = match random.u8(..5) {
            0 | 1 => ModeChoice::Auto,
            2 | 3 => ModeChoice::Direct,
            _ => ModeChoice::Batch,
        };
        let commit = if random.bool() { CommitChoice::Together } else { CommitChoice::OneByOne };
        Self {
            segment_bytes: random.usize(300..1_200),
            public: random.u8(..4) == 0,
            mode,
            batch: BatchOptions { max_leaves: random.usize(1..=4), commit },
            secret: random.u8(..5) == 0,
            verified: random.u8(..3) == 0,
        }
    }

    pub(crate) fn options(&self) -> UploadOptions {
        UploadOptions {
            public: self.public,
            mode: self.mode,
            batch: self.batch,
            secret: self.secret.then(|| b"a secret".to_vec().into()),
            segment_bytes: self.segment_bytes,
            // What came with an archive and was never signed is paid under a cap only.
            max_cost: Some(TOKENS),
            verify: if self.verified { VerifyUpload::Wait } else { VerifyUpload::No },
            ..UploadOptions::default()
        }
    }
}

/// Something to be uploaded, on a disk of its user.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub kind: Kind,
    pub how: How,
    pub disk: MemoryDisk,
    pub path: PathBuf,
    /// The files in order of their names; one but for a directory.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Work {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let kind = match random.u8(..10) {
            0..5 => Kind::File,
            5 | 6 => Kind::Directory,
            7 | 8 => Kind::Stream,
            _ => Kind::Chunk,
        };
        let how = How::draw(random);
        let files = match kind {
            Kind::Directory => (0..random.usize(1..=3))
                .map(|number| (format!("file-{number}"), contents(random, how.segment_bytes)))
                .collect(),
            Kind::Chunk => {
                let len = random.usize(1..1_000);
                vec![(String::new(), noise(random, len))]
            }
            _ => {
                let mut bytes = contents(random, how.segment_bytes);
                bytes.extend(contents(random, how.segment_bytes));
                vec![(String::new(), bytes)]
            }
        };
        let work =
            Self { kind, how, disk: MemoryDisk::new(), path: PathBuf::from("source"), files };
        work.write();
        work
    }

    /// Puts the files onto the disk as they are now.
    fn write(&self) {
        let put = |path: &Path, bytes: &[u8]| {
            let written = self.disk.write_durable(path, bytes, Overwrite::Replace);
            written.expect("invariant: the user's own disk works");
        };
        match self.kind {
            Kind::File => put(&self.path, &self.files[0].1),
            Kind::Directory => {
                let made = self.disk.create_dir_all(&self.path);
                made.expect("invariant: the user's own disk works");
                for (name, bytes) in &self.files {
                    put(&self.path.join(name), bytes);
                }
            }
            Kind::Stream | Kind::Chunk => {}
        }
    }

    /// The source as a process reads it.
    pub(crate) fn source(&self, life: &Life, fate: &Fate) -> Source {
        match self.kind {
            Kind::File | Kind::Directory => {
                let disk = SimDisk::new(self.disk.clone(), life.clone(), fate.clone());
                Source::Path { disk: Arc::new(disk), path: self.path.clone() }
            }
            Kind::Stream => {
                Source::Stream(StreamSource(Box::new(Cursor::new(self.files[0].1.clone()))))
            }
            Kind::Chunk => Source::Chunk(Bytes::from(self.files[0].1.clone())),
        }
    }

    /// Changes one byte.
    pub(crate) fn edit(&mut self, random: &mut Rng) {
        let file = random.usize(..self.files.len());
        let bytes = &mut self.files[file].1;
        if bytes.is_empty() {
            bytes.push(1);
        } else {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 + random.u8(..255);
        }
        self.write();
    }

    /// Cuts something off.
    pub(crate) fn truncate(&mut self, random: &mut Rng) {
        let file = random.usize(..self.files.len());
        let bytes = &mut self.files[file].1;
        let least = usize::from(self.kind == Kind::Chunk);
        let len = random.usize(least.min(bytes.len())..=bytes.len());
        bytes.truncate(len);
        self.write();
    }

    /// Gives it another name.
    pub(crate) fn rename(&mut self, random: &mut Rng) {
        let to = PathBuf::from(format!("source-{}", random.u32(..)));
        if matches!(self.kind, Kind::File | Kind::Directory) {
            let renamed = self.disk.rename(&self.path, &to, Overwrite::Never);
            renamed.expect("invariant: the user's own disk works");
            self.path = to;
        }
    }

    /// It as it is now, wherever the user keeps a copy.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self { disk: MemoryDisk::new(), ..self.clone() };
        copy.write();
        copy
    }

    /// Another source that shares some of this one's contents, with one byte changed.
    pub(crate) fn sibling(&self, random: &mut Rng) -> Self {
        let mut sibling = Self { disk: MemoryDisk::new(), ..self.clone() };
        sibling.edit(random);
        sibling
    }
}

/// Some noise, or some text, of one to four segments.
fn contents(random: &mut Rng, segment: usize) -> Vec<u8> {
    let len = match random.u8(..8) {
        0 => random.usize(..3),
        1 => segment * random.usize(1..=3),
        _ => random.usize(1..=3 * segment),
    };
    if random.u8(..4) == 0 {
        let mut text = Vec::with_capacity(len + 8);
        while text.len() < len {
            text.extend_from_slice(["chunk ", "quote ", "vault\n"][random.usize(..3)].as_bytes());
        }
        text.truncate(len);
        return text;
    }
    noise(random, len)
}

fn noise(random: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
