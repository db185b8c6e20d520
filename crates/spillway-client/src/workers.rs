//! One set of limits for everything that a process uploads and downloads.
//!
//! Every stage of every transfer enters a gate before it takes memory, a connection or a thread. Gates
//! are first come, first served, so no upload starves another, and what a process needs does not grow
//! with the number of its uploads: those over [`WorkerLimits::begun`] wait before they read their
//! source. A permit is given back when it is dropped, also by a task that is cancelled or panics.
//!
//! Order of gates, which keeps them free of deadlocks: streams or sessions that go on; then uploads that
//! have begun; then uploads at work; then seals, fetches or verifies; then bytes; then stores, whose
//! permits are never held while anything else is waited for. Downloads come before fetches.
//!
//! What may last without end holds nothing that others wait for. While its user is asked an upload has
//! begun and is not at work. A stream that says nothing has its own place and no bytes. What is planned
//! goes on by places of its own ([`WorkerLimits::resumes`]), so what is paid is stored however many
//! uploads wait to begin. A chunk that waits before it is tried again holds its bytes and no place.

use std::sync::{Arc, LazyLock};

pub use spillway_pay::Gauge;
use spillway_pay::{Gate, Permit, rpc_calls};

use crate::limits;

/// What a process does at a time, over all its uploads and downloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Uploads that have begun, those whose users are asked included; others wait before they read their
    /// source.
    pub begun: u32,
    /// Of those, uploads at work: whose users are not asked.
    pub uploads: u32,
    /// Sessions that go on with what an earlier run has planned or paid, until they price anything.
    pub resumes: u32,
    /// Streams that are read, also silent ones; others wait before they are read.
    pub streams: u32,
    /// Downloads that have begun; others wait before they fetch anything.
    pub downloads: u32,
    /// Segments that are read, hashed or sealed.
    pub seals: u32,
    /// Look-ups of close groups.
    pub lookups: u32,
    /// Quote requests.
    pub quotes: u32,
    /// Chunks that are being stored.
    pub stores: u32,
    /// Chunks that are being fetched.
    pub fetches: u32,
    /// Chunks that are being verified.
    pub verifies: u32,
    /// Bytes of segments and chunks that are held in memory, in KiB.
    pub kibibytes: u32,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            begun: limits::BEGUN_UPLOADS,
            uploads: limits::ACTIVE_UPLOADS,
            resumes: limits::ACTIVE_RESUMES,
            streams: limits::ACTIVE_STREAMS,
            downloads: limits::ACTIVE_DOWNLOADS,
            seals: count(limits::SEAL_WORKERS),
            lookups: count(limits::LOOKUP_WORKERS),
            quotes: count(limits::QUOTE_WORKERS),
            stores: count(limits::STORE_WORKERS),
            fetches: count(limits::FETCH_WORKERS),
            verifies: count(limits::VERIFY_WORKERS),
            kibibytes: limits::HELD_KIBIBYTES,
        }
    }
}

/// A limit of workers, of which there are never four billion.
fn count(workers: usize) -> u32 {
    u32::try_from(workers).unwrap_or(u32::MAX)
}

/// All gauges of a process, read one after the other: they need not be of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Uploads that have begun.
    pub begun: Gauge,
    /// Uploads at work: those that have begun and whose users are not asked.
    pub uploads: Gauge,
    /// Sessions that go on with what an earlier run has planned or paid.
    pub resumes: Gauge,
    /// Streams that are read.
    pub streams: Gauge,
    /// Downloads.
    pub downloads: Gauge,
    /// Segments that are read, hashed or sealed.
    pub seals: Gauge,
    /// Look-ups of close groups.
    pub lookups: Gauge,
    /// Quote requests.
    pub quotes: Gauge,
    /// Chunks that are being stored.
    pub stores: Gauge,
    /// Chunks that are being fetched.
    pub fetches: Gauge,
    /// Chunks that are being verified.
    pub verifies: Gauge,
    /// KiB of segments and chunks in memory; `queued` is how many pieces of work wait for some.
    pub kibibytes: Gauge,
    /// Questions to RPC servers; their limit is the process's, whichever [`Workers`] are used.
    pub rpc_calls: Gauge,
}

/// The gates of a process. Clones are the same gates; so are all defaults of one process.
#[derive(Clone, Debug)]
pub struct Workers(Arc<Gates>);

#[derive(Debug)]
struct Gates {
    begun: Gate,
    uploads: Gate,
    resumes: Gate,
    streams: Gate,
    downloads: Gate,
    seals: Gate,
    lookups: Gate,
    quotes: Gate,
    stores: Gate,
    fetches: Gate,
    verifies: Gate,
    kibibytes: Gate,
}

impl Default for Workers {
    /// The gates that all clients of this process share.
    fn default() -> Self {
        static OF_PROCESS: LazyLock<Workers> =
            LazyLock::new(|| Workers::new(WorkerLimits::default()));
        OF_PROCESS.clone()
    }
}

/// A place for one piece of work and the right to hold its bytes, until it is dropped.
#[derive(Debug)]
#[must_use = "both are given back when it is dropped"]
pub(crate) struct Held {
    _place: Permit,
    _bytes: Permit,
}

/// A kind of work with a gate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Begun,
    Upload,
    Resume,
    Stream,
    Download,
    Seal,
    Lookup,
    Quote,
    Store,
    Fetch,
    Verify,
}

impl Workers {
    /// Gates of their own, for a part of a process that shall not share those of the rest. A limit of
    /// none counts as one.
    pub fn new(limits: WorkerLimits) -> Self {
        Self(Arc::new(Gates {
            begun: Gate::new(limits.begun),
            uploads: Gate::new(limits.uploads),
            resumes: Gate::new(limits.resumes),
            streams: Gate::new(limits.streams),
            downloads: Gate::new(limits.downloads),
            seals: Gate::new(limits.seals),
            lookups: Gate::new(limits.lookups),
            quotes: Gate::new(limits.quotes),
            stores: Gate::new(limits.stores),
            fetches: Gate::new(limits.fetches),
            verifies: Gate::new(limits.verifies),
            kibibytes: Gate::new(limits.kibibytes),
        }))
    }

    /// What is under way.
    pub fn gauges(&self) -> Gauges {
        let gates = &self.0;
        Gauges {
            begun: gates.begun.gauge(),
            uploads: gates.uploads.gauge(),
            resumes: gates.resumes.gauge(),
            streams: gates.streams.gauge(),
            downloads: gates.downloads.gauge(),
            seals: gates.seals.gauge(),
            lookups: gates.lookups.gauge(),
            quotes: gates.quotes.gauge(),
            stores: gates.stores.gauge(),
            fetches: gates.fetches.gauge(),
            verifies: gates.verifies.gauge(),
            kibibytes: gates.kibibytes.gauge(),
            rpc_calls: rpc_calls(),
        }
    }

    /// Waits for a place for one piece of work.
    ///
    /// # Cancel safety
    /// Dropping it gives the place in the queue up.
    pub(crate) async fn enter(&self, work: Work) -> Permit {
        let gates = &self.0;
        let gate = match work {
            Work::Begun => &gates.begun,
            Work::Upload => &gates.uploads,
            Work::Resume => &gates.resumes,
            Work::Stream => &gates.streams,
            Work::Download => &gates.downloads,
            Work::Seal => &gates.seals,
            Work::Lookup => &gates.lookups,
            Work::Quote => &gates.quotes,
            Work::Store => &gates.stores,
            Work::Fetch => &gates.fetches,
            Work::Verify => &gates.verifies,
        };
        gate.enter(1).await
    }

    /// Waits until so many bytes may be held. More than the whole budget counts as all of it.
    ///
    /// # Cancel safety
    /// As [`Workers::enter`].
    pub(crate) async fn reserve(&self, bytes: u64) -> Permit {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.0.kibibytes.enter(kibibytes).await
    }

    /// Waits for a place, then for the right to hold so many bytes.
    ///
    /// # Cancel safety
    /// As [`Workers::enter`].
    pub(crate) async fn hold(&self, work: Work, bytes: u64) -> Held {
        let place = self.enter(work).await;
        Held { _place: place, _bytes: self.reserve(bytes).await }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    fn small() -> Workers {
        Workers::new(WorkerLimits { stores: 1, kibibytes: 4, ..WorkerLimits::default() })
    }

    #[tokio::test]
    async fn what_is_over_the_limit_waits_and_is_counted() {
        let workers = small();
        let first = workers.enter(Work::Store).await;
        let mut second = Box::pin(workers.enter(Work::Store));
        assert!(poll!(&mut second).is_pending());
        assert_eq!(workers.gauges().stores, Gauge { active: 1, queued: 1, budget: 1 });
        drop(first);
        let second = second.await;
        assert_eq!(workers.gauges().stores, Gauge { active: 1, queued: 0, budget: 1 });
        drop(second);
        assert_eq!(workers.gauges().stores, Gauge { active: 0, queued: 0, budget: 1 });
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_the_queue() {
        let workers = small();
        let _first = workers.enter(Work::Store).await;
        let mut second = Box::pin(workers.enter(Work::Store));
        assert!(poll!(&mut second).is_pending());
        drop(second);
        assert_eq!(workers.gauges().stores, Gauge { active: 1, queued: 0, budget: 1 });
    }

    #[tokio::test]
    async fn bytes_are_counted_in_kibibytes_and_too_many_take_the_whole_budget() {
        let workers = small();
        let held = workers.reserve(1_025).await;
        assert_eq!(workers.gauges().kibibytes.active, 2);
        assert!(workers.reserve(u64::MAX).now_or_never().is_none());
        drop(held);
        let all = workers.reserve(u64::MAX).await;
        assert_eq!(workers.gauges().kibibytes.active, 4);
        drop(all);
    }

    #[test]
    fn all_defaults_are_the_same_gates() {
        let held = Workers::default();
        let permit = held.enter(Work::Verify).now_or_never();
        assert!(permit.is_some());
        assert!(Workers::default().gauges().verifies.active >= 1);
    }
}
