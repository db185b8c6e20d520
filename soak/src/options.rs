use std::path::PathBuf;

use clap::Parser;

use crate::scenario::{Scenario, Task};

/// The figures of a full run.
const KILLS: u64 = 1_000;
const POWER_CUTS: u64 = 500;
const CHAIN: u64 = 300;
const EDITS: u64 = 20;
const PROCESSES: u64 = 100;

/// How long a tenth may take, in minutes.
const TENTH_MINUTES: u64 = 8;

/// Kill, starve and cheat real uploads, and check that nothing is paid twice or lost.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak")]
pub(crate) struct Options {
    /// The built `spillway` [set by xtask]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: PathBuf,
    /// The workspace [set by xtask]
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) root: PathBuf,
    /// Uploads that are killed [default: 1000]
    #[arg(long, value_name = "N")]
    kills: Option<u64>,
    /// Uploads whose power is cut; needs root [default: 500]
    #[arg(long, value_name = "N")]
    power_cuts: Option<u64>,
    /// Uploads on a chain with faults [default: 300]
    #[arg(long, value_name = "N")]
    chain: Option<u64>,
    /// Files that are edited when half of them is stored [default: 20]
    #[arg(long, value_name = "N")]
    edits: Option<u64>,
    /// Pairs of processes [default: 100]
    #[arg(long, value_name = "N")]
    processes: Option<u64>,
    /// Uploads of which one operation on the disk fails [default: two for each operation, and until
    /// a clean pass]
    #[arg(long, value_name = "N")]
    failures: Option<u64>,
    /// A tenth of everything, and no more than eight minutes; fails when less than half of the kills
    /// or of the chain's troubles are done
    #[arg(long)]
    pub(crate) tenth: bool,
    /// Start no cycle after so many minutes
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Where all random choices come from [default: another one in each run]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// One cycle only, as a failure names it: kills:17/1000
    #[arg(long, value_name = "CYCLE")]
    pub(crate) replay: Option<Task>,
    /// Where everything is written [default: in memory where there is room, else the directory for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Networks that work side by side
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub(crate) networks: u64,
    /// Tell of every cycle
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Print JSON, one object a line, in place of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// How many cycles of each scenario. An upload without trouble has so many operations on the
    /// disk.
    pub(crate) fn counts(&self, operations: u64) -> [(Scenario, u64); 6] {
        let share = |count: u64| if self.tenth { count.div_ceil(10) } else { count };
        let of = |asked: Option<u64>, usual: u64| asked.unwrap_or_else(|| share(usual));
        // In both modes two of the four ways to fail, and the clean pass.
        let failures = 4 * (operations + 1);
        [
            (Scenario::Chain, of(self.chain, CHAIN)),
            (Scenario::Edits, of(self.edits, EDITS)),
            (Scenario::Processes, of(self.processes, PROCESSES)),
            (Scenario::PowerCuts, of(self.power_cuts, POWER_CUTS)),
            (Scenario::Failures, of(self.failures, failures)),
            (Scenario::Kills, of(self.kills, KILLS)),
        ]
    }

    /// After how many minutes no cycle is started any more.
    pub(crate) fn minutes(&self) -> Option<u64> {
        // A cycle that waits for fees or nonces takes a minute, and networks have to end.
        self.minutes.or(self.tenth.then_some(TENTH_MINUTES - 1))
    }
}
