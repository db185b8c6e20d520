use std::sync::{Arc, OnceLock};

use spillway_pay::{ModeReason, PaymentMode};
use tokio::sync::watch;

/// What an upload or download is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Reading and hashing the source.
    #[default]
    Hash,
    /// Compressing, encrypting and spilling.
    Seal,
    /// Asking for prices.
    Quote,
    /// Paying.
    Pay,
    /// Storing chunks on peers.
    Store,
    /// Looking whether chunks are where they were stored.
    Verify,
    /// Fetching chunks from peers.
    Fetch,
    /// All is done.
    Done,
}

impl Stage {
    /// Its name in progress lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Seal => "seal",
            Self::Quote => "quote",
            Self::Pay => "pay",
            Self::Store => "store",
            Self::Verify => "verify",
            Self::Fetch => "fetch",
            Self::Done => "done",
        }
    }
}

/// How far the current stage is. Bytes are plaintext bytes while hashing, sealing and fetching, and
/// sealed bytes after. Only what is done counts: a byte on its way is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Bytes done in this stage.
    pub bytes_done: u64,
    /// Bytes of this stage; `None` while the end of a stream is not known.
    pub bytes_total: Option<u64>,
    /// Chunks done in this stage.
    pub chunks_done: u64,
    /// Chunks of this stage.
    pub chunks_total: Option<u64>,
    /// How is paid, once that is known.
    pub mode: Option<PaymentMode>,
    /// Why, once this run has chosen.
    pub mode_reason: Option<ModeReason>,
}

/// Where progress goes: the newest value only, so a slow reader holds nobody up and nothing piles
/// up. The default goes nowhere.
#[derive(Clone, Debug)]
pub struct ProgressSender(watch::Sender<Progress>, Arc<OnceLock<String>>);

impl Default for ProgressSender {
    fn default() -> Self {
        Self::channel().0
    }
}

impl ProgressSender {
    /// A sender and the receiver that sees its newest value.
    pub fn channel() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(sender, Arc::default()), receiver)
    }

    /// The newest value.
    pub fn newest(&self) -> Progress {
        *self.0.borrow()
    }

    /// The name of the session that an upload works on, once everything is sealed: from then on it can
    /// be gone on with.
    pub fn session(&self) -> Option<&str> {
        self.1.get().map(String::as_str)
    }

    /// Names the session; the first name stays.
    pub(crate) fn set_session(&self, id: &str) {
        self.1.get_or_init(|| id.to_owned());
    }

    /// Starts a stage from zero.
    pub(crate) fn begin(&self, stage: Stage, bytes: Option<u64>, chunks: Option<u64>) {
        self.0.send_modify(|progress| {
            let before = match stage {
                Stage::Pay | Stage::Store | Stage::Verify | Stage::Done => *progress,
                // How is paid is not known before there are prices.
                _ => Progress::default(),
            };
            *progress = Progress {
                stage,
                bytes_done: 0,
                bytes_total: bytes,
                chunks_done: 0,
                chunks_total: chunks,
                ..before
            };
        });
    }

    /// Says how is paid.
    pub(crate) fn set_mode(&self, mode: Option<PaymentMode>, reason: Option<ModeReason>) {
        self.0.send_modify(|progress| {
            progress.mode = mode;
            progress.mode_reason = reason.or(progress.mode_reason);
        });
    }

    /// Goes on to another stage of the same bytes.
    pub(crate) fn set_stage(&self, stage: Stage) {
        self.0.send_modify(|progress| progress.stage = stage);
    }

    /// Adds chunks that are verified: beside storing they are not what is counted.
    pub(crate) fn verified(&self, chunks: u64) {
        self.0.send_if_modified(|progress| {
            let counts = progress.stage == Stage::Verify;
            progress.chunks_done += if counts { chunks } else { 0 };
            counts
        });
    }

    /// Adds what was done.
    pub(crate) fn add(&self, bytes: u64, chunks: u64) {
        self.0.send_modify(|progress| {
            progress.bytes_done += bytes;
            progress.chunks_done += chunks;
        });
    }
}
