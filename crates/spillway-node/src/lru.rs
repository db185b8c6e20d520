use std::collections::BTreeMap;

/// A map of at most so many entries: a new one takes the place of the one that was used the longest
/// ago.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    limit: usize,
    entries: BTreeMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Ord + Clone, V> Lru<K, V> {
    /// An empty map of at most `limit` entries, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), entries: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// The entry of this key, used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key.clone());
        Some(value)
    }

    /// Puts an entry, used now, in place of one of the same key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.uses += 1;
        if let Some((used, _)) = self.entries.insert(key.clone(), (self.uses, value)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        while self.entries.len() > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.entries.remove(&oldest);
        }
    }

    /// Forgets an entry.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((used, _)) = self.entries.remove(key) {
            self.by_use.remove(&used);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.by_use.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_the_longest_ago_goes() {
        let mut map = Lru::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.get(&"a"), Some(&mut 1));
        map.insert("c", 3);
        assert_eq!(map.len(), 2);
        assert_eq!(map.get(&"a"), Some(&mut 1));
        assert_eq!(map.get(&"b"), None);
        map.insert("c", 4);
        map.insert("d", 5);
        let found = ["a", "c", "d"].map(|key| map.get(&key).copied());
        assert_eq!(found, [None, Some(4), Some(5)]);
        map.remove(&"c");
        map.remove(&"a");
        assert_eq!(map.get(&"c"), None);
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn it_never_grows_beyond_its_limit() {
        let mut map = Lru::new(10);
        for key in 0..1_000 {
            map.insert(key % 37, key);
            map.get(&(key % 5));
            assert!(map.len() <= 10);
        }
    }
}
