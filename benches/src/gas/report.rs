use std::fmt::Write as _;

use super::GasRow;

/// The rows as two Markdown tables: sizes, and calls of their own.
pub fn table(rows: &[GasRow]) -> String {
    let mut text = String::from(
        "| chunks | published, single | published, Merkle | direct | transactions | batch: the \
         payer's one call | batch with all settles | beside Merkle |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let sizes = rows.iter().filter(|row| row.mode == "direct");
    for direct in sizes {
        let of = |mode| rows.iter().find(|row| row.mode == mode && row.chunks == direct.chunks);
        let (Some(batch), Some(settled)) = (of("batch"), of("batch-settled")) else { continue };
        let ratio = direct.peer_merkle_gas.map(|peer| percent(settled.gas_total, peer));
        line(
            &mut text,
            &[
                grouped(direct.chunks.unwrap_or_default() as u64),
                direct.peer_single_gas.map_or_else(none, thousands),
                direct.peer_merkle_gas.map_or_else(none, thousands),
                thousands(direct.gas_total),
                direct.transactions.to_string(),
                thousands(batch.gas_payer),
                thousands(settled.gas_total),
                ratio.map_or_else(none, |percent| format!("{percent} %")),
            ],
        );
    }
    text.push_str("\n| call | gas | transactions | call data |\n|---|---:|---:|---:|\n");
    for row in
        rows.iter().filter(|row| !matches!(row.mode.as_str(), "direct" | "batch" | "batch-settled"))
    {
        line(
            &mut text,
            &[
                row.mode.clone(),
                grouped(row.gas_total),
                row.transactions.to_string(),
                format!("{} bytes", grouped(row.calldata_bytes as u64)),
            ],
        );
    }
    text
}

fn line(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("invariant: a string takes everything");
}

fn none() -> String {
    "–".to_owned()
}

/// The nearest: what is cut would be always in our favour.
fn percent(part: u64, whole: u64) -> u64 {
    (100 * part + whole / 2) / whole
}

/// In thousands, which is all that does not change from run to run.
fn thousands(gas: u64) -> String {
    format!("{}k", grouped((gas + 500) / 1_000))
}

/// With a comma for every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_the_nearest() {
        // 67.6, 66.4 and 7.97 % of what was measured once, and a half.
        for (part, whole, expected) in
            [(676, 1_000, 68), (664, 1_000, 66), (921, 11_554, 8), (15, 1_000, 2), (14, 1_000, 1)]
        {
            assert_eq!(percent(part, whole), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn a_size_is_one_line_and_a_call_another() {
        let row = |chunks, mode, gas| GasRow {
            chunks,
            mode: String::from(mode),
            gas_payer: gas,
            gas_total: gas,
            transactions: 1,
            calldata_bytes: 1_228,
            peer_single_gas: Some(637_365),
            peer_merkle_gas: Some(400_000),
        };
        let rows = [
            row(Some(16), "direct", 500_499),
            row(Some(16), "batch", 72_500),
            row(Some(16), "batch-settled", 200_000),
            row(None, "approval", 46_000),
        ];
        let text = table(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "| 16 | 637k | 400k | 500k | 1 | 73k | 200k | 50 % |");
        assert_eq!(lines.last(), Some(&"| approval | 46,000 | 1 | 1,228 bytes |"));
    }
}
