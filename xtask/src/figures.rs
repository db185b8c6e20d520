//! Numbers for people.

use std::time::Duration;

use serde_json::Value;

/// Decimal places of a token and of the chain's coin.
const DECIMALS: usize = 18;

/// An integer that is a JSON number or, past 53 bits, a string.
pub(crate) fn integer(value: &Value) -> Option<u128> {
    match value {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// An amount of smallest units (atto, wei) as whole ones, exactly and without trailing zeros.
pub(crate) fn whole_units(smallest: u128) -> String {
    let digits = format!("{smallest:0>width$}", width = DECIMALS + 1);
    let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// Megabytes (10⁶ bytes) a second.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn megabytes_per_second(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 / 1e6 / elapsed.as_secs_f64()
}

/// A number of bytes in MB (10⁶) or MiB (2²⁰), one decimal.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn bytes_in(bytes: u64, unit: u64) -> f64 {
    bytes as f64 / unit as f64
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_come_as_numbers_or_strings() {
        assert_eq!(integer(&json!(7)), Some(7));
        assert_eq!(integer(&json!("90071992547409930")), Some(90_071_992_547_409_930));
        assert_eq!(integer(&json!(1.5)), None);
        assert_eq!(integer(&json!(null)), None);
    }

    #[test]
    fn units_are_exact() {
        assert_eq!(whole_units(0), "0");
        assert_eq!(whole_units(1), "0.000000000000000001");
        assert_eq!(whole_units(1_500_000_000_000_000_000), "1.5");
        assert_eq!(whole_units(20_000_000_000_000_000_000), "20");
    }

    #[test]
    fn medians() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).abs() < 1e-9);
        assert!((megabytes_per_second(5_000_000, Duration::from_secs(2)) - 2.5).abs() < 1e-9);
    }
}
