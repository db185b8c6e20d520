use spillway_pay::FindOptions;
use spillway_types::limits;

use super::*;

/// Ceilings of whole transactions, steady payees.
const COMMIT: u64 = 75_000;
const FURTHER_BATCH: u64 = 30_000;
const WARM_PAYEE: u64 = 6_500;
const REFUND: u64 = 65_000;

const RECORDED: &str = include_str!("../../data/gas.json");
const README: &str = include_str!("../../../README.md");
const PAYMENTS: &str = include_str!("../../../docs/payments.md");

fn recorded() -> Vec<GasRow> {
    RECORDED.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every line of one page is a line of the other, in this order and without a gap.
fn assert_holds(page: &str, lines: &str, name: &str) {
    let first = lines.lines().next().unwrap();
    let found: Vec<&str> = page.lines().skip_while(|line| *line != first).collect();
    for (index, line) in lines.lines().enumerate() {
        let now = found.get(index).copied().unwrap_or_default();
        assert_eq!(now, line, "{name} is not what benches/data/gas.json gives");
    }
}

#[test]
fn the_tables_of_the_docs_are_the_recorded_figures() {
    let table = table(&recorded());
    let (sizes, calls) = table.split_once("\n\n").unwrap();
    assert_eq!(sizes.lines().count(), 2 + GAS_SIZES.len());
    assert_holds(README, sizes, "README.md");
    assert_holds(PAYMENTS, sizes, "docs/payments.md");
    assert_holds(PAYMENTS, calls, "docs/payments.md");
}

/// What sizes between the recorded ones take: gas of chunks one after the other.
fn at(rows: &[GasRow], mode: &str, chunks: usize) -> u64 {
    let sizes = || rows.iter().filter(|row| row.mode == mode && row.chunks.is_some());
    let below = sizes().rfind(|row| row.chunks <= Some(chunks)).unwrap();
    let Some(above) = sizes().find(|row| row.chunks > Some(chunks)) else { return below.gas_total };
    let (from, to) = (below.chunks.unwrap(), above.chunks.unwrap());
    let more = (above.gas_total - below.gas_total) * (chunks - from) as u64 / (to - from) as u64;
    below.gas_total + more
}

/// 153,032 of 153032.
fn grouped(number: u64) -> String {
    format!("{},{:03}", number / 1_000, number % 1_000)
}

/// What the text says of the tables.
#[test]
fn the_sentences_of_the_docs_are_the_recorded_figures() {
    let rows = recorded();
    let settles = |chunks: usize| {
        let row = rows.iter().find(|row| row.mode == "batch-settled" && row.chunks == Some(chunks));
        row.map(|row| row.gas_total - row.gas_payer).unwrap()
    };
    let direct = (1..100).rfind(|&n| at(&rows, "direct", n) < at(&rows, "batch-settled", n));
    let with_tips = |chunks: usize| at(&rows, "batch", chunks) + limits::TIP_GAS;
    let batch = (1..100).find(|&chunks| with_tips(chunks) < at(&rows, "direct", chunks));
    let seed = rows.iter().find(|row| row.mode == "seed of drand").unwrap().gas_total;
    let (one, most, sixteen) = (settles(1), settles(256).max(settles(129)), settles(4_096) / 16);
    let thousands = |gas: u64, step: u64| grouped(gas / step * step);
    for said in [
        format!("cheaper than a batch with its settles up to {} chunks.", direct.unwrap()),
        format!("settles, worth {} gas a draw", grouped(limits::TIP_GAS)),
        format!("a batch is cheaper from {} chunks on", batch.unwrap()),
        format!("a 64th of a seed's {}:", thousands(seed + 500, 1_000)),
        format!("of 16 draws takes {} to", thousands(sixteen - 500, 2_000)),
        format!("of a single one {} to", thousands(one, 10_000)),
        format!("to {} with up to 256 chunks;", thousands(most + 9_999, 10_000)),
    ] {
        assert!(PAYMENTS.contains(&said), "docs/payments.md does not say `{said}`");
    }
}

/// What is measured now is what was recorded: seeds and hashes differ from run to run, and with them
/// which leaves are drawn and how many payees they have in common.
fn assert_as_recorded(rows: &[GasRow]) {
    let recorded = recorded();
    let key = |row: &GasRow| (row.chunks, row.mode.clone());
    assert_eq!(
        rows.iter().map(key).collect::<Vec<_>>(),
        recorded.iter().map(key).collect::<Vec<_>>()
    );
    for (now, before) in rows.iter().zip(&recorded) {
        let percent = if now.mode == "batch-settled" { 5 } else { 1 };
        let off = now.gas_total.abs_diff(before.gas_total);
        assert!(
            100 * off <= percent * before.gas_total && now.transactions == before.transactions,
            "`cargo xtask bench gas --write` changes it: {now:?} {before:?}"
        );
        assert_eq!(
            (now.peer_single_gas, now.peer_merkle_gas),
            (before.peer_single_gas, before.peer_merkle_gas)
        );
    }
}

/// On a real chain: no call is dearer than what is promised, the whole of a batch is cheaper than the
/// published Merkle mode from 16 chunks on, and every settlement pays for itself, or it fails there.
#[tokio::test]
async fn no_payment_is_dearer_than_promised() {
    let options = FindOptions {
        start_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        ..FindOptions::default()
    };
    let anvil = spillway_pay::Anvil::find(&options);
    let anvil = anvil.expect("no Anvil in tools/node_modules: run `cargo xtask setup`");
    let rows = measure_gas(anvil, &GAS_SIZES).await.unwrap();
    let of = |mode: &str, chunks: Option<usize>| {
        rows.iter().find(|row| row.mode == mode && row.chunks == chunks).unwrap()
    };
    for chunks in GAS_SIZES {
        let batch = of("batch", Some(chunks));
        assert_eq!((batch.transactions, batch.calldata_bytes), (1, 228), "{chunks} chunks");
        assert!(batch.gas_payer <= COMMIT, "commit, {chunks} chunks: {}", batch.gas_payer);
        let settled = of("batch-settled", Some(chunks));
        assert_eq!(settled.gas_payer, batch.gas_payer);
        assert_eq!(settled.transactions, 2, "all draws are settled with one transaction");
        if let Some(merkle) = settled.peer_merkle_gas {
            assert!(settled.gas_total < merkle, "{chunks} chunks: {}", settled.gas_total);
        }
        let settle = settled.gas_total - settled.gas_payer;
        if chunks <= limits::LEAVES_PER_DRAW {
            assert!(settle <= limits::SETTLE_ALONE_GAS, "the draw of {chunks} chunks: {settle}");
        }
    }
    let many = of("commit-many, 8 batches", None).gas_total;
    let further = (many - of("batch", Some(1)).gas_payer) / 7;
    assert!(further <= FURTHER_BATCH, "a further batch: {further}");
    let (one, more) = (of("direct", Some(1)).gas_payer, of("direct", Some(16)).gas_payer);
    let payee = (more - one) / (5 * 15);
    assert!(payee <= WARM_PAYEE, "a warm payee: {payee}");
    let settled = of("batch-settled", Some(4_096));
    let draw = (settled.gas_total - settled.gas_payer) / 16;
    assert!(draw <= limits::SETTLE_GAS, "a draw of 16: {draw}");
    for (name, most) in [
        ("approval", 50_000),
        ("seed of drand", limits::SEED_GAS),
        ("refund, 16 draws", REFUND),
        ("settle, 1 draw, payees new to the vault", 185_000),
    ] {
        let call = of(name, None);
        assert!(call.transactions == 1 && call.gas_total <= most, "{call:?}");
    }
    assert_eq!(of("seed of block hashes: arm and take", None).transactions, 2);
    assert_as_recorded(&rows);
}
