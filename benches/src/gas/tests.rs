use spillway_pay::FindOptions;

use super::*;

/// Ceilings of whole transactions, steady payees.
const COMMIT: u64 = 75_000;
const FURTHER_BATCH: u64 = 30_000;
const WARM_PAYEE: u64 = 6_500;
const DRAW: u64 = 60_000;

/// On a real chain: no call is dearer than what is promised, and the whole of a batch is cheaper than
/// the published Merkle mode from 16 chunks on.
#[tokio::test]
async fn no_payment_is_dearer_than_promised() {
    let options = FindOptions {
        start_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        ..FindOptions::default()
    };
    let anvil = spillway_pay::Anvil::find(&options);
    let anvil = anvil.expect("no Anvil in tools/node_modules: run `cargo xtask setup`");
    let rows = measure_gas(anvil, &[1, 16, 129, 4_096]).await.unwrap();
    let of = |mode: &str, chunks: Option<usize>| {
        rows.iter().find(|row| row.mode == mode && row.chunks == chunks).unwrap()
    };
    for chunks in [1, 16, 129, 4_096] {
        let batch = of("batch", Some(chunks));
        assert_eq!((batch.transactions, batch.calldata_bytes), (1, 228), "{chunks} chunks");
        assert!(batch.gas_payer <= COMMIT, "commit, {chunks} chunks: {}", batch.gas_payer);
        let settled = of("batch-settled", Some(chunks));
        assert_eq!(settled.gas_payer, batch.gas_payer);
        if let Some(merkle) = settled.peer_merkle_gas {
            assert!(settled.gas_total < merkle, "{chunks} chunks: {}", settled.gas_total);
        }
    }
    let many = of("commit-many, 8 batches", None).gas_total;
    let further = (many - of("batch", Some(1)).gas_payer) / 7;
    assert!(further <= FURTHER_BATCH, "a further batch: {further}");
    let (one, more) = (of("direct", Some(1)).gas_payer, of("direct", Some(16)).gas_payer);
    let payee = (more - one) / (5 * 15);
    assert!(payee <= WARM_PAYEE, "a warm payee: {payee}");
    let settled = of("batch-settled", Some(4_096));
    assert_eq!(settled.transactions, 2, "16 draws are settled with one transaction");
    let draw = (settled.gas_total - settled.gas_payer) / 16;
    assert!(draw <= DRAW, "a draw of 16: {draw}");
    for name in ["approval", "seed of drand", "refund, 16 draws"] {
        assert_eq!(of(name, None).transactions, 1, "{name}");
    }
    assert_eq!(of("seed of block hashes: arm and take", None).transactions, 2);
}
