use std::time::Duration;

use spillway_types::{Atto, TokenRate, Wei, limits::MAX_BATCH_LEAVES};

/// An amount of tokens in the smallest unit.
pub(crate) fn parse_atto(text: &str) -> Result<Atto, String> {
    whole(text).map(Atto)
}

/// An amount of coins in the smallest unit.
pub(crate) fn parse_wei(text: &str) -> Result<Wei, String> {
    whole(text).map(Wei)
}

fn whole(text: &str) -> Result<u128, String> {
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| "expected a whole number of the smallest unit (10^-18)".to_owned())
}

/// Suffixes of sizes and their factors: powers of 1024 and of 1000.
const UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

/// A size in bytes: a whole number with or without one of the units above.
pub(crate) fn parse_capacity(text: &str) -> Result<u64, String> {
    let wrong = || "expected a size such as 10GiB, 500GB or a number of bytes".to_owned();
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    let count: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
    count.checked_mul(factor).ok_or_else(wrong)
}

/// How many chunks a batch may have.
pub(crate) fn parse_leaves(text: &str) -> Result<usize, String> {
    let leaves = text.parse().ok().filter(|leaves| (1..=MAX_BATCH_LEAVES).contains(leaves));
    leaves.ok_or_else(|| format!("expected 1 to {MAX_BATCH_LEAVES} chunks"))
}

/// Digits behind the point of a coin.
const COIN_DECIMALS: usize = 18;

/// What one token is worth in coins: a decimal above 0 with at most 18 digits behind the point.
pub(crate) fn parse_token_rate(text: &str) -> Result<TokenRate, String> {
    let wrong = || "expected the coins that one token is worth, such as 0.0004".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > COIN_DECIMALS {
        return Err(wrong());
    }
    let wei: u128 = format!("{whole}{fraction:0<COIN_DECIMALS$}").parse().map_err(|_| wrong())?;
    if wei == 0 {
        return Err("a token that is worth nothing cannot be compared with gas".to_owned());
    }
    Ok(TokenRate(Wei(wei)))
}

/// Suffixes of durations and their seconds.
const SPANS: &[(char, u64)] = &[('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

/// The longest duration: what the vault's times of 40 bits hold by far, a hundred years.
const LONGEST_SECS: u64 = 100 * 365 * 86_400;

/// A duration of at least a second: a whole number with one of the units above.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a duration such as 60s, 15m, 24h or 30d".to_owned();
    let (digits, secs) = SPANS
        .iter()
        .find_map(|(unit, secs)| Some((text.strip_suffix(*unit)?, *secs)))
        .ok_or_else(wrong)?;
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    match count.checked_mul(secs) {
        Some(secs @ 1..=LONGEST_SECS) => Ok(Duration::from_secs(secs)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_none() {
        assert_eq!(parse_capacity("10GiB"), Ok(10 << 30));
        assert_eq!(parse_capacity("10 GB"), Ok(10_000_000_000));
        assert_eq!(parse_capacity("5"), Ok(5));
        assert_eq!(parse_capacity("5B"), Ok(5));
        for wrong in ["", "GiB", "-1", "1.5GiB", "20000000TiB", "10gib"] {
            let message = "expected a size such as 10GiB, 500GB or a number of bytes";
            assert_eq!(parse_capacity(wrong), Err(message.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_whole() {
        assert_eq!(parse_atto("1_000"), Ok(Atto(1000)));
        assert_eq!(parse_wei("0"), Ok(Wei(0)));
        let message = "expected a whole number of the smallest unit (10^-18)";
        assert_eq!(parse_atto("1.5"), Err(message.to_owned()));
        assert_eq!(parse_wei("-1"), Err(message.to_owned()));
    }

    #[test]
    fn a_batch_has_a_size() {
        assert_eq!((parse_leaves("1"), parse_leaves("65536")), (Ok(1), Ok(65_536)));
        for wrong in ["", "0", "-1", "65537", "many", "4k"] {
            assert_eq!(
                parse_leaves(wrong),
                Err("expected 1 to 65536 chunks".to_owned()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_rate_is_a_decimal_above_zero() {
        assert_eq!(parse_token_rate("1"), Ok(TokenRate(Wei(10u128.pow(18)))));
        assert_eq!(parse_token_rate("0.0004"), Ok(TokenRate(Wei(4 * 10u128.pow(14)))));
        assert_eq!(parse_token_rate("0.000000000000000001"), Ok(TokenRate(Wei(1))));
        let wrongs = ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000000000000000001"];
        let large = "9".repeat(39);
        for wrong in wrongs.into_iter().chain([large.as_str()]) {
            let message = "expected the coins that one token is worth, such as 0.0004";
            assert_eq!(parse_token_rate(wrong), Err(message.to_owned()), "{wrong}");
        }
        let nothing = "a token that is worth nothing cannot be compared with gas";
        assert_eq!(parse_token_rate("0.0"), Err(nothing.to_owned()));
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("60s"), Ok(Duration::from_mins(1)));
        assert_eq!(parse_duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_hours(24)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_hours(720)));
        for wrong in ["", "s", "60", "0s", "-1s", "1.5h", "1w", "1h30m", "36501d", "99999999999d"] {
            let message = "expected a duration such as 60s, 15m, 24h or 30d";
            assert_eq!(parse_duration(wrong), Err(message.to_owned()), "{wrong}");
        }
    }
}
