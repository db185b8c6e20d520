//! Times as people read them.

use spillway_types::UnixTime;

const DAY_SECS: u64 = 86_400;
/// The first second of the year 10000: nobody waits for what comes later.
const YEAR_10000: u64 = 253_402_300_800;
/// Days of each month of a year that is not a leap year.
const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// `2026-11-21 11:25:15 UTC`; the bare number of seconds when it is too far away for a date.
pub(crate) fn utc(time: UnixTime) -> String {
    let secs = time.as_secs();
    if secs >= YEAR_10000 {
        return format!("{secs} s after 1970");
    }
    let (year, month, day) = date(secs / DAY_SECS);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The date that is so many days after 1970-01-01, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for (index, length) in MONTHS.into_iter().enumerate() {
        let length = length + u64::from(index == 1 && is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (1_795_260_315, "2026-11-21 11:25:15 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
            (253_402_300_800, "253402300800 s after 1970"),
        ] {
            assert_eq!(utc(UnixTime(secs)), text);
        }
    }
}
