use crate::MAX_INPUT_BYTES;

/// Bytes at which lengths and numbers end.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'/', b'.'];

/// Lengths that no message has: fixed ones, little-endian, and varints of up to 64 and over 64 bits.
const LENGTHS: [&[u8]; 8] = [
    &[0xff; 4],
    &[0xff; 8],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0, 0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
];

/// Most changes of one input.
const MAX_CHANGES: usize = 4;

/// Most bytes that one change adds.
const MAX_ADDED: usize = 64;

/// Changes inputs as storage, networks and attackers do: bits, cuts, repeats, splices, lengths.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// One that does the same for the same name, always.
    pub fn new(name: &str) -> Self {
        // FNV-1a, 64 bits.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self { state: name.bytes().fold(0xcbf2_9ce4_8422_2325, hash) }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when there is none.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next().to_le_bytes();
        byte
    }

    /// One of the inputs with one to four changes.
    pub fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let Some(mut input) = inputs.get(self.below(inputs.len())).cloned() else {
            return Vec::new();
        };
        for _ in 0..=self.below(MAX_CHANGES) {
            self.change(&mut input, inputs);
        }
        input.truncate(MAX_INPUT_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len());
        let to = at + self.below(input.len() - at + 1);
        match self.below(10) {
            0 | 1 => {
                let bit = self.below(8);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            2 => {
                let edge = EDGES[self.below(EDGES.len())];
                if let Some(byte) = input.get_mut(at) {
                    *byte = edge;
                }
            }
            3 => input.truncate(at),
            4 => drop(input.drain(at..to)),
            5 => {
                let again = input[at..to].iter().copied().take(MAX_ADDED).collect::<Vec<_>>();
                input.splice(at..at, again);
            }
            6 => {
                let added = (0..self.below(MAX_ADDED)).map(|_| self.byte()).collect::<Vec<_>>();
                input.splice(at..at, added);
            }
            7 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            8 => {
                let length = LENGTHS[self.below(LENGTHS.len())];
                let end = input.len().min(at + length.len());
                input.splice(at..end, length.iter().copied());
            }
            _ => {
                let length = LENGTHS[self.below(LENGTHS.len())];
                input.splice(at..at, length.iter().copied());
            }
        }
    }
}
