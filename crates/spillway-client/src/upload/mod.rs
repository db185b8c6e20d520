//! The upload engine: the only place that knows all stages.
//!
//! `seal → quote → choose → plan → pay → store → verify`, one direction. What is left of an earlier run of the same
//! session is paid and stored first; then everything that is not planned yet is priced, shown to the
//! user, planned, paid and stored: at once, or in rounds of one batch each. Storing overlaps paying:
//! chunks of a paid plan are on their way while the next plan is paid. Each boundary is durable in
//! the session before the next stage acts on the world, so the engine may die between any two lines.

mod adopt;
mod checking;
mod choosing;
mod elsewhere;
mod engine;
mod finality;
mod imported;
mod mending;
mod middle;
mod pay;
mod planning;
mod quote;
mod result;
mod resume;
mod seal;
mod store;
mod storing;
mod streams;
mod turn;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_pay::{CommitChoice, Permit, VaultTerms, Wallet};
use spillway_types::{Nonce, limits};

use self::{
    choosing::Chosen,
    engine::Engine,
    middle::Purpose,
    pay::Counts,
    quote::{QuoteOutcome, Wanted},
    turn::Turn,
};
use crate::{
    BatchOptions, ClientParts, Cost, Source, Stage, UploadError, UploadOptions, Uploaded,
    limits::QUOTE_BATCHES,
    session::{Priced, even_parts},
    workers::{Held, Work},
};

pub(crate) use resume::resume;
pub(crate) use store::{Terms, offer, put};

/// What one upload works with.
#[derive(Debug)]
pub(crate) struct Job {
    pub parts: ClientParts,
    pub wallet: Arc<Wallet>,
    pub vault: VaultTerms,
    pub options: UploadOptions,
}

/// A number that makes a receipt fresh.
fn fresh_nonce() -> Nonce {
    Nonce(fastrand::u128(..).to_le_bytes())
}

impl Job {
    /// Chunks of a round, where batches are paid one by one: those of one are priced, paid and stored
    /// before the next are asked for. `None`: all is priced before anything is paid.
    pub(crate) fn round_leaves(&self) -> Option<usize> {
        let BatchOptions { max_leaves, commit } = self.options.batch;
        (commit == CommitChoice::OneByOne).then_some(max_leaves)
    }

    /// Waits before retry `attempt` (from 0): the documented delay, up to a quarter more or less, and
    /// no less than `least`.
    pub(crate) async fn backoff(&self, attempt: usize, least: Duration) -> Result<(), UploadError> {
        let last = limits::RETRY_DELAYS.len() - 1;
        let delay = limits::RETRY_DELAYS[attempt.min(last)].mul_f64(0.75 + fastrand::f64() / 2.0);
        self.pause(delay.max(least)).await
    }

    /// A place for one piece of work among all that the process does.
    pub(crate) async fn enter(&self, work: Work) -> Result<Permit, UploadError> {
        tokio::select! {
            biased;
            () = self.parts.stop.cancelled() => Err(UploadError::Interrupted),
            place = self.parts.workers.enter(work) => Ok(place),
        }
    }

    /// The right to hold so many bytes.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<Permit, UploadError> {
        tokio::select! {
            biased;
            () = self.parts.stop.cancelled() => Err(UploadError::Interrupted),
            held = self.parts.workers.reserve(bytes) => Ok(held),
        }
    }

    /// A place for one piece of work, and the right to hold so many bytes.
    pub(crate) async fn hold(&self, work: Work, bytes: u64) -> Result<Held, UploadError> {
        tokio::select! {
            biased;
            () = self.parts.stop.cancelled() => Err(UploadError::Interrupted),
            held = self.parts.workers.hold(work, bytes) => Ok(held),
        }
    }

    /// What one segment takes while it is sealed: itself, its compressed form and its chunk.
    pub(crate) fn sealing_bytes(&self) -> u64 {
        3 * self.options.segment_bytes as u64
    }

    pub(crate) async fn pause(&self, delay: Duration) -> Result<(), UploadError> {
        tokio::select! {
            biased;
            () = self.parts.stop.cancelled() => Err(UploadError::Interrupted),
            () = self.parts.clock.sleep(delay) => Ok(()),
        }
    }
}

/// Runs an upload to its end.
pub(crate) async fn upload(job: Arc<Job>, source: Source) -> Result<Uploaded, UploadError> {
    let started = job.parts.clock.monotonic();
    let rereadable = !source.is_stream();
    let (mut sealed, turn) = match source {
        Source::Stream(stream) => {
            let (stream, place) = streams::enter(&job, stream).await?;
            let sealed = seal::seal(&job, Source::Stream(stream)).await?;
            let turn = Turn::begin(&job).await?;
            drop(place);
            (sealed, turn)
        }
        source => {
            let turn = Turn::begin(&job).await?;
            (seal::seal(&job, source).await?, turn)
        }
    };
    let undone = resume::keep_receipts(&job, &mut sealed).await?;
    let mut engine = Engine::new(job, sealed, turn).await?;
    engine.undone = undone;
    engine.rereadable = rereadable;
    let done = engine.work().await;
    engine.finish(started, done).await
}

/// Prices an upload; its session and spill are gone afterwards.
pub(crate) async fn cost(job: Arc<Job>, source: Source) -> Result<Cost, UploadError> {
    let (dry, _turn) = match source {
        Source::Stream(stream) => {
            let (stream, place) = streams::enter(&job, stream).await?;
            let dry = seal::seal_dry(&job, Source::Stream(stream)).await?;
            let turn = Turn::begin(&job).await?;
            drop(place);
            (dry, turn)
        }
        source => {
            let turn = Turn::begin(&job).await?;
            (seal::seal_dry(&job, source).await?, turn)
        }
    };
    let wanted: Vec<Wanted> = dry.wanted();
    job.options.progress.begin(Stage::Quote, None, Some(wanted.len() as u64));
    let outcomes = price_all(&job, wanted).await?;
    let chunks_total = outcomes.len() as u64;
    let mut priced: Vec<Priced> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            QuoteOutcome::Priced(priced) => Some(*priced),
            QuoteOutcome::Already { .. } => None,
        })
        .collect();
    priced.sort_by_key(|priced| priced.chunk);
    let priced: Vec<&Priced> = priced.iter().collect();
    let mut all = Chosen::default();
    for part in even_parts(&priced, job.round_leaves().unwrap_or(usize::MAX)) {
        all.add(choosing::chosen(&job, part).await?);
    }
    let chunks = Counts { to_pay: priced.len() as u64, later: 0, total: chunks_total };
    let offer = pay::offer(&all.plans, all.reason, all.gas, chunks);
    Ok(Cost { bytes: dry.bytes, chunks_total, offer })
}

async fn price_all(job: &Job, wanted: Vec<Wanted>) -> Result<Vec<QuoteOutcome>, UploadError> {
    let bytes = wanted.iter().map(|want| u64::from(want.size)).sum();
    let purpose = Purpose::of(job.options.mode, bytes);
    let parts: Vec<Vec<Wanted>> =
        wanted.chunks(limits::MAX_DIRECT_LEAVES).map(<[Wanted]>::to_vec).collect();
    let outcomes: Vec<Vec<QuoteOutcome>> = stream::iter(parts)
        .map(|part| async move {
            let outcomes = quote::quote(job, &part, purpose).await?;
            let bytes = part.iter().map(|want| u64::from(want.size)).sum();
            job.options.progress.add(bytes, part.len() as u64);
            Ok::<_, UploadError>(outcomes)
        })
        .buffered(QUOTE_BATCHES)
        .try_collect()
        .await?;
    Ok(outcomes.into_iter().flatten().collect())
}
