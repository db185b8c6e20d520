use std::time::Duration;

/// Times of one operation, ours and the other crate's, taken in turn.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What was done to what.
    pub name: String,
    /// How many bytes it was each time.
    pub bytes: usize,
    /// How many bytes ours had to store.
    pub our_stored_bytes: usize,
    /// How many bytes the other crate's had to store.
    pub their_stored_bytes: usize,
    /// Ours, one a round.
    pub ours: Vec<Duration>,
    /// The other crate's, one a round.
    pub theirs: Vec<Duration>,
}

impl Comparison {
    /// Our median speed, in 10^6 bytes a second.
    pub fn our_mb_s(&self) -> f64 {
        mb_s(self.bytes, &self.ours)
    }

    /// The other crate's median speed, in 10^6 bytes a second.
    pub fn their_mb_s(&self) -> f64 {
        mb_s(self.bytes, &self.theirs)
    }

    /// How many times as fast we are.
    pub fn ratio(&self) -> f64 {
        self.our_mb_s() / self.their_mb_s()
    }

    /// Heads of the columns of [`Comparison::row`].
    pub fn heading() -> String {
        format!("{:<14}{:>22}{:>26}{:>9}", "", "spillway", "self_encryption", "ratio")
    }

    /// One line of a table: speed and, in brackets, what was stored of each 100 bytes.
    pub fn row(&self) -> String {
        format!(
            "{:<14}{:>9.0} MB/s ({:>4.1} %){:>13.0} MB/s ({:>4.1} %){:>8.1}x",
            self.name,
            self.our_mb_s(),
            percent(self.our_stored_bytes, self.bytes),
            self.their_mb_s(),
            percent(self.their_stored_bytes, self.bytes),
            self.ratio(),
        )
    }

    /// One JSON object on one line.
    pub fn json(&self) -> String {
        format!(
            r#"{{"name":"{}","bytes":{},"rounds":{},"spillway_mb_s":{:.1},"self_encryption_mb_s":{:.1},"ratio":{:.2},"spillway_stored_bytes":{},"self_encryption_stored_bytes":{}}}"#,
            self.name,
            self.bytes,
            self.ours.len(),
            self.our_mb_s(),
            self.their_mb_s(),
            self.ratio(),
            self.our_stored_bytes,
            self.their_stored_bytes,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark are far below 2^53")]
fn mb_s(bytes: usize, times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |median| bytes as f64 / 1e6 / median.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark are far below 2^53")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}
