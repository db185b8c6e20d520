use async_trait::async_trait;
use spillway_pay::{Chain, JournalError, PaidPlan, SignedTx, TxJournal};
use spillway_types::PaymentId;
use tokio::sync::watch;

/// A journal of payments in memory that others can watch. Clones are the same.
#[derive(Clone, Debug)]
pub struct Notes {
    signed: watch::Sender<Vec<SignedTx>>,
    paid: watch::Sender<Vec<PaymentId>>,
}

impl Notes {
    /// An empty one.
    pub fn new() -> Self {
        Self { signed: watch::Sender::default(), paid: watch::Sender::default() }
    }

    /// Everything that was signed.
    pub fn signed(&self) -> Vec<SignedTx> {
        self.signed.borrow().clone()
    }

    /// Every plan that was said to be paid.
    pub fn paid(&self) -> Vec<PaymentId> {
        self.paid.borrow().clone()
    }

    /// Returns the transaction of this kind and number, from 0, when it is signed and the chain has
    /// it.
    pub async fn waiting(
        &self,
        number: usize,
        kind: fn(&SignedTx) -> bool,
        chain: &dyn Chain,
    ) -> SignedTx {
        let nth = |signed: &[SignedTx]| signed.iter().filter(|tx| kind(tx)).nth(number).cloned();
        let mut signed = self.signed.subscribe();
        let tx = signed.wait_for(|signed| nth(signed).is_some()).await.unwrap().clone();
        let tx = nth(&tx).unwrap();
        while chain.pending_nonce(tx.from).await.unwrap() <= tx.nonce {
            tokio::task::yield_now().await;
        }
        tx
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl TxJournal for Notes {
    async fn signed(&mut self, tx: &SignedTx) -> Result<(), JournalError> {
        self.signed.send_modify(|signed| signed.push(tx.clone()));
        Ok(())
    }

    async fn paid(&mut self, plan: &PaidPlan) -> Result<(), JournalError> {
        self.paid.send_modify(|paid| paid.push(plan.payment));
        Ok(())
    }
}
