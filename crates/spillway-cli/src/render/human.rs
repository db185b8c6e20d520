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

/// Text that somebody else may have chosen, such as the name of a file: line breaks, terminal controls
/// and what turns the direction of text around cannot be told from what we say.
pub(crate) fn one_line(text: &str) -> String {
    let is_odd =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_named_is_one_line_without_controls() {
        let said = one_line("a\x1b[2Jb\nc\u{202e}d\u{2069}e\u{9b}é");
        assert_eq!(said, "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}é");
    }

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
