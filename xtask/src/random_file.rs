//! Files that no compression makes smaller and that no run repeats by chance.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Bytes made at a time.
const BLOCK_BYTES: u64 = 1 << 20;

/// Writes `size_bytes` pseudo-random bytes: the same seed gives the same file.
pub(crate) fn write(path: &Path, size_bytes: u64, seed: u64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut writer = BufWriter::new(file);
    let mut left = size_bytes;
    let mut block = vec![0; usize::try_from(BLOCK_BYTES)?];
    while left > 0 {
        let now = usize::try_from(left.min(BLOCK_BYTES))?;
        random.fill(&mut block);
        writer
            .write_all(&block[..now])
            .with_context(|| format!("cannot write {}", path.display()))?;
        left -= now as u64;
    }
    writer.flush().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_seed_gives_one_file_of_the_exact_size() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str, seed| {
            let path = directory.path().join(name);
            write(&path, BLOCK_BYTES + 7, seed).unwrap();
            fs::read(path).unwrap()
        };
        let first = make("a", 1);
        assert_eq!(first.len() as u64, BLOCK_BYTES + 7);
        assert!(first == make("b", 1));
        assert!(first != make("c", 2));
    }
}
