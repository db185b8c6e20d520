//! How far a stage is, and how long it will take. What is not known is not made up.

use std::time::Duration;

use spillway_client::Progress;

/// How much of the stage is done, 0 to 1: by bytes where there are any, else by chunks.
pub(super) fn fraction(progress: &Progress) -> Option<f64> {
    let (done, total) = match (progress.bytes_total, progress.chunks_total) {
        (Some(total), _) if total > 0 => (progress.bytes_done, total),
        (_, Some(total)) if total > 0 => (progress.chunks_done, total),
        (Some(_), _) | (_, Some(_)) => return Some(1.0),
        (None, None) => return None,
    };
    #[expect(clippy::cast_precision_loss, reason = "a fraction to show, not to count with")]
    let fraction = done as f64 / total as f64;
    Some(fraction.min(1.0))
}

/// How long the rest of the stage takes at its rate so far, in whole seconds. A stage that has done
/// nothing yet has no rate.
pub(super) fn remaining(progress: &Progress, elapsed: Duration) -> Option<Duration> {
    let fraction = fraction(progress).filter(|fraction| *fraction > 0.0)?;
    let seconds = elapsed.as_secs_f64() * (1.0 - fraction) / fraction;
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_done_says_nothing_about_the_rest() {
        let progress = Progress { bytes_total: Some(10), ..Progress::default() };
        assert_eq!(fraction(&progress), Some(0.0));
        assert_eq!(remaining(&progress, Duration::from_secs(9)), None);
        let half = Progress { bytes_done: 5, ..progress };
        assert_eq!(remaining(&half, Duration::from_secs(9)), Some(Duration::from_secs(9)));
        let pipe = Progress { bytes_done: 5, ..Progress::default() };
        assert_eq!(remaining(&pipe, Duration::from_secs(9)), None);
    }
}
