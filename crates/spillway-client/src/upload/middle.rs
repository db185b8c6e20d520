//! Terms that are far from what the others say. What is planned has to suit every quote that is
//! kept, so one peer alone would set the tip, the prizes and the window of a whole upload.

use std::time::Duration;

use spillway_pay::ModeChoice;
use spillway_types::{
    Atto, QuoteError, QuoteTerms,
    limits::{DEFAULT_PRICE_CAP_FACTOR, MAX_CLOCK_SKEW},
};

use crate::{QuoteFailure, limits::ASSUMED_BYTES_PER_SECOND};

/// What quotes are needed for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    /// How is paid: directly nobody is paid a tip or wins a prize.
    pub mode: ModeChoice,
    /// The upload window that a quote should allow.
    pub window: Duration,
}

impl Purpose {
    /// So many bytes at the assumed rate, and what the planner keeps for clocks that are off.
    pub(super) fn of(mode: ModeChoice, bytes: u64) -> Self {
        let window = Duration::from_secs(bytes / ASSUMED_BYTES_PER_SECOND) + MAX_CLOCK_SKEW;
        Self { mode, window }
    }
}

/// What is thought of one peer's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// Only taken when too few are good: it costs the payer nothing but a way to pay.
    Spare(QuoteFailure),
    /// Not taken.
    Bad(QuoteFailure),
}

/// The bounds that follow from the answers for one chunk: a factor from their median.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Middle {
    most_price: Atto,
    most_tip: Atto,
    least_prize: Atto,
    least_window: Duration,
}

impl Middle {
    /// Of ten answers five may be hostile. So the lower of the two middle ones counts where more is
    /// worse, and the upper one where less is.
    pub(super) fn of<'t>(terms: impl Iterator<Item = &'t QuoteTerms> + Clone) -> Self {
        let factor = DEFAULT_PRICE_CAP_FACTOR;
        let most = |values: Vec<Atto>| {
            sorted_at(values, |len| len.saturating_sub(1) / 2)
                .unwrap_or(Atto::ZERO)
                .saturating_mul(u128::from(factor))
        };
        let prizes = terms.clone().map(|terms| terms.max_prize).collect();
        let windows: Vec<u32> = terms.clone().map(|terms| terms.max_window_secs).collect();
        Self {
            most_price: most(terms.clone().map(|terms| terms.price).collect()),
            most_tip: most(terms.map(|terms| terms.min_tip).collect()),
            least_prize: sorted_at(prizes, |len| len / 2)
                .map_or(Atto::ZERO, |Atto(prize)| Atto(prize / u128::from(factor))),
            least_window: Duration::from_secs(
                (sorted_at(windows, |len| len / 2).unwrap_or(0) / factor).into(),
            ),
        }
    }

    pub(super) fn judge(&self, terms: &QuoteTerms, purpose: Purpose) -> Verdict {
        let batches = purpose.mode != ModeChoice::Direct;
        let window = Duration::from_secs(terms.max_window_secs.into());
        if terms.price > self.most_price {
            let (price, cap) = (terms.price, self.most_price);
            return Verdict::Bad(QuoteError::OverCap { price, cap }.into());
        }
        if batches && terms.min_tip > self.most_tip {
            let (tip, cap) = (terms.min_tip, self.most_tip);
            return Verdict::Bad(QuoteFailure::TipOverCap { tip, cap });
        }
        if window < self.least_window {
            return Verdict::Bad(QuoteError::WindowTooShort { found: window }.into());
        }
        if window < purpose.window {
            return Verdict::Spare(QuoteError::WindowTooShort { found: window }.into());
        }
        if batches && terms.max_prize < self.least_prize {
            let (prize, least) = (terms.max_prize, self.least_prize);
            return Verdict::Spare(QuoteFailure::PrizeTooSmall { prize, least });
        }
        Verdict::Good
    }
}

/// The value at this place of the sorted ones.
fn sorted_at<T: Ord + Copy>(mut values: Vec<T>, place: impl Fn(usize) -> usize) -> Option<T> {
    values.sort_unstable();
    values.get(place(values.len())).copied()
}

#[cfg(test)]
mod tests {
    use spillway_types::{
        ChunkAddress, Domain, EvmAddress, NetworkId, RewardAddress, UnixTime,
        limits::MAX_UPLOAD_WINDOW,
    };

    use super::*;

    fn terms() -> QuoteTerms {
        QuoteTerms {
            domain: Domain { network: NetworkId([0; 32]), chain_id: 1, vault: EvmAddress([0; 20]) },
            address: ChunkAddress([1; 32]),
            size: 1,
            price: Atto(100),
            reward: RewardAddress([2; 20]),
            issued: UnixTime(0),
            expires: UnixTime(1),
            min_tip: Atto(100),
            max_prize: Atto(1_000),
            max_window_secs: u32::try_from(MAX_UPLOAD_WINDOW.as_secs()).unwrap(),
            confirmations: 0,
        }
    }

    /// Of ten answers the first so many are changed; what is thought of a changed one and of others.
    fn judged(
        mode: ModeChoice,
        count: usize,
        change: impl Fn(QuoteTerms) -> QuoteTerms,
    ) -> (Verdict, Verdict) {
        let all: Vec<QuoteTerms> =
            (0..10).map(|at| if at < count { change(terms()) } else { terms() }).collect();
        let middle = Middle::of(all.iter());
        let purpose = Purpose::of(mode, 1);
        (middle.judge(&all[0], purpose), middle.judge(&all[9], purpose))
    }

    #[test]
    fn up_to_five_of_ten_that_ask_for_too_large_a_tip_are_dropped() {
        for count in 1..=5 {
            let (odd, other) = judged(ModeChoice::Auto, count, |terms| QuoteTerms {
                min_tip: Atto(1_001),
                ..terms
            });
            let why = QuoteFailure::TipOverCap { tip: Atto(1_001), cap: Atto(1_000) };
            assert_eq!((odd, other), (Verdict::Bad(why), Verdict::Good), "{count}");
        }
        let ten_times = |terms| QuoteTerms { min_tip: Atto(1_000), ..terms };
        assert_eq!(judged(ModeChoice::Batch, 1, ten_times).0, Verdict::Good);
        let more = |terms| QuoteTerms { min_tip: Atto(1_001), ..terms };
        assert_eq!(judged(ModeChoice::Direct, 1, more).0, Verdict::Good, "nobody is paid it");
    }

    #[test]
    fn where_nobody_asks_for_a_tip_one_who_does_is_dropped() {
        let mut all = vec![QuoteTerms { min_tip: Atto::ZERO, ..terms() }; 10];
        all[3].min_tip = Atto(1);
        let middle = Middle::of(all.iter());
        let purpose = Purpose::of(ModeChoice::Batch, 1);
        let why = QuoteFailure::TipOverCap { tip: Atto(1), cap: Atto::ZERO };
        assert_eq!(middle.judge(&all[3], purpose), Verdict::Bad(why));
        assert_eq!(middle.judge(&all[4], purpose), Verdict::Good);
    }

    #[test]
    fn too_small_a_prize_is_taken_only_when_others_are_missing() {
        for count in 1..=5 {
            let (odd, other) = judged(ModeChoice::Auto, count, |terms| QuoteTerms {
                max_prize: Atto(99),
                ..terms
            });
            let why = QuoteFailure::PrizeTooSmall { prize: Atto(99), least: Atto(100) };
            assert_eq!((odd, other), (Verdict::Spare(why), Verdict::Good), "{count}");
        }
        let tenth = |terms| QuoteTerms { max_prize: Atto(100), ..terms };
        assert_eq!(judged(ModeChoice::Batch, 1, tenth).0, Verdict::Good);
        let none = |terms| QuoteTerms { max_prize: Atto::ZERO, ..terms };
        assert_eq!(judged(ModeChoice::Direct, 1, none).0, Verdict::Good);
        assert_eq!(judged(ModeChoice::Batch, 10, none).0, Verdict::Good, "nobody takes batches");
    }

    #[test]
    fn too_short_a_window_is_dropped_and_one_shorter_than_needed_is_a_last_resort() {
        let tenth = u32::try_from(MAX_UPLOAD_WINDOW.as_secs() / 10).unwrap();
        let windows = |secs| move |terms| QuoteTerms { max_window_secs: secs, ..terms };
        let short = QuoteError::WindowTooShort { found: Duration::from_secs(u64::from(tenth) - 1) };
        for count in 1..=5 {
            let (odd, other) = judged(ModeChoice::Direct, count, windows(tenth - 1));
            assert_eq!((odd, other), (Verdict::Bad(short.into()), Verdict::Good), "{count}");
        }
        assert_eq!(judged(ModeChoice::Direct, 1, windows(tenth)).0, Verdict::Good);
        let middle = Middle::of([terms()].iter());
        let two_days = QuoteTerms { max_window_secs: 2 * 86_400, ..terms() };
        let bytes = (2 * 86_400 - MAX_CLOCK_SKEW.as_secs()) * ASSUMED_BYTES_PER_SECOND;
        for (bytes, good) in [(bytes, true), (bytes + ASSUMED_BYTES_PER_SECOND, false)] {
            let verdict = middle.judge(&two_days, Purpose::of(ModeChoice::Direct, bytes));
            assert_eq!(verdict == Verdict::Good, good, "{verdict:?}");
            assert!(!matches!(verdict, Verdict::Bad(_)));
        }
    }
}
