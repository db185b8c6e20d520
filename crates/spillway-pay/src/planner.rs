use std::{collections::BTreeSet, time::Duration};

use spillway_types::{
    ChunkAddress, Domain, EvmAddress, Leaf, Retry, UnixTime,
    limits::{MAX_BATCH_LEAVES, MAX_CLOCK_SKEW, MAX_DIRECT_LEAVES, MIN_UPLOAD_WINDOW, PLAN_MARGIN},
};

use crate::{BatchRefused, Plan, PlanMode, ProofError, verify};

/// The rate that is assumed until one is measured, in bytes a second: slow on purpose, because too
/// long a window costs nothing.
pub const ASSUMED_UPLOAD_RATE: u64 = 1024 * 1024;

/// How many times longer than the rate says an upload may take.
const WINDOW_FACTOR: u64 = 3;

/// What plans are made of.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// Where is paid.
    pub domain: Domain,
    /// Whose money it is.
    pub payer: EvmAddress,
    /// What is paid for, in upload order; no address twice.
    pub leaves: Vec<Leaf>,
    /// Now.
    pub now: UnixTime,
    /// When the first of the quotes ends.
    pub first_expiry: UnixTime,
    /// Bytes that are to be uploaded until `upload_by`.
    pub upload_bytes: u64,
    /// Bytes a second that the upload is expected to make; see [`ASSUMED_UPLOAD_RATE`].
    pub upload_rate: u64,
    /// The shortest window that the vault takes.
    pub min_window: Duration,
    /// The longest window that the vault and every quote take: the least of them.
    pub max_window: Duration,
}

/// Why nothing can be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is nothing to pay for.
    #[error("there is nothing to pay for")]
    Empty,
    /// A chunk is there twice.
    #[error("chunk {address} is there twice")]
    Duplicate {
        /// Which.
        address: ChunkAddress,
    },
    /// The vault would not take it.
    #[error("the vault would not take the payment")]
    Unsound(#[from] ProofError),
    /// The windows of vault and quotes leave no time to upload.
    #[error(
        "uploads need {} s at least, vault and quotes allow {} s",
        needed.as_secs(),
        allowed.as_secs()
    )]
    NoWindow {
        /// The vault's least, or what the upload takes if that is more.
        needed: Duration,
        /// The most that all take.
        allowed: Duration,
    },
    /// The quotes end too soon to pay for them.
    #[error("the quotes end too soon: a payment had to be recorded by {valid_until}")]
    TooLate {
        /// Until when the plan could be paid.
        valid_until: UnixTime,
    },
    /// A batch of no leaves, or of more than there can be.
    #[error("batches of {found} leaves, they may have 1 to {MAX_BATCH_LEAVES}")]
    BatchSize {
        /// What was asked for.
        found: usize,
    },
    /// Batches cannot be; direct payments may.
    #[error(transparent)]
    NoBatch(#[from] BatchRefused),
}

impl PlanError {
    /// With new quotes it may work.
    pub fn retry(&self) -> Retry {
        match self {
            Self::TooLate { .. } => Retry::Backoff,
            Self::NoBatch(refused) => refused.retry(),
            _ => Retry::Never,
        }
    }
}

/// Plans direct payments: as many as needed, at most [`MAX_DIRECT_LEAVES`] leaves each, in the
/// order of the input.
///
/// # Errors
/// When it cannot be paid for; then nothing is planned at all.
pub fn plan_direct(input: PlanInput) -> Result<Vec<Plan>, PlanError> {
    check_leaves(&input.leaves)?;
    let (upload_by, valid_until) = terms(&input)?;
    let mut plans = Vec::with_capacity(input.leaves.len().div_ceil(MAX_DIRECT_LEAVES));
    for leaves in input.leaves.chunks(MAX_DIRECT_LEAVES) {
        let plan = Plan {
            domain: input.domain,
            mode: PlanMode::Direct,
            payer: input.payer,
            leaves: leaves.to_vec(),
            upload_by,
            valid_until,
        };
        verify::plan_is_sound(&plan)?;
        plans.push(plan);
    }
    Ok(plans)
}

/// Something is paid for, and nothing twice.
pub(crate) fn check_leaves(leaves: &[Leaf]) -> Result<(), PlanError> {
    if leaves.is_empty() {
        return Err(PlanError::Empty);
    }
    let mut seen = BTreeSet::new();
    for leaf in leaves {
        if !seen.insert(leaf.address) {
            return Err(PlanError::Duplicate { address: leaf.address });
        }
    }
    Ok(())
}

/// `upload_by` and `valid_until`.
pub(crate) fn terms(input: &PlanInput) -> Result<(UnixTime, UnixTime), PlanError> {
    // The vault and the nodes count the longest window from the block that takes the payment, and
    // that block's time may be a little behind our clock.
    let slack = MAX_CLOCK_SKEW.min(input.max_window / 10);
    let allowed = input.max_window.saturating_sub(slack);
    let upload_secs = input.upload_bytes / input.upload_rate.max(1);
    let wanted = MIN_UPLOAD_WINDOW.max(Duration::from_secs(upload_secs * WINDOW_FACTOR));
    let window = wanted.min(allowed);
    // Less slack than wanted is taken; less time than the upload takes would pay for chunks that
    // nobody stores any more.
    let needed = input.min_window.max(Duration::from_secs(upload_secs));
    if window <= input.min_window || window < needed {
        return Err(PlanError::NoWindow { needed, allowed });
    }
    let upload_by = input.now.saturating_add(window);
    // The vault counts the shortest window from that block too: a payment at the last moment must
    // still be taken.
    let valid_until = input
        .first_expiry
        .saturating_sub(PLAN_MARGIN)
        .min(upload_by.saturating_sub(input.min_window));
    if valid_until <= input.now {
        return Err(PlanError::TooLate { valid_until });
    }
    Ok((upload_by, valid_until))
}
