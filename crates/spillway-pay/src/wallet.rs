use std::fmt;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{B256, Signature},
    signers::{SignerSync, k256::ecdsa::SigningKey, local::PrivateKeySigner},
};
use spillway_types::{EvmAddress, TxHash};
use zeroize::Zeroizing;

use crate::authorize::TokenSignature;

/// Why a text is not a wallet's key. The text itself is never part of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// A key is 32 bytes in hexadecimal.
    #[error("a private key has 64 hexadecimal digits")]
    NotHex,
    /// Zero, or not below the order of the curve.
    #[error("this number is no key of the curve secp256k1")]
    NotAKey,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl WalletError {
    /// A bad key stays one.
    pub fn retry(&self) -> spillway_types::Retry {
        spillway_types::Retry::Never
    }
}

/// One secp256k1 key that pays. It is wiped from memory when it is dropped, and shows nothing but
/// its address.
pub struct Wallet {
    signer: PrivateKeySigner,
}

impl Wallet {
    /// The wallet of this key: 64 hexadecimal digits, with or without `0x`; white space around them
    /// is ignored.
    ///
    /// # Errors
    /// [`WalletError`], which never shows the text.
    pub fn from_hex(text: &str) -> Result<Self, WalletError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, key.as_mut()).map_err(|_| WalletError::NotHex)?;
        Self::from_bytes(&key)
    }

    /// The wallet of this key.
    ///
    /// # Errors
    /// [`WalletError::NotAKey`].
    pub fn from_bytes(key: &[u8; 32]) -> Result<Self, WalletError> {
        let key = SigningKey::from_slice(key).map_err(|_| WalletError::NotAKey)?;
        Ok(Self { signer: PrivateKeySigner::from_signing_key(key) })
    }

    /// A new wallet. For test networks.
    ///
    /// # Errors
    /// [`WalletError::NoRandomness`].
    pub fn random() -> Result<Self, WalletError> {
        let mut key = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(key.as_mut()).map_err(|_| WalletError::NoRandomness)?;
            match Self::from_bytes(&key) {
                // One number of 2^128 is no key.
                Err(WalletError::NotAKey) => {}
                other => return other,
            }
        }
    }

    /// Where its money is.
    pub fn address(&self) -> EvmAddress {
        EvmAddress(self.signer.address().into_array())
    }

    /// The key, as `0x` and 64 digits: for the manifest of a test network. Never for logs.
    pub fn expose_hex(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(self.signer.to_bytes().0);
        Zeroizing::new(format!("0x{}", Zeroizing::new(hex::encode(key.as_ref())).as_str()))
    }

    /// Signs a transaction: its hash and its bytes as they are sent. Deterministic (RFC 6979).
    pub(crate) fn sign(&self, tx: TxEip1559) -> (TxHash, Vec<u8>) {
        let signature: Signature = self
            .signer
            .sign_hash_sync(&tx.signature_hash())
            .expect("invariant: signing a hash with a local key cannot fail");
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        (TxHash(envelope.tx_hash().0), envelope.encoded_2718())
    }

    /// Signs a hash that was made of typed data. Deterministic (RFC 6979).
    pub(crate) fn sign_digest(&self, digest: [u8; 32]) -> TokenSignature {
        let signature: Signature = self
            .signer
            .sign_hash_sync(&B256::new(digest))
            .expect("invariant: signing a hash with a local key cannot fail");
        TokenSignature {
            v: 27 + u8::from(signature.v()),
            r: signature.r().to_be_bytes(),
            s: signature.s().to_be_bytes(),
        }
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wallet({})", self.address())
    }
}
