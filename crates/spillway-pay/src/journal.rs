use async_trait::async_trait;

use crate::{PaidPlan, SignedTx};

/// Why a journal did not take an entry. Nothing is sent that is not in the journal.
#[derive(Debug, thiserror::Error)]
#[error("the payment journal cannot be written")]
pub struct JournalError {
    /// What went wrong below.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl JournalError {
    /// An error because of this one.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

/// Where signed transactions are written down before they are sent. One journal belongs to one
/// wallet and one set of plans; what was written goes back in as `earlier` when the payment is gone
/// on with.
#[async_trait]
pub trait TxJournal: Send + Sync {
    /// Durable when it returns. Called before the bytes are sent, every time.
    ///
    /// # Errors
    /// Then the transaction is not sent, and the payment ends.
    async fn signed(&mut self, tx: &SignedTx) -> Result<(), JournalError>;

    /// A plan is recorded by the vault: its chunks can be stored while the next one is paid. Called
    /// once a plan in each run, for plans that were paid before too. Need not be durable: the chain
    /// knows it.
    ///
    /// # Errors
    /// Then the payment ends; what was paid stays paid.
    async fn paid(&mut self, plan: &PaidPlan) -> Result<(), JournalError> {
        let _ = plan;
        Ok(())
    }
}
