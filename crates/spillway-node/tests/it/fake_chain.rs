//! A chain that knows nothing but payment records, counts questions, and can hold answers back.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use spillway_pay::{
    At, BeaconState, Block, Call, Chain, ChainError, Fees, RecordAt, TxReceipt, Windows,
};
use spillway_types::{
    Atto, DrawSet, EvmAddress, PaymentId, RewardAddress, Seed, TxHash, UnixTime, Wei,
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct FakeChain {
    state: Mutex<State>,
    /// Questions for records, so far.
    asked: watch::Sender<usize>,
    /// Whether answers are held back.
    held: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    chain_id: u64,
    vault: EvmAddress,
    head: Block,
    records: BTreeMap<PaymentId, (UnixTime, u64)>,
    settled: BTreeMap<PaymentId, DrawSet>,
    failing: Option<ChainError>,
    /// Only the beacon cannot be asked.
    beacon_fails: bool,
    /// Only the price of gas cannot be asked.
    fees_fail: bool,
    /// The beacon's newest seed; of the newest block when nothing is said.
    latest: Option<UnixTime>,
    /// The time of the newest final block; of the newest when nothing is said.
    finalized: Option<UnixTime>,
    /// What of it is settled for good; all when nothing is said.
    settled_for_good: Option<BTreeMap<PaymentId, DrawSet>>,
    /// By boundary.
    seeds: BTreeMap<u64, Seed>,
    seeds_asked: usize,
    /// What the next question for a seed does: it panics.
    panics: bool,
    /// The boundary whose seed cannot be asked.
    failing_seed: Option<u64>,
    gas_price: u128,
    windows: Windows,
}

/// The vault's times.
pub(crate) const WINDOWS: Windows = Windows {
    min: Duration::from_mins(15),
    max: Duration::from_hours(14 * 24),
    draw_delay: Duration::from_mins(15),
    claim: Duration::from_hours(30 * 24),
};

/// The beacon's.
pub(crate) const EPOCH: Duration = Duration::from_hours(24);

/// The boundary whose seed draws a batch.
pub(crate) fn boundary(upload_by: UnixTime) -> UnixTime {
    let draw_time = WINDOWS.draw_time(upload_by).as_secs();
    UnixTime((draw_time / EPOCH.as_secs() + 1) * EPOCH.as_secs())
}

impl FakeChain {
    pub(crate) fn new(chain_id: u64, vault: EvmAddress, now: UnixTime) -> Self {
        let head = Block { number: 100, time: now };
        let state = State {
            chain_id,
            vault,
            head,
            records: BTreeMap::new(),
            settled: BTreeMap::new(),
            failing: None,
            beacon_fails: false,
            fees_fail: false,
            latest: None,
            finalized: None,
            settled_for_good: None,
            seeds: BTreeMap::new(),
            seeds_asked: 0,
            panics: false,
            failing_seed: None,
            gas_price: 1,
            windows: WINDOWS,
        };
        Self {
            state: Mutex::new(state),
            asked: watch::Sender::new(0),
            held: watch::Sender::new(false),
        }
    }

    /// Records a payment in a new block of this time.
    pub(crate) fn record_payment(&self, payment: PaymentId, time: UnixTime) {
        self.mine(time);
        let number = self.state().head.number;
        self.state().records.insert(payment, (time, number));
    }

    /// One more block.
    pub(crate) fn mine(&self, time: UnixTime) {
        let head = &mut self.state().head;
        head.number += 1;
        head.time = time;
    }

    /// Every question fails with this from now on.
    pub(crate) fn fail(&self, error: Option<ChainError>) {
        self.state().failing = error;
    }

    /// Only the beacon cannot be asked from now on, or can again.
    pub(crate) fn fail_beacon(&self, fails: bool) {
        self.state().beacon_fails = fails;
    }

    /// Only the price of gas cannot be asked from now on, or can again.
    pub(crate) fn fail_fees(&self, fails: bool) {
        self.state().fees_fail = fails;
    }

    /// The beacon's newest seed is of this time, whatever the newest block.
    pub(crate) fn set_latest(&self, latest: UnixTime) {
        self.state().latest = Some(latest);
    }

    /// Posts the seed of the batches of this `upload_by`.
    pub(crate) fn post_seed(&self, upload_by: UnixTime, seed: Seed) {
        let boundary = boundary(upload_by);
        self.mine(boundary);
        let mut state = self.state();
        state.seeds.insert(boundary.as_secs(), seed);
        state.latest = state.latest.max(Some(boundary));
    }

    /// How often it was asked for a seed.
    pub(crate) fn seeds_asked(&self) -> usize {
        self.state().seeds_asked
    }

    /// A unit of gas costs this much, and a third of it goes to whoever takes the transaction in.
    pub(crate) fn set_gas_price(&self, wei: u128) {
        self.state().gas_price = wei;
    }

    /// The vault draws this long after the upload window.
    pub(crate) fn set_draw_delay(&self, draw_delay: Duration) {
        self.state().windows.draw_delay = draw_delay;
    }

    /// These draws are settled from the newest block on.
    pub(crate) fn settle(&self, payment: PaymentId, draws: impl IntoIterator<Item = u8>) {
        let mut state = self.state();
        let settled = state.settled.entry(payment).or_default();
        for draw in draws {
            settled.insert(draw);
        }
    }

    /// The next question for a seed panics.
    pub(crate) fn panic_once(&self) {
        self.state().panics = true;
    }

    /// The seed of the batches of this `upload_by` cannot be asked.
    pub(crate) fn fail_seed(&self, upload_by: UnixTime) {
        self.state().failing_seed = Some(boundary(upload_by).as_secs());
    }

    /// No newer block than of this time is final; `None`: all are.
    pub(crate) fn finalize(&self, time: Option<UnixTime>) {
        self.state().finalized = time;
    }

    /// What is settled from now on is not final, or all is.
    pub(crate) fn hold_finality(&self, hold: bool) {
        let mut state = self.state();
        state.settled_for_good = hold.then(|| state.settled.clone());
    }

    /// Holds answers back, or lets them go.
    pub(crate) fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// How often it was asked for a record.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Returns when it was asked so often.
    pub(crate) async fn wait_until_asked(&self, count: usize) {
        let mut asked = self.asked.subscribe();
        let enough = asked.wait_for(|asked| *asked >= count);
        // Only so that a test that fails does not hang.
        let enough = tokio::time::timeout(Duration::from_mins(1), enough).await;
        let enough = enough.unwrap_or_else(|_| panic!("asked {} times of {count}", self.asked()));
        drop(enough.unwrap());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer<T>(&self, answer: impl FnOnce(&State) -> T) -> Result<T, ChainError> {
        let state = self.state();
        match &state.failing {
            Some(error) => Err(error.clone()),
            None => Ok(answer(&state)),
        }
    }
}

#[async_trait]
impl Chain for FakeChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.answer(|state| state.chain_id)
    }

    async fn has_code(&self, address: EvmAddress) -> Result<bool, ChainError> {
        self.answer(|state| state.vault == address)
    }

    async fn block(&self, at: At) -> Result<Block, ChainError> {
        self.answer(|state| match at {
            At::Depth(depth) => {
                assert_eq!(depth, 0);
                state.head
            }
            At::Finalized => {
                Block { time: state.finalized.unwrap_or(state.head.time), ..state.head }
            }
        })
    }

    async fn record(
        &self,
        vault: EvmAddress,
        payment: PaymentId,
        at: At,
    ) -> Result<RecordAt, ChainError> {
        // The answer is as old as the question.
        let answer = self.answer(|state| {
            assert_eq!(vault, state.vault);
            let (depth, settled) = match (at, &state.settled_for_good) {
                (At::Depth(depth), _) => (depth, &state.settled),
                (At::Finalized, settled) => (0, settled.as_ref().unwrap_or(&state.settled)),
            };
            let number = state.head.number - u64::from(depth);
            let recorded = state.records.get(&payment).filter(|(_, block)| *block <= number);
            RecordAt {
                recorded: recorded.map(|(time, _)| *time),
                settled: settled.get(&payment).copied().unwrap_or_default(),
                block: Block { number, time: state.head.time },
            }
        });
        self.asked.send_modify(|asked| *asked += 1);
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        answer
    }

    async fn beacon(&self, vault: EvmAddress) -> Result<BeaconState, ChainError> {
        if self.state().beacon_fails {
            return Err(ChainError::Behind);
        }
        self.answer(|state| BeaconState {
            beacon: vault,
            epoch: EPOCH,
            latest: state.latest.unwrap_or(state.head.time),
        })
    }

    async fn seed(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<Seed>, ChainError> {
        {
            let mut state = self.state();
            state.seeds_asked += 1;
            if std::mem::take(&mut state.panics) {
                drop(state);
                panic!("a chain that panics");
            }
            if state.failing_seed == Some(boundary(upload_by).as_secs()) {
                return Err(ChainError::Behind);
            }
        }
        self.answer(|state| {
            assert_eq!(vault, state.vault);
            state.seeds.get(&boundary(upload_by).as_secs()).copied()
        })
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        if self.state().fees_fail {
            return Err(ChainError::Behind);
        }
        self.answer(|state| {
            let priority = state.gas_price / 3;
            Fees { base: Wei(state.gas_price - priority), priority: Wei(priority) }
        })
    }

    async fn estimate_gas(&self, _call: &Call) -> Result<u64, ChainError> {
        unreachable!("nodes send nothing")
    }

    async fn pending_nonce(&self, _account: EvmAddress) -> Result<u64, ChainError> {
        unreachable!("nodes have no account")
    }

    async fn coins(&self, _account: EvmAddress) -> Result<Wei, ChainError> {
        unreachable!("nodes have no account")
    }

    async fn token(&self, _vault: EvmAddress) -> Result<EvmAddress, ChainError> {
        unreachable!("nodes hold no tokens")
    }

    async fn windows(&self, _vault: EvmAddress) -> Result<Windows, ChainError> {
        self.answer(|state| state.windows)
    }

    async fn tokens(&self, _: EvmAddress, _: EvmAddress) -> Result<Atto, ChainError> {
        unreachable!("nodes hold no tokens")
    }

    async fn allowance(
        &self,
        _: EvmAddress,
        _: EvmAddress,
        _: EvmAddress,
    ) -> Result<Atto, ChainError> {
        unreachable!("nodes hold no tokens")
    }

    async fn credit(&self, _: EvmAddress, _: RewardAddress) -> Result<Atto, ChainError> {
        unreachable!("nodes do not withdraw")
    }

    async fn send_raw(&self, _raw: &[u8]) -> Result<TxHash, ChainError> {
        unreachable!("nodes send nothing")
    }

    async fn receipt(&self, _hash: TxHash) -> Result<Option<TxReceipt>, ChainError> {
        unreachable!("nodes send nothing")
    }
}
