use serde::{Deserialize, Serialize};
use spillway_client::{Gauge, Gauges, Progress};

/// What a command says of itself. Counts are numbers: none of them passes 53 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Its word on the command line.
    pub(crate) command: String,
    /// The session that it works on, once there is one.
    pub(crate) upload_id: Option<String>,
    /// What it is doing; nothing before it begins.
    pub(crate) stage: Option<String>,
    pub(crate) bytes_done: u64,
    pub(crate) total_bytes: Option<u64>,
    pub(crate) chunks_done: u64,
    pub(crate) total_chunks: Option<u64>,
    /// Of the whole process.
    pub(crate) gauges: SaidGauges,
}

/// Each gate of a process: what is under way, what waits, and the most that may be under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SaidGauges {
    pub(crate) begun: Figures,
    pub(crate) uploads: Figures,
    pub(crate) resumes: Figures,
    pub(crate) streams: Figures,
    pub(crate) downloads: Figures,
    pub(crate) seals: Figures,
    pub(crate) lookups: Figures,
    pub(crate) quotes: Figures,
    pub(crate) stores: Figures,
    pub(crate) fetches: Figures,
    pub(crate) verifies: Figures,
    pub(crate) memory: Memory,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) active: u64,
    pub(crate) queued: u64,
    pub(crate) budget: u64,
}

/// Of segments and chunks: what is reserved, how many pieces of work wait for some, and the most that
/// may be reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) reserved_bytes: u64,
    pub(crate) queued: u64,
    pub(crate) budget_bytes: u64,
}

impl Said {
    pub(super) fn new(
        command: &str,
        session: Option<&str>,
        progress: Option<&Progress>,
        gauges: &Gauges,
    ) -> Self {
        let stage = progress.map(|progress| progress.stage.name().to_owned());
        let now = progress.copied().unwrap_or_default();
        Self {
            command: command.to_owned(),
            upload_id: session.map(str::to_owned),
            stage,
            bytes_done: now.bytes_done,
            total_bytes: now.bytes_total,
            chunks_done: now.chunks_done,
            total_chunks: now.chunks_total,
            gauges: gauges.into(),
        }
    }
}

impl From<&Gauges> for SaidGauges {
    fn from(gauges: &Gauges) -> Self {
        let bytes = |kibibytes: u64| kibibytes.saturating_mul(1024);
        Self {
            begun: gauges.begun.into(),
            uploads: gauges.uploads.into(),
            resumes: gauges.resumes.into(),
            streams: gauges.streams.into(),
            downloads: gauges.downloads.into(),
            seals: gauges.seals.into(),
            lookups: gauges.lookups.into(),
            quotes: gauges.quotes.into(),
            stores: gauges.stores.into(),
            fetches: gauges.fetches.into(),
            verifies: gauges.verifies.into(),
            memory: Memory {
                reserved_bytes: bytes(gauges.kibibytes.active),
                queued: gauges.kibibytes.queued,
                budget_bytes: bytes(gauges.kibibytes.budget),
            },
        }
    }
}

impl From<Gauge> for Figures {
    fn from(gauge: Gauge) -> Self {
        Self { active: gauge.active, queued: gauge.queued, budget: gauge.budget }
    }
}
