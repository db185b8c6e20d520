use super::ReadData;

/// Chooses some of so many chunks at random, one after the other: Knuth, The Art of Computer
/// Programming, volume 2, 3.4.2, algorithm S.
#[derive(Debug)]
pub(super) struct Sampler {
    to_choose: u64,
    left: u64,
}

impl Sampler {
    pub(super) fn new(read: ReadData, total: u64) -> Self {
        let to_choose = match read {
            ReadData::None => 0,
            ReadData::Chunks(chunks) => chunks,
            ReadData::Percent(percent) => {
                let part = u128::from(total) * u128::from(percent.min(100)) / 100;
                u64::try_from(part).unwrap_or(u64::MAX).max(u64::from(percent > 0))
            }
            ReadData::All => total,
        };
        Self { to_choose: to_choose.min(total), left: total }
    }

    /// Whether the next one is chosen. More are asked for than there are: those are not.
    pub(super) fn choose(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let chosen = fastrand::u64(..self.left) < self.to_choose;
        self.left -= 1;
        self.to_choose -= u64::from(chosen);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_so_many_are_chosen() {
        for (read, total, chosen) in [
            (ReadData::None, 50, 0),
            (ReadData::All, 50, 50),
            (ReadData::Chunks(7), 50, 7),
            (ReadData::Chunks(51), 50, 50),
            (ReadData::Percent(0), 50, 0),
            (ReadData::Percent(1), 50, 1),
            (ReadData::Percent(10), 50, 5),
            (ReadData::Percent(255), 50, 50),
            (ReadData::default(), 1_000, 50),
            (ReadData::All, 0, 0),
        ] {
            let mut sampler = Sampler::new(read, total);
            let found = (0..total).filter(|_| sampler.choose()).count();
            assert_eq!(found, chosen, "{read:?} of {total}");
            assert!(!sampler.choose());
        }
    }

    #[test]
    fn every_chunk_may_be_chosen() {
        let mut seen = [0_u32; 10];
        for _ in 0..2_000 {
            let mut sampler = Sampler::new(ReadData::Chunks(3), 10);
            for count in &mut seen {
                *count += u32::from(sampler.choose());
            }
        }
        // 600 each in the mean, with a deviation of 20.
        assert!(seen.iter().all(|count| (480..720).contains(count)), "{seen:?}");
    }
}
