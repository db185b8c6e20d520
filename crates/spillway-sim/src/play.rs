//! The play: hostile runs, then peace, in which the upload must come to its end and be readable.

use std::{path::Path, time::Duration};

use futures::future::join;
use spillway_client::{Overwrite, UploadError, Uploaded};
use spillway_disk::{Disk, MemoryDisk};

use crate::{
    End, Fate, Promise, Sabotage, Strike, Violation, durable, money,
    oracle::{Circumstances, Oracle},
    peace,
    picture::Picture,
    scenario::{Before, Beside, Run, Scenario, strike_of},
    work::{Kind, Work},
    world::{DataDir, World},
};

pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// What came of a process.
#[derive(Debug)]
pub(crate) enum Came {
    Died,
    Ended(Box<Result<Uploaded, UploadError>>),
}

/// How an upload of the hostile phase ended, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Whole.
    pub done: u64,
    /// In part.
    pub partial: u64,
    /// With another error.
    pub failed: u64,
    /// With its process.
    pub died: u64,
}

pub(crate) struct Play {
    pub world: World,
    pub oracle: Oracle,
    pub ends: Ends,
    pub work: Work,
    /// Everything that was ever uploaded, as it was then.
    pub versions: Vec<Work>,
    /// The first is the payer's; others come when they are needed.
    pub dirs: Vec<DataDir>,
    locks: MemoryDisk,
    /// Seconds that the client's clock was ahead at most.
    pub furthest: i64,
    /// Data directories that have handed everything over.
    pub left: Vec<&'static str>,
}

impl Play {
    pub(crate) async fn new(fate: Fate, scenario: &Scenario) -> Self {
        let world = World::new(fate, scenario.world.clone()).await;
        let locks = MemoryDisk::new();
        let dirs = vec![world.data_dir("first", &locks)];
        let (oracle, ends) = (Oracle::default(), Ends::default());
        let (work, left) = (scenario.work.clone(), Vec::new());
        let versions = Vec::new();
        Self { world, oracle, ends, work, versions, dirs, locks, furthest: 0, left }
    }

    /// All of it.
    pub(crate) async fn run(&mut self, scenario: &Scenario) -> Checked {
        for run in &scenario.runs {
            for before in &run.before {
                self.happens(*before).await?;
            }
            self.hostile(run).await?;
        }
        self.peace();
        let done = self.finish().await?;
        self.read_back(&done).await?;
        if let Some(after) = scenario.repair {
            self.lose_and_repair(&done, after).await?;
        }
        if scenario.resume_rest {
            self.resume_rest().await?;
        }
        if scenario.settle {
            money::settle_and_refund(&self.world, &mut self.oracle, &self.dirs).await?;
        }
        self.clean_up().await
    }

    fn peace(&mut self) {
        self.world.fate.note(format_args!("peace"));
        self.world.fate.set_hostile(false);
        self.world.sky.calm();
        for member in &self.world.members {
            member.heal_disk();
        }
        for dir in &self.dirs {
            dir.clock.set_ahead(0);
        }
    }

    async fn happens(&mut self, before: Before) -> Checked {
        let fate = self.world.fate.clone();
        match before {
            Before::Edit => {
                fate.count(Strike::SourceEdit);
                fate.draw(|random| self.work.edit(random));
            }
            Before::Truncate => {
                fate.count(Strike::SourceTruncate);
                fate.draw(|random| self.work.truncate(random));
            }
            Before::Rename => {
                fate.count(Strike::SourceRename);
                fate.draw(|random| self.work.rename(random));
            }
            Before::Rot => self.rot(),
            Before::Wait(time) => {
                let over = time >= Duration::from_hours(24);
                fate.count(if over { Strike::WindowOver } else { Strike::TimePasses });
                self.world.wait(time).await;
            }
            Before::Clean => self.housekeeping(&self.dirs[0]).await,
            Before::HandOver(export, import) => self.hand_over((export, import)).await?,
        }
        Ok(())
    }

    /// A bit of a sealed chunk flips, of a source from which it can be sealed again.
    fn rot(&mut self) {
        let disk = self.dirs[0].machine.disk();
        let files = durable::spilled_files(&disk);
        if files.is_empty() || !matches!(self.work.kind, Kind::File | Kind::Directory) {
            return;
        }
        let at = self.world.fate.draw(|random| random.usize(..files.len()));
        let (path, address) = &files[at];
        let Ok(mut bytes) = disk.read(path, u64::MAX) else { return };
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
        if disk.write_durable(path, &bytes, Overwrite::Replace).is_ok() {
            self.world.fate.count(Strike::SpillRot);
            self.oracle.rotten.insert(*address);
        }
    }

    async fn housekeeping(&self, dir: &DataDir) {
        let life = dir.machine.start(End::Natural, None, &self.world.fate);
        let process = self.world.process(dir, life, false);
        // Whatever they say: they may do no harm.
        let _ = process.client.sessions().await;
        let _ = process.client.reap().await;
    }

    /// One run, perhaps with somebody beside it.
    async fn hostile(&mut self, run: &Run) -> Checked {
        for strike in run.strikes() {
            self.world.fate.count(strike);
        }
        let (work, dir) = (self.work.clone(), self.dirs[0].clone());
        dir.clock.set_ahead(run.clock_ahead);
        self.furthest = self.furthest.max(run.clock_ahead);
        let beside = run.beside.and_then(|beside| self.beside(beside));
        self.note_upload(&dir);
        self.versions.push(work.copy());
        if let Some((other, theirs)) = &beside {
            self.note_upload(other);
            self.versions.push(theirs.copy());
        }
        let picture = Picture::of(&work.disk, Path::new(""));
        let before = self.before();
        let mine = self.upload(&dir, &work, run);
        let came = match (&beside, run.beside) {
            (Some((other, theirs)), _) => {
                let quiet = Run { end: End::Natural, disk_fault: None, ..run.clone() };
                let (came, also) = join(mine, self.upload(other, theirs, &quiet)).await;
                (came, Some((other.clone(), also)))
            }
            (None, Some(Beside::Housekeeping)) => {
                (join(mine, self.housekeeping(&dir)).await.0, None)
            }
            _ => (mine.await, None),
        };
        let (came, also) = came;
        dir.clock.set_ahead(0);
        for dir in &self.dirs {
            dir.machine.forget_lives();
        }
        self.sabotage(&dir, &came.0).await;
        if Picture::of(&work.disk, Path::new("")) != picture {
            return Err(Violation::new(Promise::I4, "the source as it was", "it was changed"));
        }
        if let Some((other, also)) = also {
            self.judge(&other, also, before, true)?;
        }
        let done = match &came.0 {
            Came::Ended(result) => result.as_ref().as_ref().ok().cloned(),
            Came::Died => None,
        };
        self.judge(&dir, came, before, beside.is_some())?;
        match done {
            Some(done) => {
                self.read_in_trouble(&work, &done).await?;
                if self.world.fate.draw(|random| random.u8(..4)) == 0 {
                    self.verify_in_trouble(&dir, &done).await?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A download may fail, and gives the right bytes or none.
    async fn read_in_trouble(&mut self, work: &Work, done: &Uploaded) -> Checked {
        match self.read(work, done).await {
            Ok(files) if files != work.files => Err(peace::wrong_bytes(&files)),
            _ => Ok(()),
        }
    }

    pub(crate) fn note_upload(&mut self, dir: &DataDir) {
        *self.oracle.uploads.entry(dir.name).or_default() += 1;
    }

    /// What was so when a run began: what was paid, how often the chain was in trouble.
    pub(crate) fn before(&self) -> (spillway_types::Atto, u64) {
        (self.world.paid(), self.chain_trouble())
    }

    fn chain_trouble(&self) -> u64 {
        let strikes =
            [Strike::ChainRefuse, Strike::ChainLose, Strike::ChainLag, Strike::ChainForget];
        let struck: u64 = strikes.iter().map(|&s| self.world.fate.count_of(s)).sum();
        struck + self.world.sky.reorgs()
    }

    pub(crate) fn judge(
        &mut self,
        dir: &DataDir,
        (came, handles): (Came, (u64, u64)),
        (paid_before, trouble): (spillway_types::Atto, u64),
        others: bool,
    ) -> Checked {
        self.count(&came);
        self.oracle.learn(&self.world, &self.dirs);
        if let Came::Ended(result) = &came
            && let Ok(done) = result.as_ref()
        {
            self.oracle.check_stored(&self.world, (done, self.work.how.verified))?;
        }
        self.oracle.check(&self.world, &self.dirs)?;
        let Came::Ended(result) = came else { return Ok(()) };
        Oracle::check_handles(handles)?;
        // A reorganisation may undo later what was said before, until all is over.
        let stands = !self.world.fate.is_hostile() || self.world.sky.reorgs() == 0;
        let clear = !others && trouble == self.chain_trouble() && stands;
        let about = Circumstances { paid_before, chain_was_clear: clear };
        match *result {
            Ok(mut done) => {
                let reorg = self.world.sky.reorgs() > 0;
                if reorg && self.world.sabotage == Some(Sabotage::UnderstatesSpend) {
                    done.spend.storage_cost = spillway_types::Atto::ZERO;
                }
                self.oracle.check_done(&self.world, dir, &done, about)
            }
            Err(mut error) => {
                if self.world.sabotage == Some(Sabotage::HidesFailure)
                    && let UploadError::PartialUpload { failed, .. } = &mut error
                {
                    failed.pop();
                }
                self.oracle.check_failed(&self.world, dir, &error, about)
            }
        }
    }

    fn count(&mut self, came: &Came) {
        let (what, ends) = (describe(came), &mut self.ends);
        match came {
            Came::Died => ends.died += 1,
            Came::Ended(result) => match result.as_ref() {
                Ok(_) => ends.done += 1,
                Err(UploadError::PartialUpload { .. }) => ends.partial += 1,
                Err(_) => ends.failed += 1,
            },
        }
        self.world.fate.note(format_args!("= {what}"));
    }

    /// Who works at the same time, with what.
    fn beside(&mut self, beside: Beside) -> Option<(DataDir, Work)> {
        let (name, locks) = match beside {
            Beside::Housekeeping => return None,
            Beside::SameSource => return Some((self.dirs[0].clone(), self.work.clone())),
            Beside::Sibling => {
                let sibling = self.world.fate.draw(|random| self.work.sibling(random));
                return Some((self.dirs[0].clone(), sibling));
            }
            Beside::Directory => ("second", self.locks.clone()),
            Beside::Machine => ("distant", MemoryDisk::new()),
        };
        if let Some(known) = self.dirs.iter().find(|dir| dir.name == name) {
            return Some((known.clone(), self.work.clone()));
        }
        let dir = self.world.data_dir(name, &locks);
        self.dirs.push(dir.clone());
        Some((dir, self.work.clone()))
    }

    /// Runs the upload until it ends or its process does.
    pub(crate) async fn upload(&self, dir: &DataDir, work: &Work, run: &Run) -> (Came, (u64, u64)) {
        let life = dir.machine.start(run.end, run.disk_fault, &self.world.fate);
        let process = self.world.process(dir, life.clone(), true);
        let source = work.source(&life, &self.world.fate);
        let came = {
            let uploading =
                Box::pin(process.client.upload(source, &self.world.payer, work.how.options()));
            tokio::select! {
                biased;
                () = life.died().cancelled() => Came::Died,
                result = uploading => {
                    if life.is_dead() { Came::Died } else { Came::Ended(Box::new(result)) }
                }
            }
        };
        if let Some(plan) = run.disk_fault
            && !matches!(run.end, End::AtChange(..))
            && life.disk_has_failed(plan.at)
        {
            self.world.fate.count(strike_of(plan));
        }
        let handles = (process.handles.open(), process.handles.most());
        drop(process);
        (came, handles)
    }
}

fn describe(came: &Came) -> String {
    match came {
        Came::Died => "died".to_owned(),
        Came::Ended(result) => match result.as_ref() {
            Ok(done) => format!("done: {} chunks", done.chunks_total),
            Err(error) => {
                let mut text = error.to_string();
                let mut source = std::error::Error::source(error);
                while let Some(error) = source {
                    text.push_str(": ");
                    text.push_str(&error.to_string());
                    source = error.source();
                }
                text
            }
        },
    }
}
