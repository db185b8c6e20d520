use spillway_store::Capacity;
use spillway_types::Atto;

use crate::limits::LEAST_BILLED_BYTES;

/// One mebibyte, in bytes.
const MIB: u128 = 1024 * 1024;

/// The part of the capacity that counts as free even when less is: one in this many. The price never
/// rises above this many times that of an empty node.
const FLOOR_PART: u64 = 20;

/// Scarcity is counted in millionths.
const ONE: u128 = 1_000_000;

/// What a node asks for a chunk: its base price a MiB, times how scarce its space is.
///
/// `price = ⌈base · size / MiB · 1 / (1 − fill)⌉`, with at least [`LEAST_BILLED_BYTES`] as size, since
/// the smallest chunk fills a block of the disk, and with the fill capped at 19/20: the congestion
/// factor of a queue (M/M/1), which is what the last free places are worth when all that are sold
/// keep their value. It is smooth, 1 for an empty node, 2 for a half full one, 10 at nine tenths,
/// and 20 from the cap on, so a full node never asks for the absurd; clients drop what is over ten
/// times the median of the answers, so load moves to emptier nodes before that.
///
/// Only what is stored counts as filled. Space that is promised to quotes does not: quotes are free,
/// and nobody shall raise a node's price for free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    per_mib: Atto,
}

impl Price {
    /// The largest base price, 2^72: even 500 chunks at 20 times of it fit one payment.
    pub const MAX_PER_MIB: Atto = Atto(1 << 72);

    /// A node that asks this much for a MiB while it is empty. `None` for nothing, which the vault
    /// cannot pay, and for more than [`Price::MAX_PER_MIB`].
    pub fn per_mib(per_mib: Atto) -> Option<Self> {
        (Atto(1)..=Self::MAX_PER_MIB).contains(&per_mib).then_some(Self { per_mib })
    }

    /// The price of a chunk of `size_bytes` for a store this full: at least 1, at most 20 times the
    /// base price of its size, rounded up.
    pub fn of(&self, size_bytes: u32, capacity: &Capacity) -> Atto {
        let whole = capacity.capacity_bytes.max(1);
        let free = capacity.capacity_bytes.saturating_sub(capacity.used_bytes);
        let free = free.max(whole.div_ceil(FLOOR_PART));
        let scarcity = u128::from(whole) * ONE / u128::from(free);
        // At most 2^72 · 2^32 · 20 · 10^6 < 2^129 is never reached: sizes are at most 2^22.
        let billed = u128::from(size_bytes.max(LEAST_BILLED_BYTES));
        let product = self.per_mib.get().saturating_mul(billed).saturating_mul(scarcity);
        Atto(product.div_ceil(MIB * ONE).max(1))
    }
}

impl Default for Price {
    /// 10^13 of the smallest unit a MiB, so about 0.01 token a GiB.
    fn default() -> Self {
        Self { per_mib: Atto(10_000_000_000_000) }
    }
}

#[cfg(test)]
mod tests {
    use spillway_types::limits::MAX_CHUNK_BYTES;

    use super::*;

    const MIB_BYTES: u32 = 1024 * 1024;

    fn filled(used_bytes: u64, capacity_bytes: u64) -> Capacity {
        Capacity { capacity_bytes, used_bytes, reserved_bytes: 0 }
    }

    #[test]
    fn the_documented_points() {
        let price = Price::per_mib(Atto(1_000)).unwrap();
        for (used, expected) in [(0, 1_000), (500, 2_000), (900, 10_000), (950, 20_000)] {
            assert_eq!(price.of(MIB_BYTES, &filled(used, 1_000)), Atto(expected), "{used}");
        }
        for used in [951, 999, 1_000, 5_000] {
            assert_eq!(price.of(MIB_BYTES, &filled(used, 1_000)), Atto(20_000), "{used}");
        }
        assert_eq!(price.of(4 * MIB_BYTES, &filled(500, 1_000)), Atto(8_000));
        assert_eq!(Price::per_mib(Atto(1)).unwrap().of(1, &filled(0, 1_000)), Atto(1));
    }

    #[test]
    fn it_never_falls_as_the_store_fills_nor_as_chunks_grow() {
        let price = Price::default();
        let mut before = Atto::ZERO;
        for used in 0..=10_000 {
            let now = price.of(MIB_BYTES, &filled(used, 10_000));
            assert!(now >= before, "{used}: {now} < {before}");
            // Smooth: no step is more than a twentieth of the largest price.
            assert!(used == 0 || now.saturating_sub(before) <= Atto(10_000_000_000_000), "{used}");
            before = now;
        }
        before = Atto::ZERO;
        for size in (1..=4 * MIB_BYTES).step_by(997) {
            let now = price.of(size, &filled(3, 7));
            assert!(now >= before, "{size}");
            before = now;
        }
    }

    #[test]
    fn it_is_bounded_at_every_extreme() {
        let size = u32::try_from(MAX_CHUNK_BYTES).unwrap();
        let dearest = Price::per_mib(Price::MAX_PER_MIB).unwrap();
        let bound = Price::MAX_PER_MIB.saturating_mul(4 * 20);
        for capacity in [0, 1, 19, 20, 1 << 40, u64::MAX] {
            for used in [0, 1, capacity / 2, capacity, u64::MAX] {
                let price = dearest.of(size, &filled(used, capacity));
                assert!(price <= bound, "{used} of {capacity}: {price}");
                assert!(price.saturating_mul(500) <= Atto::MAX_SHARE);
                assert!(Price::per_mib(Atto(1)).unwrap().of(1, &filled(used, capacity)) == Atto(1));
            }
        }
    }

    /// A flood of tiny chunks costs what it fills.
    #[test]
    fn a_block_is_the_least_that_is_billed() {
        let price = Price::per_mib(Atto(1 << 20)).unwrap();
        let of = |size| price.of(size, &filled(0, 1 << 40));
        for size in [1, 2, 4_095, 4_096] {
            assert_eq!(of(size), Atto(4_096), "{size}");
        }
        assert_eq!(of(4_097), Atto(4_097));
    }

    #[test]
    fn promised_space_does_not_raise_it() {
        let promised = Capacity { reserved_bytes: 900, ..filled(0, 1_000) };
        let price = Price::default();
        assert_eq!(price.of(1, &promised), price.of(1, &filled(0, 1_000)));
    }

    #[test]
    fn nothing_and_too_much_are_no_base_price() {
        assert_eq!(Price::per_mib(Atto::ZERO), None);
        assert_eq!(Price::per_mib(Atto(Price::MAX_PER_MIB.0 + 1)), None);
    }
}
