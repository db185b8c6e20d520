//! Calls of the vault in words that are put together here, not by the code that is tested.

use spillway_pay::{Call, Chain, ChainError};
use spillway_types::{BatchTerms, EvmAddress, UnixTime};

/// `commit(Batch,uint40)`, where `Batch` is `(address,bytes32,uint96,uint96,uint40,uint8)`.
const COMMIT: [u8; 4] = [0xdf, 0x40, 0x65, 0xef];
/// `refund(Batch)`.
const REFUND: [u8; 4] = [0x2a, 0xab, 0xfd, 0x02];
/// `settle(Batch,(uint8,bytes32,bytes32[],bytes32[])[],bytes)`.
const SETTLE: [u8; 4] = [0x53, 0xea, 0x6d, 0x41];

/// Pays a batch.
pub fn commit(from: EvmAddress, vault: EvmAddress, terms: &BatchTerms, until: UnixTime) -> Call {
    call((from, vault), COMMIT, terms, &[until.0])
}

/// Refunds a batch.
pub fn refund(from: EvmAddress, vault: EvmAddress, terms: &BatchTerms) -> Call {
    call((from, vault), REFUND, terms, &[])
}

/// Settles no draw of a batch, which the vault takes whenever it takes one: two empty lists, at the
/// offsets of eight and nine words, and their lengths.
pub fn settle_nothing(from: EvmAddress, vault: EvmAddress, terms: &BatchTerms) -> Call {
    call((from, vault), SETTLE, terms, &[8 * 32, 9 * 32, 0, 0])
}

fn call(
    (from, to): (EvmAddress, EvmAddress),
    selector: [u8; 4],
    terms: &BatchTerms,
    more: &[u64],
) -> Call {
    let mut data = selector.to_vec();
    data.extend(word(&terms.payer.0));
    data.extend(terms.root.0);
    data.extend(word(&terms.total.0.to_be_bytes()));
    data.extend(word(&terms.tip.0.to_be_bytes()));
    data.extend(word(&terms.upload_by.0.to_be_bytes()));
    data.extend(word(&[terms.draws]));
    data.extend(more.iter().flat_map(|number| word(&number.to_be_bytes())));
    Call { from, to, data }
}

fn word(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(bytes);
    word
}

/// What the contract says to a call that it refuses.
pub async fn refusal(chain: &dyn Chain, call: &Call) -> String {
    match chain.estimate_gas(call).await.unwrap_err() {
        ChainError::Reverted { reason: Some(reason) } => reason,
        other => panic!("{other:?}"),
    }
}
