//! Two processes at once: one upload twice, or one wallet for two.

use anyhow::Result;

use super::{Done, Scene, USUAL_SEGMENTS};
use crate::{
    cycle::Cycle,
    found::Found,
    program::{Ran, Running},
};

/// Segments of the upload that two processes want: it takes longer than a process waits for a lock
/// that others hold for moments, a second.
const LONG_SEGMENTS: usize = 30;

/// Somebody else holds it.
const LOCKED: i32 = 11;

pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    let is_even = (scene.task.index / 2).is_multiple_of(2);
    if is_even { one_session(scene).await } else { one_wallet(scene).await }
}

/// Two processes with everything in common: one works, the other says so.
async fn one_session(scene: &Scene<'_>) -> Result<Done> {
    let cycle = scene.cycle(LONG_SEGMENTS).await?;
    let (one, other) = both(scene, &cycle, &cycle).await?;
    let done = match (one.code, other.code) {
        (Some(0), Some(LOCKED)) => one,
        (Some(LOCKED), Some(0)) => other,
        // One after the other: nothing was left to do.
        (Some(0), Some(0)) => {
            cycle.check_all(cycle.segments).await?;
            return Ok(Done { resumes: 0, missed: true, ..Done::default() });
        }
        _ => return Err(refused(&one, &other)),
    };
    cycle.check(&done).await?;
    Ok(Done::default())
}

/// Two data directories and files, one wallet: each pays for its own, one after the other.
async fn one_wallet(scene: &Scene<'_>) -> Result<Done> {
    let one = scene.cycle(USUAL_SEGMENTS).await?;
    let other = Cycle::new(
        scene.world,
        scene.setting,
        (&scene.dir.join("other"), scene.seed.wrapping_add(1)),
        (scene.task.way(), USUAL_SEGMENTS),
    )
    .await?;
    // The same key and place of wallet locks; another file, data directory and data map.
    let file = other.file.clone();
    let second = one.beside("other-data", file);
    let (first_ran, second_ran) = both(scene, &one, &second).await?;
    let mut resumes = 0;
    for (ran, cycle) in [(&first_ran, &one), (&second_ran, &second)] {
        match ran.code {
            Some(0) => {}
            Some(LOCKED) => {
                let again = crate::program::run(cycle.resume().await?).await?;
                resumes += 1;
                if again.code != Some(0) {
                    return Err(Found::Unfinished(again.said()).into());
                }
            }
            _ => return Err(refused(&first_ran, &second_ran)),
        }
    }
    // One account has paid for both.
    let chunks = one.segments + second.segments;
    one.check_all(chunks).await?;
    second.check_all(chunks).await?;
    Ok(Done { resumes, missed: false, ..Done::default() })
}

async fn both(scene: &Scene<'_>, one: &Cycle<'_>, other: &Cycle<'_>) -> Result<(Ran, Ran)> {
    let mut random = fastrand::Rng::with_seed(scene.seed);
    let first = Running::start(one.upload())?;
    let second = async {
        tokio::time::sleep(scene.usual()?.took.mul_f64(random.f64() / 10.0)).await;
        Running::start(other.upload())?.end().await
    };
    tokio::try_join!(first.end(), second)
}

fn refused(one: &Ran, other: &Ran) -> anyhow::Error {
    Found::Exit(format!("of two processes one says {}, the other {}", one.said(), other.said()))
        .into()
}
