//! Values kept up to a number of bytes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// Values of generations that follow each other. A new value takes the place of older generations, the oldest first,
/// and never of its own: what is gone through again and again, such as the slices of one view, would otherwise push
/// itself out just before it is needed.
pub(crate) struct Cache<K, V> {
    kept: HashMap<K, Kept<V>>,
    order: VecDeque<K>,
    bytes: usize,
    limit: usize,
}

struct Kept<V> {
    value: Arc<V>,
    bytes: usize,
    generation: usize,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    pub fn new(limit: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.kept.get(key).map(|kept| Arc::clone(&kept.value))
    }

    /// Keeps a value of `bytes`, in place of those of older generations where there is no room; not at all where there
    /// is none even so. A key is put once.
    pub fn put(&mut self, key: K, generation: usize, value: Arc<V>, bytes: usize) {
        while self.bytes + bytes > self.limit && self.oldest().is_some_and(|oldest| oldest < generation) {
            self.drop_oldest();
        }
        if self.bytes + bytes <= self.limit && !self.kept.contains_key(&key) {
            self.bytes += bytes;
            self.order.push_back(key.clone());
            self.kept.insert(key, Kept { value, bytes, generation });
        }
    }

    fn oldest(&self) -> Option<usize> {
        Some(self.kept.get(self.order.front()?)?.generation)
    }

    fn drop_oldest(&mut self) {
        if let Some(kept) = self.order.pop_front().and_then(|key| self.kept.remove(&key)) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(cache: &Cache<usize, usize>) -> Vec<usize> {
        (0..10).filter(|key| cache.get(key).is_some()).collect()
    }

    #[test]
    fn an_older_generation_goes_first_and_the_limit_holds() {
        let mut cache = Cache::new(20);
        for key in 0..4 {
            cache.put(key, key, Arc::new(key * 10), 8);
        }
        assert_eq!(kept(&cache), [2, 3]);
        assert_eq!(cache.get(&3).as_deref(), Some(&30));
        cache.put(9, 9, Arc::new(0), 99);
        assert_eq!((kept(&cache), cache.bytes), (vec![], 0));
    }

    #[test]
    fn a_generation_does_not_push_itself_out() {
        let mut cache = Cache::new(20);
        for key in 0..4 {
            cache.put(key, 0, Arc::new(key), 8);
        }
        assert_eq!(kept(&cache), [0, 1]);
        cache.put(4, 1, Arc::new(4), 8);
        assert_eq!(kept(&cache), [1, 4]);
    }
}
