//! The run: networks side by side that take cycle after cycle from one list.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::fs::statvfs;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cycle::Setting,
    options::Options,
    report::Report,
    scenario::{Scenario, Scene, Task, measure, why_no_power_cuts},
    way::Way,
    world::World,
};

/// Memory that must be free for a run that writes there, in bytes: 2 GiB. Two networks with their
/// chains and images take some 300 MiB.
const MEMORY_BYTES: u64 = 2 << 30;

/// The usual directory in memory.
const MEMORY: &str = "/dev/shm";

/// What the networks share.
struct Shared<'a> {
    setting: Setting,
    root: PathBuf,
    seed: u64,
    options: &'a Options,
    tasks: Mutex<VecDeque<Task>>,
    report: &'a Mutex<Report>,
    deadline: Option<Instant>,
}

/// How a run ended.
pub(crate) enum Ended {
    /// All cycles were run, or there was no more time.
    Whole(Report),
    /// Ctrl-C; what was found before it.
    Interrupted(Report),
}

/// Runs everything.
///
/// # Errors
/// When there is no network, no program or no room. What cycles find is in the report.
pub(crate) fn run(options: &Options) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let place = place(options)?;
    let report = Mutex::default();
    let worked = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
        // Dropping the work kills the programs, unmounts the disks and ends the networks.
        tokio::select! {
            worked = Box::pin(work(options, place.path(), &report)) => worked.map(|()| true),
            _ = interrupt.recv() => Ok(false),
            _ = terminate.recv() => Ok(false),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    if report.is_good() {
        place.close().context("cannot remove the directory of the run")?;
    } else {
        let kept = place.keep();
        eprintln!("what failed is kept below {}", kept.display());
    }
    Ok(if worked? { Ended::Whole(report) } else { Ended::Interrupted(report) })
}

/// A directory of our own, in memory where there is room.
fn place(options: &Options) -> Result<tempfile::TempDir> {
    let in_memory = || {
        let free = statvfs(MEMORY).map_or(0, |it| it.f_bavail.saturating_mul(it.f_frsize));
        (free >= MEMORY_BYTES).then(|| PathBuf::from(MEMORY))
    };
    let parent = options.dir.clone().or_else(in_memory).unwrap_or_else(std::env::temp_dir);
    let place = tempfile::Builder::new().prefix("spillway-soak-").tempdir_in(&parent);
    place.with_context(|| format!("cannot write to {}", parent.display()))
}

async fn work(options: &Options, place: &Path, report: &Mutex<Report>) -> Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    eprintln!("seed {seed}");
    let program = options.program.canonicalize().context("no program")?;
    let root = options.root.canonicalize().context("no workspace")?;
    let minutes = options.minutes().map(|minutes| Duration::from_secs(60 * minutes));
    let shared = Shared {
        setting: Setting { program },
        root,
        seed,
        options,
        tasks: Mutex::default(),
        report,
        deadline: minutes.map(|minutes| Instant::now() + minutes),
    };
    let first = start(&shared, place, 0).await?;
    plan(&shared, &first, place)?;
    let networks = if options.replay.is_some() { 1 } else { options.networks };
    let mut worlds = vec![first];
    for network in 1..networks {
        worlds.push(start(&shared, place, network).await?);
    }
    let working =
        (0..).zip(worlds).map(|(index, world)| Box::pin(drain(&shared, place, index, world)));
    futures::future::try_join_all(working).await?;
    Ok(())
}

/// A measured network.
async fn start(shared: &Shared<'_>, place: &Path, network: u64) -> Result<World> {
    let mut world = World::start(&place.join("networks"), &shared.root).await?;
    let dir = place.join(format!("measure-{network}"));
    measure(&mut world, &shared.setting, &dir).await?;
    for (way, usual) in &world.usual {
        let (took, operations) = (usual.took.as_secs_f64(), usual.operations);
        let way = way.name();
        eprintln!("network {network}: {way} {took:.2} s, {operations} operations on the disk");
    }
    Ok(world)
}

/// Fills the list of cycles.
fn plan(shared: &Shared<'_>, world: &World, place: &Path) -> Result<()> {
    let mut report = shared.report.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(task) = shared.options.replay {
        report.plan(task.scenario, 1);
        shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
        return Ok(());
    }
    let usual = [Way::Direct, Way::Batch].map(|way| world.usual.get(&way));
    let operations = usual.into_iter().flatten().map(|usual| usual.operations).max().unwrap_or(0);
    let mut counts = Vec::new();
    for (scenario, of) in shared.options.counts(operations) {
        if scenario == Scenario::PowerCuts && of > 0 {
            let dir = place.join("try");
            std::fs::create_dir(&dir).context("cannot make a directory")?;
            let why = why_no_power_cuts(&dir);
            std::fs::remove_dir_all(&dir).context("cannot remove a directory")?;
            if let Some(why) = why {
                eprintln!("skipped: power cuts ({why})");
                report.skip(scenario, why);
                continue;
            }
        }
        report.plan(scenario, of);
        counts.push((scenario, of));
    }
    let tasks = in_turns(&counts, shared.seed);
    *shared.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks.into();
    Ok(())
}

/// All cycles of all scenarios: the scenarios in turns, in proportion to how many they have, and each
/// scenario's in random order. So whatever a deadline leaves of the list is the same share of each
/// scenario, and of each scenario no particular part.
fn in_turns(counts: &[(Scenario, u64)], seed: u64) -> Vec<Task> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut placed = Vec::new();
    for &(scenario, of) in counts {
        let mut indices: Vec<u64> = (0..of).collect();
        random.shuffle(&mut indices);
        for (place, index) in (0_u64..).zip(indices) {
            // The middle of its share of the whole, in 2^32 parts: no more than 2^31 cycles.
            placed.push((((2 * place + 1) << 32) / (2 * of), Task { scenario, index, of }));
        }
    }
    placed.sort_by_key(|&(place, _)| place);
    placed.into_iter().map(|(_, task)| task).collect()
}

/// Takes cycles from the list until there are no more, or no time.
async fn drain(shared: &Shared<'_>, place: &Path, network: u64, mut world: World) -> Result<()> {
    loop {
        let is_late = shared.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let next = || shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(task) = (!is_late).then(next).flatten() else { break };
        let dir = place.join(task.to_string().replace([':', '/'], "-"));
        let scene = Scene {
            world: &world,
            setting: &shared.setting,
            task,
            dir: &dir,
            seed: task.seed(shared.seed),
        };
        std::fs::create_dir_all(&dir).context("cannot make a directory")?;
        let started = Instant::now();
        let done = Box::pin(scene.run()).await;
        let took = started.elapsed();
        if shared.options.verbose {
            let done = done.as_ref().map_or("failed".to_owned(), |done| format!("{done:?}"));
            eprintln!("{task} {:.2} s {done}", took.as_secs_f64());
        }
        shared.report.lock().unwrap_or_else(PoisonError::into_inner).note(task, &done, took);
        world.cycles += 1;
        match &done {
            Ok(_) => std::fs::remove_dir_all(&dir).context("cannot remove a directory")?,
            Err(error) => complain(shared, task, error, &dir),
        }
        if done.is_err() || world.is_old().await? {
            // After a failure nobody knows how the chain is.
            world.shutdown().await?;
            world = start(shared, place, network).await?;
        }
    }
    world.shutdown().await
}

fn complain(shared: &Shared<'_>, task: Task, error: &anyhow::Error, dir: &Path) {
    eprintln!(
        "FAILED {task}: {error:#}\n  kept: {}\n  alone: cargo xtask soak --seed {} --replay {task}",
        dir.display(),
        shared.seed,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_deadline_cuts_all_scenarios_alike() {
        let counts = [
            (Scenario::Chain, 30),
            (Scenario::Edits, 2),
            (Scenario::PowerCuts, 0),
            (Scenario::Kills, 100),
        ];
        let tasks = in_turns(&counts, 7);
        assert_eq!(tasks.len(), 132);
        let all: BTreeSet<String> = tasks.iter().map(Task::to_string).collect();
        assert_eq!(all.len(), 132);
        for cut in [33, 66, 99] {
            for (scenario, of) in counts {
                let done = tasks[..cut].iter().filter(|task| task.scenario == scenario).count();
                let share = usize::try_from(of).unwrap() * cut / 132;
                assert!(done.abs_diff(share) <= 1, "{scenario:?}: {done} of {cut}, not {share}");
            }
        }
        // Which operations are not killed any more is chance, not always the last ones.
        let early = |task: &&Task| task.scenario == Scenario::Kills && task.index < 50;
        let early = tasks[..66].iter().filter(early).count();
        assert!((15..=35).contains(&early), "{early} of the first 50");
    }
}
