//! The second half of the play: nothing goes wrong any more, and everything must come to its end.

use std::{path::Path, sync::Arc, time::Duration};

use spillway_client::{
    ChunkFailure, DownloadOptions, Overwrite, Remote, SessionStatus, Target, UploadError, Uploaded,
};
use spillway_disk::{Disk, MemoryDisk};
use spillway_types::Retry;

use crate::{
    End, Promise, Sabotage, Violation, durable,
    oracle::{Oracle, STALE},
    play::{Came, Checked, Play},
    scenario::Run,
    work::{Kind, Work},
    world::{DataDir, Process},
};

/// How often the same upload is run in peace before it must have come to its end.
const PEACEFUL_RUNS: usize = 8;

/// How long is waited between two of them: a plan that is too late to be paid is known to be dropped
/// after it, finality included.
const PEACEFUL_PAUSE: Duration = Duration::from_mins(40);

impl Play {
    /// Runs the same upload in peace until it ends well.
    pub(crate) async fn finish(&mut self) -> Checked<Uploaded> {
        let mut finished = None;
        for dir in self.dirs.clone() {
            if self.left.contains(&dir.name) {
                continue;
            }
            let done = self.finish_in(&dir, self.work.clone()).await?;
            finished.get_or_insert(done);
        }
        finished.ok_or_else(|| Violation::new(Promise::Finishes, "a data directory", "none"))
    }

    async fn finish_in(&mut self, dir: &DataDir, work: Work) -> Checked<Uploaded> {
        let quiet = Run {
            before: Vec::new(),
            end: End::Natural,
            disk_fault: None,
            beside: None,
            clock_ahead: 0,
        };
        let mut last = String::new();
        for _ in 0..PEACEFUL_RUNS {
            self.note_upload(dir);
            let before = self.before();
            let (came, handles) = self.upload(dir, &work, &quiet).await;
            dir.machine.forget_lives();
            let done = match &came {
                Came::Ended(result) => match result.as_ref() {
                    Ok(done) => Some(done.clone()),
                    Err(error) => {
                        last = format!("{error} ({error:?})");
                        if error.retry() == Retry::Never {
                            break;
                        }
                        None
                    }
                },
                Came::Died => None,
            };
            self.judge(dir, (came, handles), before, false)?;
            if let Some(done) = done {
                return Ok(done);
            }
            self.world.wait(PEACEFUL_PAUSE).await;
        }
        let expected = format!("the upload from {} ends well in {PEACEFUL_RUNS} runs", dir.name);
        Err(Violation::new(Promise::Finishes, expected, last))
    }

    /// Somebody else downloads it.
    pub(crate) async fn read(
        &self,
        work: &Work,
        done: &Uploaded,
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let dir = self.world.data_dir("reader", &MemoryDisk::new());
        let life = dir.machine.start(End::Natural, None, &self.world.fate);
        let process = self.world.process(&dir, life, false);
        let found = download(&process, work, done).await;
        dir.machine.forget_lives();
        found
    }

    pub(crate) async fn read_back(&self, done: &Uploaded) -> Checked {
        match self.read(&self.work, done).await {
            Ok(files) if files == self.work.files => Ok(()),
            Ok(files) => Err(wrong_bytes(&files)),
            Err(error) => Err(Violation::new(Promise::I3, "the bytes that were uploaded", error)),
        }
    }

    /// Sessions that nobody has finished: of an earlier version of the source, of somebody who worked
    /// beside. Each can be gone on with by its name, from its own files alone.
    pub(crate) async fn resume_rest(&mut self) -> Checked {
        for dir in self.dirs.clone() {
            for session in self.sessions(&dir).await? {
                if !session.finished && session.handed_over.is_none() {
                    self.resume(&dir, &session.id).await?;
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn resume(&mut self, dir: &DataDir, session: &str) -> Checked {
        let mut last = String::new();
        for _ in 0..PEACEFUL_RUNS {
            let before = self.before();
            let life = dir.machine.start(End::Natural, None, &self.world.fate);
            let process = self.world.process(dir, life, true);
            let options = self.work.how.options();
            let resumed = process.client.resume(session, &self.world.payer, None, options);
            let result = Box::pin(resumed).await;
            let handles = (process.handles.open(), process.handles.most());
            drop(process);
            dir.machine.forget_lives();
            let (ended, lost) = match &result {
                Ok(_) => (true, false),
                Err(error) => {
                    last = format!("{error} ({error:?})");
                    (false, is_lost(error))
                }
            };
            self.judge(dir, (Came::Ended(Box::new(result)), handles), before, false)?;
            // What is in no spill and has no source any more is lost; it was not paid for.
            if ended || lost && self.world.sabotage == Some(Sabotage::SpillForgotten) {
                return Ok(());
            }
            if lost {
                return self.upload_again(dir, session).await;
            }
            self.world.wait(PEACEFUL_PAUSE).await;
        }
        let expected = format!("session {session} of {} is resumed and ends well", dir.name);
        Err(Violation::new(Promise::Finishes, expected, last))
    }

    /// Does as an error about lost chunks says: the source of the session is uploaded again, from a copy
    /// of what it was then, and the session ends well.
    async fn upload_again(&mut self, dir: &DataDir, session: &str) -> Checked {
        self.world.fate.note(format_args!("its source is uploaded again"));
        for version in self.versions.iter().rev().cloned().collect::<Vec<_>>() {
            self.finish_in(dir, version).await?;
            let sessions = self.sessions(dir).await?;
            if sessions.iter().any(|known| known.id == session && known.finished) {
                return Ok(());
            }
        }
        let expected = format!("{session} of {} ends well with its source", dir.name);
        Err(Violation::new(Promise::Finishes, expected, "no version of it goes on with it"))
    }

    /// The sessions of a data directory, none of them damaged.
    pub(crate) async fn sessions(&self, dir: &DataDir) -> Checked<Vec<SessionStatus>> {
        let hostile = self.world.fate.is_hostile();
        self.world.fate.set_hostile(false);
        let life = dir.machine.start(End::Natural, None, &self.world.fate);
        let sessions = self.world.process(dir, life, false).client.sessions().await;
        dir.machine.forget_lives();
        self.world.fate.set_hostile(hostile);
        let sessions = sessions.map_err(|error| {
            Violation::new(Promise::I6, "sessions are listed in peace", error.to_string())
        })?;
        if let Some(damage) = sessions.iter().find_map(|session| session.damage.clone()) {
            return Err(Violation::new(Promise::I2, "no damaged session", damage));
        }
        Ok(sessions)
    }

    /// A day later nothing is left that nobody needs.
    pub(crate) async fn clean_up(&mut self) -> Checked {
        // What was made by a clock that was ahead is not old before the true time is past it.
        let ahead = Duration::from_secs(self.furthest.unsigned_abs());
        self.world.wait(STALE + ahead).await;
        for dir in self.dirs.clone() {
            let life = dir.machine.start(End::Natural, None, &self.world.fate);
            let process = self.world.process(&dir, life, false);
            let cleaned = process.client.reap().await;
            drop(process);
            dir.machine.forget_lives();
            cleaned.map_err(|error| {
                Violation::new(Promise::I5, "cleaning works in peace", error.to_string())
            })?;
            let sessions = self.sessions(&dir).await?;
            let unfinished = sessions.iter().filter(|session| !session.finished).count();
            Oracle::check_clean(&dir, unfinished)?;
        }
        self.oracle.check(&self.world, &self.dirs)
    }
}

/// Whether sealed chunks are lost that only their source could give again.
fn is_lost(error: &UploadError) -> bool {
    match error {
        UploadError::LostChunks { .. } => true,
        UploadError::PartialUpload { cause: Some(cause), .. } => is_lost(cause),
        UploadError::PartialUpload { failed, .. } => {
            failed.iter().any(|(_, why)| *why == ChunkFailure::LostBytes)
        }
        _ => false,
    }
}

pub(crate) fn wrong_bytes(files: &[(String, Vec<u8>)]) -> Violation {
    let lens: Vec<usize> = files.iter().map(|(_, bytes)| bytes.len()).collect();
    Violation::new(Promise::I3, "the bytes that were uploaded", format!("others: {lens:?}"))
}

/// The files of an upload, as somebody gets them who knows its result alone.
async fn download(
    process: &Process,
    work: &Work,
    done: &Uploaded,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    if work.kind == Kind::Chunk {
        let address = done.public_address.ok_or("no address")?;
        let chunk = process.client.get_chunk(address).await.map_err(|error| error.to_string())?;
        return Ok(vec![(String::new(), chunk.to_vec())]);
    }
    let remote = match (work.how.public, done.public_address) {
        (true, Some(address)) => Remote::Public(address),
        (true, None) => return Err("no public address".to_owned()),
        _ => Remote::DataMap(done.data_map.clone().ok_or("no data map")?),
    };
    let disk = MemoryDisk::new();
    let target = Target::Path {
        disk: Arc::new(disk.clone()),
        path: "back".into(),
        overwrite: Overwrite::Never,
    };
    let got = process.client.download(remote, target, DownloadOptions::default()).await;
    got.map_err(|error| format!("{error} ({error:?})"))?;
    let read = |path: &Path| disk.read(path, u64::MAX).map_err(|error| error.to_string());
    if work.kind != Kind::Directory {
        return Ok(vec![(String::new(), read(Path::new("back"))?)]);
    }
    let entries = durable::entries(&disk, Path::new("back")).into_iter();
    entries
        .map(|(path, _)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, read(&path)?))
        })
        .collect()
}
