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
    scenario::{MODES, Scenario, Scene, Task, measure, why_no_power_cuts},
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
    report: Mutex<Report>,
    deadline: Option<Instant>,
}

/// Runs everything; `None`: interrupted.
///
/// # Errors
/// When there is no network, no program or no room. What cycles find is in the report.
pub(crate) fn run(options: &Options) -> Result<Option<Report>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let place = place(options)?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
        // Dropping the work kills the programs, unmounts the disks and ends the networks.
        tokio::select! {
            report = Box::pin(work(options, place.path())) => report.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    let failed = matches!(&result, Ok(Some(report)) if !report.is_good());
    if failed {
        let kept = place.keep();
        eprintln!("what failed is kept below {}", kept.display());
    } else {
        place.close().context("cannot remove the directory of the run")?;
    }
    result
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

async fn work(options: &Options, place: &Path) -> Result<Report> {
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
        report: Mutex::default(),
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
    Ok(shared.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A measured network.
async fn start(shared: &Shared<'_>, place: &Path, network: u64) -> Result<World> {
    let mut world = World::start(&place.join("networks"), &shared.root).await?;
    let dir = place.join(format!("measure-{network}"));
    measure(&mut world, &shared.setting, &dir).await?;
    for mode in MODES {
        if let Some(usual) = world.usual.get(mode) {
            let (took, operations) = (usual.took.as_secs_f64(), usual.operations);
            eprintln!("network {network}: {mode} {took:.2} s, {operations} operations on the disk");
        }
    }
    Ok(world)
}

/// Fills the list of cycles.
fn plan(shared: &Shared<'_>, world: &World, place: &Path) -> Result<()> {
    let lock = |task| {
        shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    };
    let mut report = shared.report.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(task) = shared.options.replay {
        report.plan(task.scenario, 1);
        lock(task);
        return Ok(());
    }
    let operations = world.usual.values().map(|usual| usual.operations).max().unwrap_or(0);
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
        (0..of).for_each(|index| lock(Task { scenario, index, of }));
    }
    Ok(())
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
