use crate::{DataMap, Entry, Opener, UnpackError, codec::MAX_MAP_BYTES};

/// Goes from a root down to the map of level 0. It fetches nothing: it says what it needs next, and
/// the caller supplies it.
///
/// ```
/// # use spillway_seal::{DataMap, UnpackError, Unpacker};
/// # use spillway_types::ChunkAddress;
/// # fn level_0(root: DataMap, fetch: impl Fn(ChunkAddress) -> Vec<u8>) -> Result<DataMap, UnpackError> {
/// let mut unpacker = Unpacker::new(root)?;
/// while let Some(entry) = unpacker.pending().first() {
///     let chunk = fetch(entry.address);
///     unpacker.supply(&chunk)?;
/// }
/// unpacker.finish()
/// # }
/// ```
///
/// Levels strictly fall, so it ends after at most `MAX_DATA_MAP_DEPTH` of them. Its memory is the
/// encoded map of one level and its decoded form, at most twice 136 MiB.
#[derive(Debug)]
pub struct Unpacker {
    map: DataMap,
    opener: Opener,
    next: usize,
    below: Vec<u8>,
}

impl Unpacker {
    /// Starts at a root of any level.
    ///
    /// # Errors
    /// [`UnpackError::TooLong`] when the map below it is longer than a reader takes.
    pub fn new(root: DataMap) -> Result<Self, UnpackError> {
        let max = MAX_MAP_BYTES as u64;
        if root.level > 0 && root.len_at_level() > max {
            return Err(UnpackError::TooLong { declared: root.len_at_level(), max });
        }
        Ok(Self { opener: root.opener(), map: root, next: 0, below: Vec::new() })
    }

    /// The chunks that are needed at this level, in the order in which they have to be supplied;
    /// none when the map is complete. When they all are supplied, those of the level below follow.
    pub fn pending(&self) -> &[Entry] {
        if self.map.level == 0 { &[] } else { &self.map.entries()[self.next..] }
    }

    /// Takes the chunk of the first pending entry.
    ///
    /// # Errors
    /// [`UnpackError::Open`] for a chunk that is not the right one: nothing has changed then, and
    /// another may be supplied. After any other error the root is unusable.
    pub fn supply(&mut self, chunk: &[u8]) -> Result<(), UnpackError> {
        let Some(&entry) = self.pending().first() else {
            return Err(UnpackError::NotNeeded);
        };
        let keys =
            self.map.key_hashes(self.next).expect("invariant: what is pending is in the map");
        let segment = self.opener.open(&keys, &entry, chunk).map_err(|source| {
            UnpackError::Open { level: self.map.level - 1, index: keys.index(), source }
        })?;
        self.below.extend_from_slice(&segment);
        self.next += 1;
        if self.pending().is_empty() {
            self.descend()?;
        }
        Ok(())
    }

    /// The map of level 0.
    ///
    /// # Errors
    /// [`UnpackError::Incomplete`] while something is pending.
    pub fn finish(self) -> Result<DataMap, UnpackError> {
        match self.pending().len() as u64 {
            0 => Ok(self.map),
            missing => Err(UnpackError::Incomplete { level: self.map.level - 1, missing }),
        }
    }

    /// Goes on with the map below, whose bytes are complete.
    fn descend(&mut self) -> Result<(), UnpackError> {
        let expected = self.map.level - 1;
        let below = DataMap::decode(&std::mem::take(&mut self.below))
            .map_err(|source| UnpackError::Map { level: expected, source })?;
        if below.level != expected {
            return Err(UnpackError::Level { expected, found: below.level });
        }
        let agree = [
            ("kind of content", below.content == self.map.content),
            ("length of the content", below.content_len == self.map.content_len),
            ("file secret", below.secret == self.map.secret),
        ];
        if let Some((field, _)) = agree.iter().find(|(_, same)| !same) {
            return Err(UnpackError::Disagree { upper: self.map.level, lower: expected, field });
        }
        *self = Self::new(below)?;
        Ok(())
    }
}
