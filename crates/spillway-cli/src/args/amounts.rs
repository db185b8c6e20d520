use spillway_types::{Atto, Wei};

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
}
