use std::ops::Range;

/// How a file of known length is cut: a segment every `segment_bytes`, the last may be shorter. An
/// empty file is one empty segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    total_len: u64,
    segment_bytes: u64,
}

impl Cut {
    /// The cut of `total_len` bytes; a `segment_bytes` of zero counts as one.
    pub fn new(total_len: u64, segment_bytes: usize) -> Self {
        Self { total_len, segment_bytes: (segment_bytes as u64).max(1) }
    }

    /// How many segments there are: at least one.
    pub fn count(&self) -> u64 {
        self.total_len.div_ceil(self.segment_bytes).max(1)
    }

    /// The bytes of the file that are segment `index`; `None` when there is no such segment.
    pub fn range(&self, index: u64) -> Option<Range<u64>> {
        if index >= self.count() {
            return None;
        }
        let start = index * self.segment_bytes;
        Some(start..self.total_len.min(start.saturating_add(self.segment_bytes)))
    }

    /// All segments in order.
    pub fn ranges(self) -> impl Iterator<Item = Range<u64>> {
        (0..self.count()).filter_map(move |index| self.range(index))
    }
}
