use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Atto, ChunkAddress, Domain, PeerKey, PeerSecret, RewardAddress, Signature, SignatureError,
    UnixTime, limits::MAX_CLOCK_SKEW,
};

/// What a node promises in a quote. All of it binds the node until `expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteTerms {
    /// Where the quote counts.
    pub domain: Domain,
    /// The chunk that it is for.
    pub address: ChunkAddress,
    /// Sealed size of the chunk, in bytes.
    pub size: u32,
    /// What this node asks for keeping it.
    pub price: Atto,
    /// Where it wants to be paid.
    pub reward: RewardAddress,
    /// When it was signed.
    pub issued: UnixTime,
    /// Until when a payment may be recorded for it.
    pub expires: UnixTime,
    /// The least tip a draw that it takes in a batch.
    pub min_tip: Atto,
    /// The largest prize a draw that it takes in a batch.
    pub max_prize: Atto,
    /// The longest upload window that it takes, in seconds from the payment.
    pub max_window_secs: u32,
    /// How many blocks a payment must be deep before it counts; 0: the newest block.
    pub confirmations: u16,
}

/// Signed terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// What is promised.
    pub terms: QuoteTerms,
    /// Who promises it.
    pub peer: PeerKey,
    signature: Signature,
}

/// Why a quote is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature(#[from] SignatureError),
    /// Signed by another key than the peer's that sent it.
    #[error("signed by {signer}, sent by {sender}")]
    ForeignKey {
        /// Who signed.
        signer: PeerKey,
        /// Who sent it.
        sender: PeerKey,
    },
    /// For another network, chain or vault.
    #[error("for another network, chain or vault")]
    WrongDomain,
    /// For another chunk than asked.
    #[error("for chunk {found}")]
    WrongAddress {
        /// The chunk that it is for.
        found: ChunkAddress,
    },
    /// For another size than asked.
    #[error("for {found} bytes, asked for {asked}")]
    WrongSize {
        /// The size that was asked for.
        asked: u32,
        /// The size that it is for.
        found: u32,
    },
    /// Its time is over.
    #[error("expired at {expires}")]
    Expired {
        /// When it ended.
        expires: UnixTime,
    },
    /// Signed later than our clock allows, or it ends before it begins.
    #[error("issued at {issued}, later than our clock allows")]
    FutureTime {
        /// When it says that it was signed.
        issued: UnixTime,
    },
    /// It allows too little time to upload.
    #[error("it allows {} s to upload", found.as_secs())]
    WindowTooShort {
        /// What it allows.
        found: Duration,
    },
    /// It asks for a payment deeper than finality.
    #[error("it asks for {found} confirmations, at most {limit} make sense")]
    TooManyConfirmations {
        /// What it asks for.
        found: u16,
        /// What makes sense.
        limit: u16,
    },
    /// It names no account to pay: the vault refuses such a payment as a whole.
    #[error("it names no account to pay")]
    NoReward,
    /// The price is above the cap, or does not fit the vault.
    #[error("price {price} is over the cap of {cap}")]
    OverCap {
        /// The price asked.
        price: Atto,
        /// The most that is paid.
        cap: Atto,
    },
}

impl QuoteTerms {
    /// The bytes that are signed: a versioned label and the postcard form of the terms.
    fn preimage(&self) -> Vec<u8> {
        postcard::to_extend(self, b"spillway/quote/v1\0".to_vec())
            .expect("invariant: fixed-size terms always encode")
    }

    /// Signs the terms.
    pub fn sign(self, secret: &PeerSecret) -> Quote {
        let signature = secret.sign(&self.preimage());
        Quote { terms: self, peer: secret.peer(), signature }
    }
}

impl Quote {
    /// Checks that `peer` itself signed the terms.
    ///
    /// # Errors
    /// [`QuoteError::ForeignKey`] or [`QuoteError::Signature`].
    pub fn verify_signature(&self) -> Result<(), QuoteError> {
        Ok(self.peer.verify(&self.terms.preimage(), &self.signature)?)
    }

    /// Checks the answer of `sender` to a question for one chunk. The price is not judged here.
    ///
    /// # Errors
    /// The first thing that is wrong, cheapest check first.
    pub fn check(
        &self,
        sender: PeerKey,
        domain: &Domain,
        asked: (ChunkAddress, u32),
        now: UnixTime,
    ) -> Result<(), QuoteError> {
        let terms = &self.terms;
        let (address, size) = asked;
        if self.peer != sender {
            return Err(QuoteError::ForeignKey { signer: self.peer, sender });
        }
        if terms.domain != *domain {
            return Err(QuoteError::WrongDomain);
        }
        if terms.address != address {
            return Err(QuoteError::WrongAddress { found: terms.address });
        }
        if terms.size != size {
            return Err(QuoteError::WrongSize { asked: size, found: terms.size });
        }
        if terms.expires <= now {
            return Err(QuoteError::Expired { expires: terms.expires });
        }
        // Half of what nodes allow: a quote that is taken here must hold there, some time later.
        if terms.issued > now.saturating_add(MAX_CLOCK_SKEW / 2) || terms.issued > terms.expires {
            return Err(QuoteError::FutureTime { issued: terms.issued });
        }
        if terms.reward == RewardAddress::ZERO {
            return Err(QuoteError::NoReward);
        }
        if terms.price > Atto::MAX_SHARE {
            return Err(QuoteError::OverCap { price: terms.price, cap: Atto::MAX_SHARE });
        }
        self.verify_signature()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EvmAddress, NetworkId};

    const ADDRESS: ChunkAddress = ChunkAddress([6; 32]);
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn secret() -> PeerSecret {
        PeerSecret::from_seed(&[11; 32])
    }

    fn terms() -> QuoteTerms {
        QuoteTerms {
            domain: Domain {
                network: NetworkId([1; 32]),
                chain_id: 31_337,
                vault: EvmAddress([2; 20]),
            },
            address: ADDRESS,
            size: 34,
            price: Atto(1_000),
            reward: RewardAddress([10; 20]),
            issued: NOW,
            expires: UnixTime(NOW.0 + 3_600),
            min_tip: Atto(1),
            max_prize: Atto(2),
            max_window_secs: 86_400,
            confirmations: 3,
        }
    }

    fn check(terms: QuoteTerms) -> Result<(), QuoteError> {
        let quote = terms.sign(&secret());
        quote.check(secret().peer(), &self::terms().domain, (ADDRESS, 34), NOW)
    }

    #[test]
    fn what_is_signed_binds_and_nothing_else() {
        let quote = terms().sign(&secret());
        assert_eq!(quote.verify_signature(), Ok(()));
        for changed in [
            QuoteTerms { price: Atto(999), ..terms() },
            QuoteTerms { size: 35, ..terms() },
            QuoteTerms { confirmations: 2, ..terms() },
        ] {
            let forged = Quote { terms: changed, ..quote };
            assert!(matches!(forged.verify_signature(), Err(QuoteError::Signature(_))));
        }
        let mut forged = quote;
        forged.terms.reward = RewardAddress([7; 20]);
        let checked = forged.check(secret().peer(), &terms().domain, (ADDRESS, 34), NOW);
        assert!(matches!(checked, Err(QuoteError::Signature(_))));
    }

    #[test]
    fn an_answer_is_for_what_was_asked_by_whom_was_asked() {
        assert_eq!(check(terms()), Ok(()));
        let other = PeerSecret::from_seed(&[12; 32]).peer();
        let foreign = terms().sign(&secret());
        let checked = foreign.check(other, &terms().domain, (ADDRESS, 34), NOW);
        let (signer, sender) = (secret().peer(), other);
        assert_eq!(checked, Err(QuoteError::ForeignKey { signer, sender }));
        let domain = Domain { chain_id: 1, ..terms().domain };
        assert_eq!(check(QuoteTerms { domain, ..terms() }), Err(QuoteError::WrongDomain));
        let found = ChunkAddress([7; 32]);
        let wrong = QuoteTerms { address: found, ..terms() };
        assert_eq!(check(wrong), Err(QuoteError::WrongAddress { found }));
        let wrong = QuoteTerms { size: 35, ..terms() };
        assert_eq!(check(wrong), Err(QuoteError::WrongSize { asked: 34, found: 35 }));
        let nobody = QuoteTerms { reward: RewardAddress::ZERO, ..terms() };
        assert_eq!(check(nobody), Err(QuoteError::NoReward));
    }

    #[test]
    fn times_and_prices_hold_to_the_second_and_the_unit() {
        let second = Duration::from_secs(1);
        assert_eq!(
            check(QuoteTerms { expires: NOW, ..terms() }),
            Err(QuoteError::Expired { expires: NOW })
        );
        let latest = NOW.saturating_add(MAX_CLOCK_SKEW / 2);
        assert_eq!(check(QuoteTerms { issued: latest, ..terms() }), Ok(()));
        let issued = latest.saturating_add(second);
        let future = Err(QuoteError::FutureTime { issued });
        assert_eq!(check(QuoteTerms { issued, ..terms() }), future);
        // It may end when it begins, but not before.
        let issued = NOW.saturating_add(2 * second);
        assert_eq!(check(QuoteTerms { issued, expires: issued, ..terms() }), Ok(()));
        let expires = NOW.saturating_add(second);
        let future = Err(QuoteError::FutureTime { issued });
        assert_eq!(check(QuoteTerms { issued, expires, ..terms() }), future);
        assert_eq!(check(QuoteTerms { price: Atto::MAX_SHARE, ..terms() }), Ok(()));
        let (price, cap) = (Atto(Atto::MAX_SHARE.0 + 1), Atto::MAX_SHARE);
        assert_eq!(check(QuoteTerms { price, ..terms() }), Err(QuoteError::OverCap { price, cap }));
    }
}
