//! The Nth operation on the disk fails: the disk is full or has an error, once or from then on.

use anyhow::Result;

use super::{Done, Scene, USUAL_SEGMENTS};
use crate::{found::Found, program};

/// What the program says to a disk that fails: a failure, or that some chunks are stored.
const CODES: [i32; 2] = [1, 3];

/// How fails what; each operation meets another one in each mode.
const FAULTS: [(&str, &str); 4] = [("full", ""), ("io", "+"), ("full", "+"), ("io", "")];

pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    let operations = scene.usual()?.operations.max(1);
    let (turn, turns) = (scene.task.index / 2, (scene.task.of / 2).max(1));
    // The last is beyond all: a clean pass.
    let is_last = turn + 1 == turns;
    let at = if is_last {
        operations * 2
    } else if turns < operations {
        1 + turn * operations / turns
    } else {
        1 + turn % operations
    };
    let kind = turn + scene.task.index % 2 * 2 + turn / operations;
    let (fault, onwards) = FAULTS[usize::try_from(kind % 4)?];
    let cycle = scene.cycle(USUAL_SEGMENTS).await?;
    let ran = program::run(cycle.upload_with(&format!("{fault}:{at}{onwards}"))).await?;
    let reached = ran.disk_operations().is_some_and(|count| count >= at);
    match ran.code {
        Some(0) => {
            cycle.check(&ran).await?;
            Ok(Done { resumes: 0, missed: !reached && !is_last, ..Done::default() })
        }
        Some(code) if reached && CODES.contains(&code) => {
            cycle.finish().await?;
            Ok(Done { resumes: 1, missed: false, ..Done::default() })
        }
        _ => {
            Err(Found::Exit(format!("{fault}:{at}{onwards} of {operations}: {}", ran.said()))
                .into())
        }
    }
}
