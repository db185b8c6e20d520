//! SIGKILL at each operation on the disk, and at random moments.

use anyhow::Result;
use fastrand::Rng;

use super::{Done, Scene, USUAL_SEGMENTS};
use crate::{
    cycle::Cycle,
    found::Found,
    program::{self, Ran, Running},
};

/// Segments of the uploads that are killed at random.
const SEGMENTS: std::ops::RangeInclusive<usize> = 2..=12;

/// How often a run that ended before it was killed is replaced by another.
const TRIES: u32 = 5;

/// Half of the cycles die at an operation on the disk, half at any moment.
pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    // In fours: each kind of kill, paid direct and in batches.
    if (scene.task.index / 2).is_multiple_of(2) {
        return at_operation(scene).await;
    }
    let mut done = Done::default();
    for attempt in 0..TRIES {
        let seed = scene.seed.wrapping_add(attempt.into());
        // Beside what the one before has finished, nothing would be there to go on with when this one
        // dies before it has a session of its own.
        let dir = scene.dir.join(attempt.to_string());
        done = at_random(&Scene { seed, dir: &dir, ..*scene }).await?;
        if !done.missed {
            return Ok(done);
        }
    }
    Ok(done)
}

/// All operations in turns, or evenly spread ones when there are fewer cycles than operations. One
/// in four is killed again, at an operation of its resume.
async fn at_operation(scene: &Scene<'_>) -> Result<Done> {
    let operations = scene.usual()?.operations.max(1);
    let (turn, turns) = (scene.task.index / 4, (scene.task.of / 4).max(1));
    let at = if turns < operations { 1 + turn * operations / turns } else { 1 + turn % operations };
    let mut random = Rng::with_seed(scene.seed);
    let cycle = scene.cycle(USUAL_SEGMENTS).await?;
    let ran = program::run(cycle.upload_with(&format!("kill:{at}"))).await?;
    if !was_killed(&cycle, &ran).await? {
        // The number of operations differs a little with what the nodes answer first.
        return Ok(Done { resumes: 0, missed: true, ..Done::default() });
    }
    if random.u8(..4) > 0 {
        return go_on(&cycle, None).await;
    }
    // About as many as were left: later ones it does not come to.
    let again = random.u64(1..=operations.saturating_sub(at).max(1));
    let mut resume = cycle.resume().await?;
    resume.env(program::DISK_FAULT, format!("kill:{again}"));
    go_on(&cycle, Some(program::run(resume).await?)).await
}

/// At any moment; one in four is killed again on its way.
async fn at_random(scene: &Scene<'_>) -> Result<Done> {
    let usual = scene.usual()?.took;
    let mut random = Rng::with_seed(scene.seed);
    let cycle = scene.cycle(random.usize(SEGMENTS)).await?;
    let delay = usual.mul_f64(random.f64());
    let ran = Running::start(cycle.upload())?.end_after(delay).await?;
    if !was_killed(&cycle, &ran).await? {
        return Ok(Done { resumes: 0, missed: true, ..Done::default() });
    }
    if random.u8(..4) > 0 {
        return go_on(&cycle, None).await;
    }
    let delay = usual.mul_f64(random.f64());
    let again = Running::start(cycle.resume().await?)?.end_after(delay).await?;
    go_on(&cycle, Some(again)).await
}

/// Whether a run that was to be killed was; if it ended before, it must have done everything.
async fn was_killed(cycle: &Cycle<'_>, ran: &Ran) -> Result<bool> {
    match ran.code {
        None => Ok(true),
        Some(0) => cycle.check(ran).await.map(|()| false),
        Some(_) => Err(Found::Exit(format!("not killed, but {}", ran.said())).into()),
    }
}

/// After as many resumes as kills everything is done.
async fn go_on(cycle: &Cycle<'_>, again: Option<Ran>) -> Result<Done> {
    let mut resumes = 1;
    if let Some(ran) = again {
        if !was_killed(cycle, &ran).await? {
            return Ok(Done { resumes, ..Done::default() });
        }
        resumes += 1;
    }
    cycle.finish().await?;
    Ok(Done { resumes, ..Done::default() })
}
