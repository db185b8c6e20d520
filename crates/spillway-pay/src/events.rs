//! What the vault did with draws, as its events tell it: the only source that says what a transaction
//! of ours has done and not somebody else's of the same moment.

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolEvent,
};
use serde::Deserialize;
use spillway_types::{Atto, EvmAddress, PaymentId};

use crate::{
    TxReceipt,
    contracts::{IVault, atto},
};

/// What a vault did with draws in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultEvent {
    /// A draw has paid its leaf.
    Settled {
        /// Of this batch.
        payment: PaymentId,
        /// Which draw.
        draw: u8,
        /// What the leaf's payees got.
        prize: Atto,
    },
    /// All open draws of a batch went back to its payer.
    Refunded {
        /// Which batch.
        payment: PaymentId,
        /// Prizes and tips.
        amount: Atto,
    },
}

impl TxReceipt {
    /// The draws of a batch that this vault has settled in the transaction, each with its prize.
    pub fn settled(&self, vault: EvmAddress, of: PaymentId) -> impl Iterator<Item = (u8, Atto)> {
        self.events.iter().filter_map(move |(by, event)| match *event {
            VaultEvent::Settled { payment, draw, prize } if (*by, payment) == (vault, of) => {
                Some((draw, prize))
            }
            _ => None,
        })
    }

    /// What this vault has sent back of a batch in the transaction; `None`: nothing.
    pub fn refunded(&self, vault: EvmAddress, of: PaymentId) -> Option<Atto> {
        self.events.iter().find_map(|(by, event)| match *event {
            VaultEvent::Refunded { payment, amount } if (*by, payment) == (vault, of) => {
                Some(amount)
            }
            _ => None,
        })
    }
}

/// What is read of a receipt's log.
#[derive(Debug, Deserialize)]
pub(crate) struct RpcLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

impl RpcLog {
    /// The event, if it is one of a vault, with whose it is: any contract can say the same.
    pub(crate) fn event(&self) -> Option<(EvmAddress, VaultEvent)> {
        let event = if let Some(settled) = self.decode::<IVault::Settled>() {
            let draw = u8::try_from(settled.draw).ok()?;
            let payment = PaymentId(settled.id.0);
            VaultEvent::Settled { payment, draw, prize: atto(settled.prize) }
        } else {
            let refunded = self.decode::<IVault::Refunded>()?;
            let payment = PaymentId(refunded.id.0);
            VaultEvent::Refunded { payment, amount: atto(refunded.amount) }
        };
        Some((EvmAddress(self.address.into_array()), event))
    }

    fn decode<E: SolEvent>(&self) -> Option<E> {
        E::decode_raw_log(self.topics.iter().copied(), &self.data).ok()
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use serde_json::json;

    use super::*;

    const VAULT: EvmAddress = EvmAddress([7; 20]);
    const ID: PaymentId = PaymentId([1; 32]);

    fn log(topics: &[B256], words: &[U256]) -> RpcLog {
        let data: Vec<u8> = words.iter().flat_map(U256::to_be_bytes::<32>).collect();
        let (address, data) = (Address::new(VAULT.0), Bytes::from(data));
        let log = json!({ "address": address, "topics": topics, "data": data, "logIndex": "0x0" });
        serde_json::from_value(log).unwrap()
    }

    #[test]
    fn logs_of_a_vault_are_read_and_others_are_not() {
        let (id, draw) = (B256::new(ID.0), B256::from(U256::from(3)));
        let settled = IVault::Settled::SIGNATURE_HASH;
        let event = log(&[settled, id, draw], &[U256::from(9), U256::from(500)]).event();
        let expected = VaultEvent::Settled { payment: ID, draw: 3, prize: Atto(500) };
        assert_eq!(event, Some((VAULT, expected)));
        let refunded = IVault::Refunded::SIGNATURE_HASH;
        let event = log(&[refunded, id], &[U256::from(700)]).event();
        let expected = VaultEvent::Refunded { payment: ID, amount: Atto(700) };
        assert_eq!(event, Some((VAULT, expected)));
        for (topics, words) in [
            (vec![], vec![]),
            (vec![settled, id], vec![U256::ZERO; 2]),
            (vec![settled, id, draw], vec![U256::ZERO]),
            // No batch has so many draws.
            (vec![settled, id, B256::repeat_byte(1)], vec![U256::ZERO; 2]),
            (vec![refunded], vec![U256::ZERO]),
            (vec![IVault::Committed::SIGNATURE_HASH, id, draw], vec![U256::ZERO; 5]),
        ] {
            assert_eq!(log(&topics, &words).event(), None, "{topics:?}");
        }
    }

    #[test]
    fn only_the_vault_that_is_asked_for_counts() {
        let other = EvmAddress([8; 20]);
        let events = vec![
            (other, VaultEvent::Settled { payment: ID, draw: 0, prize: Atto(1) }),
            (VAULT, VaultEvent::Settled { payment: PaymentId([2; 32]), draw: 1, prize: Atto(2) }),
            (VAULT, VaultEvent::Settled { payment: ID, draw: 2, prize: Atto(3) }),
            (other, VaultEvent::Refunded { payment: ID, amount: Atto(4) }),
            (VAULT, VaultEvent::Refunded { payment: ID, amount: Atto(5) }),
        ];
        let receipt = TxReceipt {
            hash: spillway_types::TxHash([1; 32]),
            success: true,
            block: 1,
            gas_used: 1,
            gas_cost: spillway_types::Wei(1),
            events,
        };
        assert_eq!(receipt.settled(VAULT, ID).collect::<Vec<_>>(), [(2, Atto(3))]);
        assert_eq!(receipt.refunded(VAULT, ID), Some(Atto(5)));
        assert_eq!(receipt.refunded(VAULT, PaymentId([2; 32])), None);
    }
}
