//! The power of the disk with session, spill and data map is cut while the upload runs.

use std::path::Path;

use anyhow::Result;

use super::{Done, Scene, loop_disk::LoopDisk};
use crate::{
    found::Found,
    program::{Ran, Running},
};

/// Segments of these uploads.
const SEGMENTS: std::ops::RangeInclusive<usize> = 2..=6;

/// How much of an upload's time is near a stage: a fifth.
const NEAR: f64 = 5.0;

/// What the program says when its disk is gone: a failure, or that some chunks are stored.
const CODES: [i32; 2] = [1, 3];

/// Why no power can be cut here; `None`: it can.
pub(crate) fn why_not(dir: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let tried = LoopDisk::new(dir).and_then(|mut disk| {
        disk.cut()?;
        disk.restore()
    });
    tried.err().map(|error| format!("{error:#}"))
}

pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    let mut random = fastrand::Rng::with_seed(scene.seed);
    let mut disk = LoopDisk::new(scene.dir)?;
    let mut cycle = scene.cycle(random.usize(SEGMENTS)).await?;
    disk.path().clone_into(&mut cycle.home);
    let running = Running::start(cycle.upload())?;
    let ran = cut(scene, &disk, running, &mut random).await?;
    disk.restore()?;
    let done = match ran.code {
        // It says that it is done: then everything is on the disk.
        Some(0) => {
            cycle.check(&ran).await?;
            Done { resumes: 0, missed: true, ..Done::default() }
        }
        None | Some(1 | 3) => {
            cycle.finish().await?;
            Done { resumes: 1, missed: false, ..Done::default() }
        }
        Some(code) => {
            return Err(Found::Exit(format!("exit {code} on a dead disk, not {CODES:?}")).into());
        }
    };
    drop(disk);
    Ok(done)
}

/// Cuts the power at a random moment, and returns how the process ended. Half of the moments are
/// near those that matter most: between signing and the last receipt.
async fn cut(
    scene: &Scene<'_>,
    disk: &LoopDisk,
    mut running: Running,
    random: &mut fastrand::Rng,
) -> Result<Ran> {
    let usual = scene.usual()?.took;
    let delay = if random.bool() {
        let near = if random.bool() { "pay" } else { "store" };
        running.wait_for(|line| line["stage"] == near).await?;
        usual.mul_f64(random.f64() / NEAR)
    } else {
        usual.mul_f64(random.f64())
    };
    let ended = tokio::time::timeout(delay, running.wait_for(|_| false)).await;
    disk.cut()?;
    // Half of them die with their machine; the others live on and must not do anything that they
    // could not write down.
    if ended.is_err() && random.bool() {
        running.kill();
    }
    running.end().await
}
