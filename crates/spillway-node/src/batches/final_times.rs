use spillway_types::UnixTime;

/// The times of the newest final block, as it was heard twice. One answer alone may be of another
/// chain: it never ends anything for good.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FinalTimes {
    newest: UnixTime,
    before: UnixTime,
    /// The last end that something was left out for.
    believed: Option<UnixTime>,
}

impl FinalTimes {
    /// Takes note of an answer. False when something was left out that is not over by this one.
    pub(super) fn heard(&mut self, time: UnixTime) -> bool {
        self.before = std::mem::replace(&mut self.newest, time);
        self.believed.take_if(|end| time <= *end).is_none()
    }

    /// Whether what ends then is over by the newest answer, so that it may be left out.
    pub(super) fn is_over(&mut self, end: UnixTime) -> bool {
        let is_over = self.newest > end;
        if is_over {
            self.believed = self.believed.max(Some(end));
        }
        is_over
    }

    /// The time by which what is over may be deleted.
    pub(super) fn for_good(&self) -> UnixTime {
        self.newest.min(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_ends_nothing_for_good() {
        let mut times = FinalTimes::default();
        assert!(times.heard(UnixTime(100)) && !times.is_over(UnixTime(100)));
        assert_eq!(times.for_good(), UnixTime(0));
        assert!(times.heard(UnixTime(200)));
        assert_eq!(times.for_good(), UnixTime(100));
        // Back, but nothing was left out that ends after it.
        assert!(times.is_over(UnixTime(120)) && times.heard(UnixTime(121)));
        assert!(!times.heard(UnixTime(120)));
        assert!(times.heard(UnixTime(120)));
        assert_eq!(times.for_good(), UnixTime(120));
    }
}
