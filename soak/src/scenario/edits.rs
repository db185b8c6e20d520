//! One byte of the source is changed when half of it is stored.

use std::{
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
};

use anyhow::{Context, Result};
use spillway_types::limits::SEGMENT_BYTES;

use super::{Done, Scene};
use crate::{
    found::Found,
    program::{self, Running},
};

/// As many as one direct payment takes.
const SEGMENTS: usize = 100;

/// The key of a segment is made of its own hash and those of the two before it, so one edit
/// changes three chunks.
const CHANGED: usize = 3;

pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    let mut random = fastrand::Rng::with_seed(scene.seed);
    let cycle = scene.cycle(SEGMENTS).await?;
    let before = scene.world.chunks();
    let mut running = Running::start(cycle.upload())?;
    if !running.wait_for(|line| line["stage"] == "store").await? {
        let ran = running.end().await?;
        return Err(Found::Exit(format!("it never stored: {}", ran.said())).into());
    }
    let half = before + random.usize(SEGMENTS / 4..=SEGMENTS * 3 / 4);
    let is_half = async {
        while scene.world.chunks() < half {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(false)
    };
    tokio::select! {
        ended = running.wait_for(|_| false) => ended,
        is_half = is_half => is_half,
    }?;
    running.kill();
    let missed = running.end().await?.code == Some(0);
    cycle.check_money(SEGMENTS).await?;

    let mut file = OpenOptions::new().write(true).open(&cycle.file).context("the file")?;
    // Behind the noise at the head of a segment there is only a hole; the last one is short.
    let at = random.usize(..SEGMENTS - 1) * SEGMENT_BYTES + random.usize(1_000..SEGMENT_BYTES);
    file.seek(SeekFrom::Start(at as u64)).context("the file")?;
    file.write_all(&[0xa5]).context("cannot edit the file")?;
    drop(file);

    let ran = program::run(cycle.upload()).await?;
    if ran.code != Some(0) {
        return Err(Found::Unfinished(format!("after an edit: {}", ran.said())).into());
    }
    cycle.check_all(SEGMENTS + CHANGED).await?;
    Ok(Done { resumes: 1, missed, ..Done::default() })
}
