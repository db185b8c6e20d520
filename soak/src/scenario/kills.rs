//! SIGKILL at each operation on the disk, and at random moments.

use anyhow::Result;

use super::{Done, Scene, USUAL_SEGMENTS};
use crate::{found::Found, program::Running};

/// Segments of the uploads that are killed at random.
const SEGMENTS: std::ops::RangeInclusive<usize> = 2..=12;

/// How often a run that ended before it was killed is replaced by another.
const TRIES: u32 = 5;

/// Half of the cycles die at an operation on the disk, half at any moment.
pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    // In fours: each kind of kill in both modes.
    if (scene.task.index / 2).is_multiple_of(2) {
        return at_operation(scene).await;
    }
    let mut done = Done::default();
    for attempt in 0..TRIES {
        let seed = scene.seed.wrapping_add(attempt.into());
        done = at_random(&Scene { seed, ..*scene }).await?;
        if !done.missed {
            return Ok(done);
        }
    }
    Ok(done)
}

/// All operations in turns, or evenly spread ones when there are fewer cycles than operations.
async fn at_operation(scene: &Scene<'_>) -> Result<Done> {
    let operations = scene.usual()?.operations.max(1);
    let (turn, turns) = (scene.task.index / 4, (scene.task.of / 4).max(1));
    let at = if turns < operations { 1 + turn * operations / turns } else { 1 + turn % operations };
    let cycle = scene.cycle(USUAL_SEGMENTS).await?;
    let ran = crate::program::run(cycle.upload_with(&format!("kill:{at}"))).await?;
    if let Some(code) = ran.code {
        if code != 0 {
            return Err(Found::Exit(format!("not killed, but {}", ran.said())).into());
        }
        // The number of operations differs a little with what the nodes answer first.
        cycle.check(&ran).await?;
        return Ok(Done { resumes: 0, missed: true, ..Done::default() });
    }
    cycle.finish().await?;
    Ok(Done { resumes: 1, missed: false, ..Done::default() })
}

async fn at_random(scene: &Scene<'_>) -> Result<Done> {
    let usual = scene.usual()?.took;
    let mut random = fastrand::Rng::with_seed(scene.seed);
    let cycle = scene.cycle(random.usize(SEGMENTS)).await?;
    let delay = usual.mul_f64(random.f64());
    let ran = Running::start(cycle.upload())?.end_after(delay).await?;
    match ran.code {
        None => {}
        Some(0) => {
            cycle.check(&ran).await?;
            return Ok(Done { resumes: 0, missed: true, ..Done::default() });
        }
        Some(_) => return Err(Found::Exit(format!("not killed, but {}", ran.said())).into()),
    }
    let mut resumes = 1;
    // One in four is killed again on its way.
    if random.u8(..4) == 0 {
        let ran =
            Running::start(cycle.resume().await?)?.end_after(usual.mul_f64(random.f64())).await?;
        if ran.code == Some(0) {
            cycle.check(&ran).await?;
            return Ok(Done { resumes, missed: false, ..Done::default() });
        }
        resumes += 1;
    }
    cycle.finish().await?;
    Ok(Done { resumes, missed: false, ..Done::default() })
}
