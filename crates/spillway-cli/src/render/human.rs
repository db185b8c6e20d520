//! Figures as people read them.

use std::time::Duration;

use indicatif::DecimalBytes;

/// Digits behind the point of a token and of a coin.
const DECIMALS: usize = 18;

/// An amount of 10^-18 units in whole units, exactly, without zeros at the end.
pub(crate) fn amount(smallest: u128) -> String {
    let digits = format!("{smallest:0>width$}", width = DECIMALS + 1);
    let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// `1 chunk`, `2 chunks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// `12.34 MB`.
pub(crate) fn bytes(number: u64) -> String {
    DecimalBytes(number).to_string()
}

/// `3.2 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(amount(0), "0");
        assert_eq!(amount(1), "0.000000000000000001");
        assert_eq!(amount(2_500_000_000_000_000_000), "2.5");
        assert_eq!(amount(10u128.pow(19)), "10");
        assert_eq!(amount(u128::MAX), "340282366920938463463.374607431768211455");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "chunk"), "1 chunk");
        assert_eq!(count(0, "chunk"), "0 chunks");
    }
}
