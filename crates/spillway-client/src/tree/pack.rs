use super::Place;

/// A run of bytes of one file inside a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which file, in path order.
    pub file: usize,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u32,
}

/// Puts files into segments: those of a segment or more into their own, smaller ones together.
#[derive(Debug)]
pub(crate) struct Packing {
    segment_bytes: usize,
    segments: Vec<Vec<Piece>>,
    /// Index of the segment that small files go into, and how full it is.
    open: Option<(usize, usize)>,
}

impl Packing {
    pub(crate) fn new(segment_bytes: usize) -> Self {
        Self { segment_bytes, segments: Vec::new(), open: None }
    }

    /// Places the next file, in path order.
    pub(crate) fn add(&mut self, file: usize, len: u64) -> Place {
        if len >= self.segment_bytes as u64 {
            return self.add_large(file, len);
        }
        let len = usize::try_from(len).expect("invariant: less than a segment");
        let room = self.open.filter(|(_, used)| used + len <= self.segment_bytes);
        let (index, used) = room.unwrap_or_else(|| {
            self.segments.push(Vec::new());
            (self.segments.len() - 1, 0)
        });
        if len > 0 {
            self.segments[index].push(Piece { file, offset: 0, len: as_u32(len) });
        }
        self.open = Some((index, used + len));
        Place { segment: index as u64, offset: as_u32(used) }
    }

    fn add_large(&mut self, file: usize, len: u64) -> Place {
        let first = self.segments.len() as u64;
        let mut offset = 0;
        while offset < len {
            let piece = (len - offset).min(self.segment_bytes as u64);
            let piece = usize::try_from(piece).expect("invariant: at most a segment");
            self.segments.push(vec![Piece { file, offset, len: as_u32(piece) }]);
            offset += piece as u64;
        }
        Place { segment: first, offset: 0 }
    }

    /// The segments. An open one that holds only empty files is left out.
    pub(crate) fn finish(mut self) -> Vec<Vec<Piece>> {
        if self.segments.last().is_some_and(Vec::is_empty) {
            self.segments.pop();
        }
        self.segments
    }
}

fn as_u32(len: usize) -> u32 {
    u32::try_from(len).expect("invariant: a segment is at most 4 MiB")
}
