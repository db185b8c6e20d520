use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, TxKind},
    signers::{SignerSync, local::PrivateKeySigner},
};
use spillway_pay::{Call, Chain, TxReceipt, Wallet};

use super::Stage;

/// More than any call of these tests uses.
const GAS_LIMIT: u64 = 8_000_000;

/// Bytes of a transaction at the sender's next nonce; no journal, no checks.
async fn raw_call(stage: &Stage, from: &Wallet, call: &Call) -> Vec<u8> {
    raw(stage, from, TxKind::Call(Address::new(call.to.0)), call.data.clone()).await
}

/// Creates a contract.
pub(crate) async fn raw_creation(stage: &Stage, from: &Wallet, code: Vec<u8>) -> Vec<u8> {
    raw(stage, from, TxKind::Create, code).await
}

async fn raw(stage: &Stage, from: &Wallet, to: TxKind, data: Vec<u8>) -> Vec<u8> {
    let signer: PrivateKeySigner = from.expose_hex().parse().unwrap();
    let tx = TxEip1559 {
        chain_id: stage.domain.chain_id,
        nonce: stage.chain.pending_nonce(from.address()).await.unwrap(),
        gas_limit: GAS_LIMIT,
        max_fee_per_gas: 5_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        input: data.into(),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

impl Stage {
    /// Sends a call as it is, whoever is to send it, and waits until it is mined.
    pub(crate) async fn send_call(&self, from: &Wallet, call: &Call) -> TxReceipt {
        let raw = raw_call(self, from, call).await;
        self.send_bytes(&raw).await
    }

    pub(crate) async fn send_bytes(&self, raw: &[u8]) -> TxReceipt {
        let hash = self.chain.send_raw(raw).await.unwrap();
        self.wait_until_mined(hash).await;
        self.chain.receipt(hash).await.unwrap().unwrap()
    }
}
