use std::sync::LazyLock;

use serde::Deserialize;

/// What was measured of the published network; `about` in the file says how.
#[derive(Debug, Deserialize)]
struct Published {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    kind: String,
    mode: String,
    #[serde(rename = "N")]
    chunks: usize,
    gas: u64,
    txs: usize,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/peer-gas.json"))
        .expect("invariant: the file is tested")
});

/// What a payment for each chunk by itself uses there.
pub(super) fn single(chunks: usize) -> Option<u64> {
    steady("single", chunks)
}

/// What its Merkle mode uses. Where the file has one transaction and several, it is several: the
/// published client splits at 256.
pub(super) fn merkle(chunks: usize) -> Option<u64> {
    steady("merkle", chunks)
}

fn steady(kind: &str, chunks: usize) -> Option<u64> {
    let rows = PUBLISHED.rows.iter();
    rows.filter(|row| row.kind == kind && row.mode == "steady" && row.chunks == chunks)
        .max_by_key(|row| row.txs)
        .map(|row| row.gas)
}

#[cfg(test)]
mod tests {
    use super::super::GAS_SIZES;
    use super::*;

    #[test]
    fn every_size_has_its_figures() {
        for chunks in GAS_SIZES {
            assert!(single(chunks).is_some(), "{chunks}");
            assert_eq!(merkle(chunks).is_none(), chunks == 1, "{chunks}");
        }
        assert_eq!((single(16), merkle(16)), (Some(637_365), Some(371_418)));
        assert_eq!(merkle(4_096), Some(11_553_672), "as the published client splits it");
    }
}
