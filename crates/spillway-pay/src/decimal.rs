//! Amounts as people read them.

/// Digits of the fraction of a coin or a token.
const DECIMALS: usize = 18;

/// Significant digits of a fraction that are shown.
const SHOWN: usize = 4;

/// An amount of 10^-18 units, in whole units: `0.0021` for 2,100,000,000,000,000. Rounded down to
/// four significant digits of the fraction.
pub(crate) fn show(amount: u128) -> String {
    let unit = 10_u128.pow(18);
    let (whole, fraction) = (amount / unit, amount % unit);
    let digits = format!("{fraction:0DECIMALS$}");
    let zeros = if whole == 0 { digits.len() - digits.trim_start_matches('0').len() } else { 0 };
    let shown = &digits[..(zeros + SHOWN).min(DECIMALS)];
    let shown = shown.trim_end_matches('0');
    if shown.is_empty() { whole.to_string() } else { format!("{whole}.{shown}") }
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn amounts_are_short_and_never_too_high() {
        let unit = 10_u128.pow(18);
        for (amount, text) in [
            (0, "0"),
            (15, "0.000000000000000015"),
            (2_100_000_000_000_000, "0.0021"),
            (2_100_999_999_999_999, "0.0021"),
            (123_456_789_000_000_000, "0.1234"),
            (unit, "1"),
            (unit + 1, "1"),
            (12 * unit + unit / 4, "12.25"),
        ] {
            assert_eq!(show(amount), text);
        }
    }
}
