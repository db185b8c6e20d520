//! One upload and one download of the same thing, compared.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::compare;
use crate::figures::megabytes_per_second;
use crate::spillway::{Run, Spillway};

/// Nodes of the network in the demonstration and the benchmark.
pub(crate) const NODES: u32 = 20;

/// An upload and a download that gave the same bytes back.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// The plain bytes.
    pub(crate) bytes: u64,
    /// The upload.
    pub(crate) upload: Run,
    /// The download.
    pub(crate) download: Run,
}

impl Transfer {
    /// Uploads `source`, downloads it beside `spillway.scratch`, compares, and removes the copy.
    ///
    /// # Errors
    /// When either fails, or when what came down is not what went up.
    pub(crate) fn run(spillway: &Spillway<'_>, source: &Path, name: &str) -> Result<Self> {
        let bytes = compare::total_bytes(source)?;
        let data_map = spillway.scratch.join(format!("{name}.datamap"));
        let copy = spillway.scratch.join(format!("{name}.copy"));
        let upload = spillway.upload(source, &data_map)?;
        let download = spillway.download(&data_map, &copy)?;
        compare::same(source, &copy).context("the download is not what was uploaded")?;
        if copy.is_dir() { fs::remove_dir_all(&copy) } else { fs::remove_file(&copy) }
            .with_context(|| format!("cannot remove {}", copy.display()))?;
        Ok(Self { bytes, upload, download })
    }

    /// MB (10⁶ bytes) a second up, from the program's start to its end.
    pub(crate) fn upload_rate(&self) -> f64 {
        megabytes_per_second(self.bytes, self.upload.elapsed)
    }

    /// MB (10⁶ bytes) a second down, from the program's start to its end.
    pub(crate) fn download_rate(&self) -> f64 {
        megabytes_per_second(self.bytes, self.download.elapsed)
    }

    /// The larger peak of the two clients.
    pub(crate) fn peak_rss_bytes(&self) -> Option<u64> {
        self.upload.peak_rss_bytes.max(self.download.peak_rss_bytes)
    }
}
