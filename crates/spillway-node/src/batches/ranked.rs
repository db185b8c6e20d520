use std::collections::{BTreeMap, BTreeSet};

use spillway_types::Atto;

/// A map of at most so many entries, each with a rank: when it is full, a new one takes the place of
/// the one with the lowest rank, or is not taken itself.
#[derive(Debug)]
pub(super) struct Ranked<K, V> {
    limit: usize,
    entries: BTreeMap<K, (Atto, V)>,
    by_rank: BTreeSet<(Atto, K)>,
}

impl<K: Ord + Copy, V> Ranked<K, V> {
    /// An empty map of at most `limit` entries, at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), entries: BTreeMap::new(), by_rank: BTreeSet::new() }
    }

    /// Whether an entry of this key and rank would be taken.
    pub(super) fn takes(&self, key: &K, rank: Atto) -> bool {
        self.entries.len() < self.limit
            || self.entries.contains_key(key)
            || self.by_rank.first().is_none_or(|(lowest, _)| *lowest < rank)
    }

    /// Puts an entry, in place of one of the same key. Returns the key of what had to go for it: its
    /// own when it is not taken.
    pub(super) fn insert(&mut self, key: K, rank: Atto, value: V) -> Option<K> {
        if !self.takes(&key, rank) {
            return Some(key);
        }
        self.remove(&key);
        let lowest = (self.entries.len() >= self.limit).then(|| self.by_rank.pop_first()).flatten();
        if let Some((_, lowest)) = &lowest {
            self.entries.remove(lowest);
        }
        self.entries.insert(key, (rank, value));
        self.by_rank.insert((rank, key));
        lowest.map(|(_, key)| key)
    }

    /// Takes an entry out; whether it was there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let removed = self.entries.remove(key);
        if let Some((rank, _)) = &removed {
            self.by_rank.remove(&(*rank, *key));
        }
        removed.is_some()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// In the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// Those after this key, in order; all when there is none.
    pub(super) fn after(&self, key: Option<K>) -> impl Iterator<Item = (&K, &V)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = key.map_or(Unbounded, Excluded);
        self.entries.range((from, Unbounded)).map(|(key, (_, value))| (key, value))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_goes_and_nothing_lower_comes() {
        let mut map = Ranked::new(2);
        assert_eq!(map.insert(1, Atto(5), "a"), None);
        assert_eq!(map.insert(2, Atto(7), "b"), None);
        // As low as the lowest is not enough: whoever was first stays.
        assert!(!map.takes(&3, Atto(5)));
        assert_eq!(map.insert(3, Atto(5), "c"), Some(3));
        assert!(map.takes(&3, Atto(6)));
        assert_eq!(map.insert(3, Atto(6), "c"), Some(1));
        assert_eq!(map.iter().collect::<Vec<_>>(), [(&2, &"b"), (&3, &"c")]);
        // The same key again is no new entry, whatever its rank.
        assert_eq!(map.insert(2, Atto(1), "d"), None);
        assert_eq!(map.insert(4, Atto(2), "e"), Some(2));
        assert_eq!(map.after(Some(3)).collect::<Vec<_>>(), [(&4, &"e")]);
        assert_eq!(map.after(None).count(), 2);
        assert!(map.remove(&4) && !map.remove(&4) && map.contains(&3));
        assert_eq!((map.len(), map.by_rank.len()), (1, 1));
    }
}
