//! Verifying what is stored: the network is asked for every chunk of a data map, how many copies there
//! are is counted, some are read and hashed, and what is short is stored again.
//!
//! Data flows one way: `data map → chunks → close groups → copies → repair`. Chunks go through in
//! windows, so memory does not grow with the file but for the list of its addresses (32 bytes a chunk)
//! and those that are short ([`MAX_REPAIRS`]).
//!
//! Nothing is written to disk and nothing is paid. A proof is kept by the session that paid for it:
//! without one a chunk can be counted and read, and not repaired. The same questions are asked while
//! an upload is verified in the background; see `upload::checking`.
//!
//! Deliberately absent: audits that prove possession without reading, and repair by nodes among
//! themselves.

mod again;
mod count;
mod error;
mod probe;
mod repair;
mod report;
mod sample;
mod walk;

use crate::{
    Client, ClientParts, ProgressSender, Remote, Stage,
    limits::{READ_PERCENT, VERIFY_WINDOW},
};

pub(crate) use again::{look_up, store_with_any};
pub(crate) use probe::{Copy, has, read_copies};

pub use error::{RepairFailure, VerifyError};
pub use report::{BadCopy, NotRepaired, Verified};

use self::{count::count, repair::repair, sample::Sampler};

/// Which chunks' copies are fetched and hashed. Of a chunk that is chosen every copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadData {
    /// None: what peers say is believed.
    None,
    /// So many chunks, chosen at random.
    Chunks(u64),
    /// So many of a hundred, chosen at random, and at least one.
    Percent(u8),
    /// All: up to five times the size of the upload is fetched.
    All,
}

impl Default for ReadData {
    /// Five of a hundred.
    fn default() -> Self {
        Self::Percent(READ_PERCENT)
    }
}

/// How to verify.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Which copies are read.
    pub read: ReadData,
    /// Store again what has fewer than five copies, with a proof that a session of the data directory
    /// keeps.
    pub repair: bool,
    /// Where progress goes: chunks that were counted.
    pub progress: ProgressSender,
}

impl Client {
    /// Counts the copies that the five closest peers have of each chunk of an upload, data maps
    /// included, reads some of them, and repairs what is short if it is told so. A copy that is not
    /// what its peer says counts as none.
    ///
    /// # Errors
    /// When the data map cannot be read to its end, or the network cannot be asked. Chunks that are
    /// short or lost are no error: the report says so.
    ///
    /// # Cancel safety
    /// It may be dropped at any time; what was repaired stays so.
    ///
    /// # Cost
    /// Nothing: what is stored again was paid for.
    pub async fn verify(
        &self,
        remote: Remote,
        options: VerifyOptions,
    ) -> Result<Verified, VerifyError> {
        let parts = &self.parts;
        tokio::select! {
            biased;
            () = parts.stop.cancelled() => Err(VerifyError::Interrupted),
            verified = verify(parts, remote, options) => verified,
        }
    }
}

async fn verify(
    parts: &ClientParts,
    remote: Remote,
    options: VerifyOptions,
) -> Result<Verified, VerifyError> {
    let started = parts.clock.monotonic();
    let VerifyOptions { read, repair: is_repair, progress } = options;
    progress.begin(Stage::Verify, None, None);
    let chunks = walk::chunks(parts, remote).await?;
    let total = chunks.len() as u64;
    progress.begin(Stage::Verify, None, Some(total));
    let mut sampler = Sampler::new(read, total);
    let mut report = Verified { chunks_total: total, ..Verified::default() };
    let mut short = Vec::new();
    for window in chunks.chunks(VERIFY_WINDOW) {
        let chosen = window.iter().map(|_| sampler.choose()).collect();
        for copies in count(parts, window, chosen, &mut report).await? {
            report.count(&mut short, copies);
        }
        progress.add(0, window.len() as u64);
    }
    report.copies_after = report.copies;
    repair(parts, short, is_repair, &mut report).await?;
    report.elapsed = parts.clock.monotonic().saturating_sub(started);
    progress.set_stage(Stage::Done);
    Ok(report)
}
