//! The simulator: real clients and real nodes in a world that is against them, decided by a seed.
//!
//! One call of [`simulate`] is one world: 15 [`NodeService`](spillway_node::NodeService)s on disks of
//! their own, the in-memory network and chain, and one upload that is started again and again while
//! everything that can go wrong does. Then there is peace: the upload must come to its end, somebody
//! else must be able to read it, and nothing may be left behind. After every run an oracle compares
//! what was promised (I1 to I6 of ARCHITECTURE.md) with the vault's books, the nodes' stores and
//! the client's disk; it does not believe the client's journal.
//!
//! Everything is on one thread and in no real time: the runtime's clock is paused, so it jumps to the
//! next sleeper. One number decides everything, so the same seed gives the same trace, which is
//! hashed call by call ([`Outcome::trace`]). Owns no tasks; the nodes' end with the runtime of their
//! world.
//!
//! Deliberately absent: threads, sockets, files, real time, and what a real chain or file system
//! does that their twins do not model. `docs/simulation.md` says more.

mod chain;
mod clock;
mod copies;
mod disk;
mod durable;
mod fate;
mod hand_over;
mod life;
mod member;
mod mending;
mod money;
mod oracle;
mod peace;
mod peers;
mod picture;
mod play;
mod sabotage;
mod scenario;
mod serve;
mod strike;
mod summary;
mod violation;
mod watched;
mod work;
mod world;

use std::panic::{self, AssertUnwindSafe};

use tokio::runtime::Builder;

pub use chain::{SimChain, Sky};
pub use clock::{START, SimClock};
pub use disk::{Handles, SimDisk};
pub use fate::Fate;
pub use life::{Death, End, Life, Machine};
pub use peers::SimPeers;
pub use play::Ends;
pub use strike::Strike;
pub use summary::{Summary, simulate_all};
pub use violation::{Promise, Sabotage, Violation};
pub use world::{PEERS, TOKENS};

use play::Play;
use scenario::Scenario;

/// How a seed is simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimOptions {
    /// Keep every line of the trace.
    pub keep_trace: bool,
    /// Break something on purpose.
    pub sabotage: Option<Sabotage>,
}

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// The promise that did not hold, if any.
    pub violation: Option<Violation>,
    /// The hash over every call at a seam and its outcome.
    pub trace: blake3::Hash,
    /// How many calls and outcomes that were.
    pub calls: u64,
    /// The trace, if it was to be kept.
    pub lines: Vec<String>,
    /// How often each kind of trouble struck, in the order of [`Strike::ALL`].
    pub strikes: Vec<u64>,
    /// How the runs ended, peaceful ones included.
    pub ends: Ends,
}

/// Simulates one seed to its end, on this thread. A panic of client or node is a violation, too.
///
/// # Panics
/// When there is no memory for a runtime.
pub fn simulate(seed: u64, options: SimOptions) -> Outcome {
    // What the libraries draw they draw from the thread's generator.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("invariant: a runtime without threads and sockets starts");
    let fate = Fate::new(seed, options.keep_trace);
    let played = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let scenario = Scenario::draw(seed, options.sabotage);
            fate.note(format_args!("{:?}", scenario.world));
            let mut play = Play::new(fate.clone(), &scenario).await;
            let violation = play.run(&scenario).await.err();
            play.world.end();
            (violation, play.ends)
        })
    }));
    let (violation, ends) =
        played.unwrap_or_else(|panic| (Some(Violation::of_panic(panic.as_ref())), Ends::default()));
    drop(runtime);
    let (trace, calls) = fate.trace();
    let (lines, strikes) = (fate.take_lines(), fate.counts());
    Outcome { seed, violation, trace, calls, lines, strikes, ends }
}
