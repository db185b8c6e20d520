use std::sync::Arc;

use async_trait::async_trait;
use spillway_pay::{Chain, JournalError, PaidPlan, SignedTx, TxJournal};

use super::WatchedChain;

/// A journal that watches the order: what it is given must not have been sent before.
pub(crate) struct TestJournal {
    pub(crate) signed: Vec<SignedTx>,
    pub(crate) paid: Vec<PaidPlan>,
    chain: Arc<WatchedChain>,
    /// The entry of this number (from 0) is kept, and then reported as failed: a crash between
    /// writing and sending.
    pub(crate) crash_at: Option<usize>,
    /// The entry of this number is neither kept nor acknowledged.
    pub(crate) fail_at: Option<usize>,
    /// Whether the chain may fail when it is asked whether something was sent.
    pub(crate) lenient: bool,
}

impl TestJournal {
    pub(crate) fn new(chain: &Arc<WatchedChain>) -> Self {
        Self {
            signed: Vec::new(),
            paid: Vec::new(),
            chain: Arc::clone(chain),
            crash_at: None,
            fail_at: None,
            lenient: false,
        }
    }
}

#[async_trait]
impl TxJournal for TestJournal {
    async fn signed(&mut self, tx: &SignedTx) -> Result<(), JournalError> {
        assert!(!self.chain.was_sent(&tx.raw), "sent before it was written down");
        if !self.lenient {
            assert_eq!(self.chain.receipt(tx.hash).await.unwrap(), None);
        }
        let number = self.signed.len();
        if self.fail_at == Some(number) {
            return Err(JournalError::new("disk full"));
        }
        self.signed.push(tx.clone());
        if self.crash_at == Some(number) {
            return Err(JournalError::new("crash"));
        }
        Ok(())
    }

    async fn paid(&mut self, plan: &PaidPlan) -> Result<(), JournalError> {
        self.paid.push(*plan);
        Ok(())
    }
}
