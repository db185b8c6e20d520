//! What is done to uploads. Each scenario is a file; a cycle of it is one upload.

mod chain;
mod edits;
mod failures;
mod kills;
mod loop_disk;
mod power_cuts;
mod processes;

use std::{path::Path, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{
    cycle::{Cycle, Setting},
    program,
    way::Way,
    world::{Usual, World},
};

pub(crate) use power_cuts::why_not as why_no_power_cuts;

/// Segments of the upload that is measured, and of those that are compared with it.
pub(crate) const USUAL_SEGMENTS: usize = 3;

/// The kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// SIGKILL.
    Kills,
    /// A file system that stops at once.
    PowerCuts,
    /// An operation on the disk that fails.
    Failures,
    /// A chain and an RPC server that do what they do.
    Chain,
    /// Two processes at once.
    Processes,
    /// A source that is edited.
    Edits,
}

/// One cycle: which of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) scenario: Scenario,
    pub(crate) index: u64,
    pub(crate) of: u64,
}

/// What a cycle needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    pub(crate) setting: &'a Setting,
    pub(crate) task: Task,
    pub(crate) dir: &'a Path,
    pub(crate) seed: u64,
}

/// What a cycle took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// How often the upload was gone on with.
    pub(crate) resumes: u64,
    /// Whether the trouble came too late, or not at all.
    pub(crate) missed: bool,
    /// What the trouble was, where a scenario has several.
    pub(crate) what: &'static str,
}

impl Scenario {
    /// As the table and `--replay` name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kills => "kills",
            Self::PowerCuts => "power-cuts",
            Self::Failures => "failures",
            Self::Chain => "chain",
            Self::Processes => "processes",
            Self::Edits => "edits",
        }
    }
}

impl Task {
    /// The seed of this cycle alone.
    pub(crate) fn seed(self, seed: u64) -> u64 {
        // SplitMix64's step: neighbours have nothing in common.
        let step = (self.scenario as u64) << 32 | self.index;
        let mut mixed = seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 27
    }

    /// How it is paid: direct and in batches in turns, and a quarter of all in several batches.
    /// Eight in a row have the same, so that each meets every kind of trouble.
    pub(crate) fn way(self) -> Way {
        // A hundred segments would be 34 batches.
        let is_long = matches!(self.scenario, Scenario::Edits | Scenario::Processes);
        match (self.index % 2, self.index / 8 % 4) {
            (0, _) => Way::Direct,
            (_, 1) if !is_long => Way::OneByOne,
            (_, 3) if !is_long => Way::Together,
            _ => Way::Batch,
        }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.scenario.name(), self.index, self.of)
    }
}

impl FromStr for Task {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once(':').and_then(|(name, rest)| {
            let (index, of) = rest.split_once('/')?;
            Some((name, index.parse().ok()?, of.parse().ok()?))
        });
        let Some((name, index, of)) = parts else { bail!("expected kills:17/1000, or the like") };
        let scenario = Scenario::from_str(name, false).map_err(anyhow::Error::msg)?;
        ensure!(of > 0 && index < of, "the first is 0, the last one less than their number");
        Ok(Self { scenario, index, of })
    }
}

impl<'a> Scene<'a> {
    /// A new upload in the directory of this cycle: of so many segments, or some more where there
    /// are to be several batches.
    pub(crate) async fn cycle(&self, segments: usize) -> Result<Cycle<'a>> {
        let way = self.task.way();
        let what = (way, segments + way.more());
        Cycle::new(self.world, self.setting, (self.dir, self.seed), what).await
    }

    /// What an upload takes here without trouble.
    pub(crate) fn usual(&self) -> Result<Usual> {
        self.world.usual.get(&self.task.way()).copied().context("nothing was measured")
    }

    /// The cycle.
    pub(crate) async fn run(&self) -> Result<Done> {
        match self.task.scenario {
            Scenario::Kills => kills::cycle(self).await,
            Scenario::PowerCuts => power_cuts::cycle(self).await,
            Scenario::Failures => failures::cycle(self).await,
            Scenario::Chain => chain::cycle(self).await,
            Scenario::Processes => processes::cycle(self).await,
            Scenario::Edits => edits::cycle(self).await,
        }
    }
}

/// Uploads once in each way without trouble, and notes what that takes.
pub(crate) async fn measure(world: &mut World, setting: &Setting, dir: &Path) -> Result<()> {
    for way in Way::ALL {
        let (place, seed) = (dir.join(way.name()), fastrand::u64(..));
        let what = (way, USUAL_SEGMENTS + way.more());
        let cycle = Cycle::new(world, setting, (&place, seed), what).await?;
        let ran = program::run(cycle.upload_with("io:0")).await?;
        cycle.check(&ran).await.context("an upload without any trouble")?;
        let operations = ran.disk_operations().context("the test hook counts nothing")?;
        let usual = Usual { took: ran.took, operations };
        world.usual.insert(way, usual);
    }
    std::fs::remove_dir_all(dir).context("cannot remove a directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_as_it_is_read() {
        for text in ["kills:17/1000", "power-cuts:0/1", "chain:299/300"] {
            assert_eq!(text.parse::<Task>().unwrap().to_string(), text);
        }
        for bad in ["kills", "kills:17", "kills:1/1", "kills:0/0", "burns:1/2"] {
            bad.parse::<Task>().unwrap_err();
        }
    }

    #[test]
    fn a_quarter_is_paid_in_several_batches() {
        let ways = |scenario| {
            let tasks = (0..32).map(move |index| Task { scenario, index, of: 32 });
            Way::ALL.map(|way| tasks.clone().filter(|task| task.way() == way).count())
        };
        assert_eq!(ways(Scenario::Kills), [16, 8, 4, 4]);
        assert_eq!(ways(Scenario::Chain), [16, 8, 4, 4]);
        assert_eq!(ways(Scenario::Edits), [16, 16, 0, 0]);
    }

    #[test]
    fn every_task_has_a_seed_of_its_own() {
        let task = |scenario, index| Task { scenario, index, of: 100 };
        let mut seeds = std::collections::BTreeSet::new();
        for index in 0..100 {
            seeds.insert(task(Scenario::Kills, index).seed(1));
            seeds.insert(task(Scenario::Chain, index).seed(1));
            seeds.insert(task(Scenario::Kills, index).seed(2));
        }
        assert_eq!(seeds.len(), 300);
    }
}
