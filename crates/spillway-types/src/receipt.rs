use serde::{Deserialize, Serialize};

use crate::{
    ChunkAddress, Domain, LeafHash, Nonce, PaymentId, PeerKey, PeerSecret, Signature,
    SignatureError, UnixTime,
};

/// What a node says in a receipt: this chunk is durable here, for this payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptBody {
    /// Where the receipt counts.
    pub domain: Domain,
    /// The payment that the node holds the chunk for.
    pub payment: PaymentId,
    /// The leaf of that payment.
    pub leaf: LeafHash,
    /// The chunk.
    pub address: ChunkAddress,
    /// Its sealed size, in bytes.
    pub size: u32,
    /// When it was durable.
    pub time: UnixTime,
    /// The nonce of the request that this answers.
    pub nonce: Nonce,
}

/// A signed receipt. It is signed only after the chunk is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What is said.
    pub body: ReceiptBody,
    /// Who says it.
    pub peer: PeerKey,
    signature: Signature,
}

/// Why a receipt does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature(#[from] SignatureError),
    /// Signed by another key than the peer's that was asked.
    #[error("signed by {signer}, asked was {asked}")]
    ForeignKey {
        /// Who signed.
        signer: PeerKey,
        /// Who was asked.
        asked: PeerKey,
    },
    /// It speaks of another network, chain, vault, chunk or size.
    #[error("it speaks of another network, chunk or size")]
    WrongSubject,
    /// It speaks of another payment or leaf.
    #[error("it speaks of another payment")]
    WrongPayment,
    /// It answers another request: a replay.
    #[error("it answers another request")]
    WrongNonce,
    /// It is of the future or of before the request allows.
    #[error("its time {time} cannot be")]
    WrongTime {
        /// When it says that the chunk was durable.
        time: UnixTime,
    },
}

impl ReceiptBody {
    /// The bytes that are signed: a versioned label and the postcard form of the body.
    fn preimage(&self) -> Vec<u8> {
        postcard::to_extend(self, b"spillway/receipt/v1\0".to_vec())
            .expect("invariant: a fixed-size body always encodes")
    }

    /// Signs the body.
    pub fn sign(self, secret: &PeerSecret) -> Receipt {
        let signature = secret.sign(&self.preimage());
        Receipt { body: self, peer: secret.peer(), signature }
    }
}

impl Receipt {
    /// Checks that it is `asked`'s word about this chunk, in answer to this request. Whose payment
    /// it names is the caller's question: an AlreadyStored names the one that it was stored for.
    ///
    /// # Errors
    /// The first thing that is wrong, cheapest check first.
    pub fn check(
        &self,
        asked: PeerKey,
        domain: &Domain,
        chunk: (ChunkAddress, u32),
        nonce: Nonce,
    ) -> Result<(), ReceiptError> {
        let body = &self.body;
        if self.peer != asked {
            return Err(ReceiptError::ForeignKey { signer: self.peer, asked });
        }
        if body.domain != *domain || (body.address, body.size) != chunk {
            return Err(ReceiptError::WrongSubject);
        }
        if body.nonce != nonce {
            return Err(ReceiptError::WrongNonce);
        }
        self.verify_signature()
    }

    /// As [`Receipt::check`], and that it names this payment and leaf.
    ///
    /// # Errors
    /// The first thing that is wrong, cheapest check first.
    pub fn check_paid(
        &self,
        asked: PeerKey,
        domain: &Domain,
        expected: &ReceiptBody,
    ) -> Result<(), ReceiptError> {
        let body = &self.body;
        if (body.payment, body.leaf) != (expected.payment, expected.leaf) {
            return Err(ReceiptError::WrongPayment);
        }
        self.check(asked, domain, (expected.address, expected.size), expected.nonce)
    }

    /// Checks the signature alone.
    ///
    /// # Errors
    /// [`ReceiptError::Signature`].
    pub fn verify_signature(&self) -> Result<(), ReceiptError> {
        Ok(self.peer.verify(&self.body.preimage(), &self.signature)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EvmAddress, NetworkId};

    fn secret() -> PeerSecret {
        PeerSecret::from_seed(&[11; 32])
    }

    fn body() -> ReceiptBody {
        ReceiptBody {
            domain: Domain {
                network: NetworkId([1; 32]),
                chain_id: 31_337,
                vault: EvmAddress([2; 20]),
            },
            payment: PaymentId([12; 32]),
            leaf: LeafHash([16; 32]),
            address: ChunkAddress([6; 32]),
            size: 34,
            time: UnixTime(1_800_000_100),
            nonce: Nonce([17; 16]),
        }
    }

    #[test]
    fn a_receipt_speaks_of_exactly_what_was_asked() {
        let paid = |said: ReceiptBody| {
            said.sign(&secret()).check_paid(secret().peer(), &body().domain, &body())
        };
        assert_eq!(paid(body()), Ok(()));
        assert_eq!(paid(ReceiptBody { time: UnixTime(1), ..body() }), Ok(()), "any time");
        for (said, error) in [
            (ReceiptBody { payment: PaymentId([1; 32]), ..body() }, ReceiptError::WrongPayment),
            (ReceiptBody { leaf: LeafHash([1; 32]), ..body() }, ReceiptError::WrongPayment),
            (ReceiptBody { address: ChunkAddress([1; 32]), ..body() }, ReceiptError::WrongSubject),
            (ReceiptBody { size: 35, ..body() }, ReceiptError::WrongSubject),
            (
                ReceiptBody { domain: Domain { chain_id: 1, ..body().domain }, ..body() },
                ReceiptError::WrongSubject,
            ),
            (ReceiptBody { nonce: Nonce([1; 16]), ..body() }, ReceiptError::WrongNonce),
        ] {
            assert_eq!(paid(said), Err(error));
        }
    }

    #[test]
    fn whose_payment_it_is_is_another_question() {
        let stored_before = ReceiptBody { payment: PaymentId([1; 32]), ..body() };
        let (receipt, peer) = (stored_before.sign(&secret()), secret().peer());
        let chunk = (body().address, body().size);
        assert_eq!(receipt.check(peer, &body().domain, chunk, body().nonce), Ok(()));
        let asked = PeerSecret::from_seed(&[12; 32]).peer();
        let foreign = receipt.check(asked, &body().domain, chunk, body().nonce);
        assert_eq!(foreign, Err(ReceiptError::ForeignKey { signer: peer, asked }));
    }

    #[test]
    fn what_is_signed_binds() {
        let receipt = body().sign(&secret());
        assert_eq!(receipt.verify_signature(), Ok(()));
        for said in [
            ReceiptBody { time: UnixTime(1), ..body() },
            ReceiptBody { payment: PaymentId([1; 32]), ..body() },
        ] {
            let forged = Receipt { body: said, ..receipt };
            assert!(matches!(forged.verify_signature(), Err(ReceiptError::Signature(_))));
            let chunk = (body().address, body().size);
            let checked = forged.check(secret().peer(), &body().domain, chunk, body().nonce);
            assert!(matches!(checked, Err(ReceiptError::Signature(_))));
        }
    }
}
