//! What happens in one simulation, as the seed draws it.

use std::time::Duration;

use fastrand::Rng;
use spillway_disk::{Fault, FaultPlan, Survival};
use spillway_pay::Mining;

use crate::{
    Death, End, Sabotage, Strike,
    work::Work,
    world::{About, PEERS, WorldOptions},
};

/// Runs in the hostile phase at most.
const MAX_RUNS: usize = 3;

/// Nodes that may lie, at most: of ten that are asked five are honest then.
const MAX_LIARS: usize = 5;

/// Everything that is drawn before it begins.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub world: WorldOptions,
    pub work: Work,
    pub runs: Vec<Run>,
    /// Sessions that were left are gone on with, too.
    pub resume_rest: bool,
    /// What becomes of the money of batches is looked at, too.
    pub settle: bool,
    /// Copies are lost after the upload, and stored again; after so much time.
    pub repair: Option<Duration>,
}

/// One run of the hostile phase, and what happens before it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub before: Vec<Before>,
    pub end: End,
    pub disk_fault: Option<FaultPlan>,
    pub beside: Option<Beside>,
    /// Seconds that the client's clock is ahead in this run.
    pub clock_ahead: i64,
}

/// What happens before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Edit,
    Truncate,
    Rename,
    Rot,
    Wait(Duration),
    Clean,
    /// All sessions go on in another data directory; the process that hands over may end so, and so may
    /// the one that takes.
    HandOver(End, End),
}

/// Who works at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Another process on the same data directory with the same source.
    SameSource,
    /// Another process on the same data directory with a source that shares chunks.
    Sibling,
    /// Another data directory of the same user.
    Directory,
    /// Another machine with the same wallet.
    Machine,
    /// Somebody who lists sessions and cleans.
    Housekeeping,
}

impl Scenario {
    pub(crate) fn draw(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let random = &mut Rng::with_seed(seed ^ 0x5ce0_a210);
        let mining = if random.bool() { Mining::Automatic } else { Mining::Manual };
        let confirmations = if random.u8(..4) == 0 { random.u16(1..=3) } else { 0 };
        let liars =
            (0..random.usize(1..=MAX_LIARS)).map(|_| (random.usize(..PEERS), About::draw(random)));
        let liars = liars.collect();
        let runs = (0..random.usize(1..=MAX_RUNS)).map(|_| Run::draw(random)).collect();
        let work = Work::draw(random);
        let repair = (random.u8(..3) == 0).then(|| {
            // Within the window chunks are put again, after it they are offered.
            Duration::from_hours(if random.bool() { 0 } else { 24 * 30 })
        });
        Self {
            // Who does not look again can hold nodes to nothing but their receipts.
            world: WorldOptions {
                mining,
                confirmations,
                liars,
                sabotage,
                lossy: work.how.verified,
            },
            work,
            runs,
            resume_rest: random.bool(),
            settle: random.u8(..8) == 0,
            repair,
        }
    }
}

/// From 1 on, small numbers as often as large ones.
fn spread(random: &mut Rng, most: u64) -> u64 {
    let magnitude = random.u64(1..=most.ilog2().into());
    random.u64(1..=(1 << magnitude)).min(most)
}

impl Run {
    fn draw(random: &mut Rng) -> Self {
        let death = death(random);
        let end = match random.u8(..20) {
            0..6 => End::Natural,
            6..12 => End::AtStep(spread(random, 1_000), death),
            12..18 => End::AtChange(spread(random, 200), death),
            _ => End::Stop(spread(random, 1_000)),
        };
        let disk_fault = (random.u8(..5) == 0).then(|| disk_fault(random));
        let beside = match random.u8(..24) {
            0 | 1 => Some(Beside::SameSource),
            2 | 3 => Some(Beside::Sibling),
            4 | 5 => Some(Beside::Directory),
            6 => Some(Beside::Machine),
            7 | 8 => Some(Beside::Housekeeping),
            _ => None,
        };
        let mut before = Vec::new();
        let happenings = [
            (14, Before::Edit),
            (40, Before::Truncate),
            (14, Before::Rename),
            (24, Before::Rot),
            (10, Before::Clean),
            (4, Before::Wait(Duration::from_secs(spread(random, 8_000)))),
            (40, Before::Wait(Duration::from_hours(random.u64(24..60)))),
            (8, Before::HandOver(short_end(random), short_end(random))),
        ];
        for (one_in, happening) in happenings {
            if random.u8(..one_in) == 0 {
                before.push(happening);
            }
        }
        let clock_ahead = if random.u8(..12) == 0 { jump(random) } else { 0 };
        Self { before, end, disk_fault, beside, clock_ahead }
    }

    /// The trouble that is in it, to be counted.
    pub(crate) fn strikes(&self) -> impl Iterator<Item = Strike> + '_ {
        let beside = self.beside.map(|beside| match beside {
            Beside::SameSource | Beside::Sibling => Strike::SecondProcess,
            Beside::Directory => Strike::SecondDirectory,
            Beside::Machine => Strike::SecondMachine,
            Beside::Housekeeping => Strike::Housekeeping,
        });
        let jump = (self.clock_ahead != 0).then_some(Strike::ClockJump);
        beside.into_iter().chain(jump)
    }
}

fn death(random: &mut Rng) -> Death {
    match random.u8(..3) {
        0 => Death::Kill,
        1 => Death::PowerCut(Survival::Nothing),
        _ => Death::PowerCut(Survival::Seeded(random.u64(..))),
    }
}

/// How a process ends that has little to do.
fn short_end(random: &mut Rng) -> End {
    match random.u8(..3) {
        0 => End::Natural,
        1 => End::AtStep(spread(random, 120), death(random)),
        _ => End::AtChange(spread(random, 30), death(random)),
    }
}

/// Up to a year, either way.
fn jump(random: &mut Rng) -> i64 {
    let seconds = i64::try_from(spread(random, 400 * 24 * 3600)).unwrap_or(0);
    if random.bool() { seconds } else { -seconds }
}

fn disk_fault(random: &mut Rng) -> FaultPlan {
    let at = spread(random, 150);
    match random.u8(..6) {
        0 => FaultPlan::once(at, Fault::Full),
        1 => FaultPlan::onwards(at, Fault::Full),
        2 => FaultPlan::once(at, Fault::TooManyOpen),
        3 => FaultPlan::onwards(at, Fault::Io),
        _ => FaultPlan::once(at, Fault::Io),
    }
}

/// What a planned fault is in the counts.
pub(crate) fn strike_of(plan: FaultPlan) -> Strike {
    match (plan.fault, plan.onwards) {
        (Fault::Full, false) => Strike::DiskFull,
        (Fault::Full, true) => Strike::DiskFullOnwards,
        (Fault::TooManyOpen, _) => Strike::DiskNoHandles,
        (_, true) => Strike::DiskDies,
        _ => Strike::DiskError,
    }
}
