//! Nonces between the chain's and ours: a reorganisation may take transactions back that were
//! mined, and a pool may drop them. Nothing after them is mined until their places are taken.

use std::collections::BTreeMap;

use spillway_types::TxHash;

use super::Run;
use crate::{ChainError, SignedTx, TxPurpose};

/// What is before a nonce.
pub(super) enum Gap {
    /// Nothing is missing, as far as can be said.
    Closed,
    /// A transaction of the purpose that was asked for was taken, so nothing else needs to be sent
    /// for it.
    Taken(Box<SignedTx>),
    /// Nothing that is known takes this nonce, the lowest such: it was another program's, or of a
    /// session whose journal is not here, and the pool has dropped it.
    Open(u64),
}

impl Run<'_> {
    /// Sends what is known for the nonces before this one that the chain does not have, lowest
    /// first and byte for byte: each was meant to be sent, and a plan is charged once whatever is
    /// sent how often. What cannot be asked or sent now is left to the next time.
    pub(super) async fn fill_gap(&mut self, nonce: u64, purpose: Option<&TxPurpose>) -> Gap {
        let chain = &self.options.chain;
        let Ok(pending) = chain.pending_nonce(self.wallet.address()).await else {
            return Gap::Closed;
        };
        let mut known: Vec<&SignedTx> =
            self.txs.iter().filter(|tx| (pending..nonce).contains(&tx.nonce)).collect();
        // Of one nonce the last stays: what was mined before is known to be good; else the highest
        // fee.
        known.sort_by_key(|tx| (self.receipts.contains_key(&tx.hash), tx.max_fee));
        let gap: BTreeMap<u64, SignedTx> =
            known.into_iter().map(|tx| (tx.nonce, tx.clone())).collect();
        let mut hole = (pending..nonce).find(|nonce| !gap.contains_key(nonce));
        for tx in gap.into_values() {
            match self.options.chain.receipt(tx.hash).await {
                Ok(None) => {}
                Ok(Some(receipt)) => {
                    // The server that was asked for the nonce is behind.
                    self.note_mined(receipt);
                    continue;
                }
                Err(_) => return Gap::Closed,
            }
            match self.options.chain.send_raw(&tx.raw).await {
                // It waits again, so what is known of its receipt is of no worth.
                Ok(hash) => self.forget(hash),
                Err(error) => {
                    tracing::debug!(%error, hash = %tx.hash, "sent again to fill a gap");
                    if error == ChainError::FeeTooLow {
                        hole = Some(hole.map_or(tx.nonce, |hole| hole.min(tx.nonce)));
                    }
                    continue;
                }
            }
            if Some(&tx.purpose) == purpose {
                return Gap::Taken(Box::new(tx));
            }
        }
        hole.map_or(Gap::Closed, Gap::Open)
    }

    /// A transaction is not mined, or no longer.
    pub(super) fn forget(&mut self, hash: TxHash) {
        if self.receipts.remove(&hash).is_some() {
            self.vanished = true;
        }
    }
}
