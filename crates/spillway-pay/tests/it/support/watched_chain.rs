use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use spillway_pay::{
    At, BeaconState, Block, Call, Chain, ChainError, Fees, RecordAt, TxReceipt, Windows,
};
use spillway_types::{Atto, EvmAddress, PaymentId, RewardAddress, Seed, TxHash, UnixTime, Wei};
use tokio::sync::watch;

/// What happens to the next transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFault {
    None,
    /// It is accepted, and the reply is lost.
    LostReply,
    /// It does not arrive.
    NeverArrived,
    /// It is acknowledged and forgotten.
    Forgotten,
    /// It is accepted and the server asks to slow down.
    Limited,
    /// It does not arrive, and the server names the fee.
    FeeTooLow,
}

/// Calls whose estimates fail.
#[derive(Debug)]
struct Refused {
    /// They hold these bytes.
    bytes: Vec<u8>,
    reason: String,
    /// So many of them are not refused yet.
    spared: usize,
}

/// A chain between which and us things go wrong. Every sending is noted.
#[derive(Debug)]
pub(crate) struct WatchedChain {
    inner: Arc<dyn Chain>,
    faults: Mutex<VecDeque<SendFault>>,
    sent: Mutex<Vec<Vec<u8>>>,
    sendings: watch::Sender<usize>,
    estimates: watch::Sender<usize>,
    id: Mutex<Option<u64>>,
    reverts: Mutex<(Option<EvmAddress>, usize)>,
    refused: Mutex<Option<Refused>>,
    promised: Mutex<Option<(Vec<u8>, Seed)>>,
    seeds: Mutex<usize>,
}

impl WatchedChain {
    pub(crate) fn new(inner: Arc<dyn Chain>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            sent: Mutex::default(),
            sendings: watch::Sender::new(0),
            estimates: watch::Sender::new(0),
            id: Mutex::default(),
            reverts: Mutex::default(),
            refused: Mutex::default(),
            promised: Mutex::default(),
            seeds: Mutex::default(),
        }
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = SendFault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Names another chain id from now on.
    pub(crate) fn lie(&self, id: u64) {
        *self.id.lock().unwrap() = Some(id);
    }

    /// So many estimates of calls of this contract say that the call would fail, as a server does
    /// that does not know the approval.
    pub(crate) fn revert(&self, to: EvmAddress, times: usize) {
        *self.reverts.lock().unwrap() = (Some(to), times);
    }

    /// Estimates of calls whose data holds these bytes say that the call would fail, for this reason.
    pub(crate) fn refuse_calls_with(&self, bytes: &[u8], reason: &str) {
        self.refuse_calls_after(0, bytes, reason);
    }

    /// As [`WatchedChain::refuse_calls_with`], but for so many estimates.
    pub(crate) fn refuse_calls_after(&self, spared: usize, bytes: &[u8], reason: &str) {
        let (bytes, reason) = (bytes.to_vec(), reason.to_owned());
        *self.refused.lock().unwrap() = Some(Refused { bytes, reason, spared });
    }

    fn refusal(&self, call: &Call) -> Option<String> {
        let mut refused = self.refused.lock().unwrap();
        let Refused { bytes, reason, spared } = refused.as_mut()?;
        if !call.data.windows(bytes.len()).any(|part| part == bytes) {
            return None;
        }
        let is_refused = *spared == 0;
        *spared = spared.saturating_sub(1);
        is_refused.then(|| reason.clone())
    }

    /// These bytes would make this seed known.
    pub(crate) fn promise(&self, proof: &[u8], seed: Seed) {
        *self.promised.lock().unwrap() = Some((proof.to_vec(), seed));
    }

    /// How often a seed was asked for.
    pub(crate) fn seeds_asked(&self) -> usize {
        *self.seeds.lock().unwrap()
    }

    fn reverts(&self, call: &Call) -> bool {
        let mut reverts = self.reverts.lock().unwrap();
        let now = reverts.0 == Some(call.to) && reverts.1 > 0;
        reverts.1 -= usize::from(now);
        now
    }

    pub(crate) fn was_sent(&self, raw: &[u8]) -> bool {
        self.sent.lock().unwrap().iter().any(|sent| sent == raw)
    }

    pub(crate) fn sendings(&self) -> usize {
        *self.sendings.borrow()
    }

    /// The transaction that was sent last.
    pub(crate) fn last_hash(&self) -> TxHash {
        let sent = self.sent.lock().unwrap();
        TxHash(alloy::primitives::keccak256(sent.last().unwrap()).0)
    }

    /// Returns when so many different transactions were sent.
    pub(crate) async fn wait_for_new_bytes(&self, count: usize) {
        let different = |_: &usize| {
            let sent = self.sent.lock().unwrap();
            sent.iter().collect::<std::collections::BTreeSet<_>>().len() >= count
        };
        self.sendings.subscribe().wait_for(different).await.unwrap();
    }

    /// Returns when gas was asked for so many times more.
    pub(crate) async fn wait_for_estimates(&self, more: usize) {
        let count = *self.estimates.borrow() + more;
        self.estimates.subscribe().wait_for(|estimates| *estimates >= count).await.unwrap();
    }

    /// Returns when so many transactions were sent in all.
    pub(crate) async fn wait_for_sendings(&self, count: usize) {
        self.sendings.subscribe().wait_for(|sendings| *sendings >= count).await.unwrap();
    }
}

#[async_trait]
impl Chain for WatchedChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        let lie = *self.id.lock().unwrap();
        match lie {
            Some(id) => Ok(id),
            None => self.inner.chain_id().await,
        }
    }

    async fn has_code(&self, address: EvmAddress) -> Result<bool, ChainError> {
        self.inner.has_code(address).await
    }

    async fn beacon(&self, vault: EvmAddress) -> Result<BeaconState, ChainError> {
        self.inner.beacon(vault).await
    }

    async fn seed(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<Seed>, ChainError> {
        *self.seeds.lock().unwrap() += 1;
        self.inner.seed(vault, upload_by).await
    }

    async fn seed_of_proof(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
        proof: &[u8],
    ) -> Result<Option<Seed>, ChainError> {
        match &*self.promised.lock().unwrap() {
            Some((promised, seed)) if promised == proof => return Ok(Some(*seed)),
            _ => {}
        }
        self.inner.seed_of_proof(vault, upload_by, proof).await
    }

    async fn drand_round(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<u64>, ChainError> {
        self.inner.drand_round(vault, upload_by).await
    }

    async fn block(&self, at: At) -> Result<Block, ChainError> {
        self.inner.block(at).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.inner.fees().await
    }

    async fn estimate_gas(&self, call: &Call) -> Result<u64, ChainError> {
        let answer = if self.reverts(call) {
            Err(ChainError::Reverted { reason: Some("ERC20InsufficientAllowance".into()) })
        } else if let Some(reason) = self.refusal(call) {
            Err(ChainError::Reverted { reason: Some(reason) })
        } else {
            self.inner.estimate_gas(call).await
        };
        self.estimates.send_modify(|estimates| *estimates += 1);
        answer
    }

    async fn pending_nonce(&self, account: EvmAddress) -> Result<u64, ChainError> {
        self.inner.pending_nonce(account).await
    }

    async fn coins(&self, account: EvmAddress) -> Result<Wei, ChainError> {
        self.inner.coins(account).await
    }

    async fn token(&self, vault: EvmAddress) -> Result<EvmAddress, ChainError> {
        self.inner.token(vault).await
    }

    async fn windows(&self, vault: EvmAddress) -> Result<Windows, ChainError> {
        self.inner.windows(vault).await
    }

    async fn tokens(&self, token: EvmAddress, account: EvmAddress) -> Result<Atto, ChainError> {
        self.inner.tokens(token, account).await
    }

    async fn allowance(
        &self,
        token: EvmAddress,
        owner: EvmAddress,
        spender: EvmAddress,
    ) -> Result<Atto, ChainError> {
        self.inner.allowance(token, owner, spender).await
    }

    async fn credit(&self, vault: EvmAddress, payee: RewardAddress) -> Result<Atto, ChainError> {
        self.inner.credit(vault, payee).await
    }

    async fn record(
        &self,
        vault: EvmAddress,
        payment: PaymentId,
        at: At,
    ) -> Result<RecordAt, ChainError> {
        self.inner.record(vault, payment, at).await
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<TxHash, ChainError> {
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(SendFault::None);
        let lost = ChainError::Timeout { endpoint: "test".into(), after: Duration::ZERO };
        self.sent.lock().unwrap().push(raw.to_vec());
        let result = match fault {
            SendFault::None => self.inner.send_raw(raw).await,
            SendFault::LostReply => {
                self.inner.send_raw(raw).await.unwrap();
                Err(lost)
            }
            SendFault::NeverArrived => Err(lost),
            SendFault::Forgotten => Ok(TxHash(alloy::primitives::keccak256(raw).0)),
            SendFault::FeeTooLow => Err(ChainError::FeeTooLow),
            SendFault::Limited => {
                self.inner.send_raw(raw).await.unwrap();
                Err(ChainError::RateLimited)
            }
        };
        self.sendings.send_modify(|sendings| *sendings += 1);
        result
    }

    async fn receipt(&self, hash: TxHash) -> Result<Option<TxReceipt>, ChainError> {
        self.inner.receipt(hash).await
    }
}
