//! Values kept up to a number of bytes, the oldest dropped first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

pub(crate) struct Cache<K, V> {
    kept: HashMap<K, (Arc<V>, usize)>,
    order: VecDeque<K>,
    bytes: usize,
    limit: usize,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    pub fn new(limit: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.kept.get(key).map(|(value, _)| Arc::clone(value))
    }

    /// Keeps a value of `bytes`, in place of older ones where there is no room.
    pub fn put(&mut self, key: K, value: Arc<V>, bytes: usize) {
        if let Some((_, replaced)) = self.kept.insert(key.clone(), (value, bytes)) {
            self.bytes -= replaced;
        } else {
            self.order.push_back(key);
        }
        self.bytes += bytes;
        while self.bytes > self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, freed)) = self.kept.remove(&oldest) {
                self.bytes -= freed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_limit_holds() {
        let mut cache = Cache::new(20);
        for key in 0..4 {
            cache.put(key, Arc::new(key * 10), 8);
        }
        assert_eq!(
            (0..4).map(|key| cache.get(&key).is_some()).collect::<Vec<_>>(),
            [false, false, true, true]
        );
        cache.put(3, Arc::new(31), 8);
        assert_eq!(cache.get(&3).as_deref(), Some(&31));
        assert!(cache.get(&2).is_some());
        cache.put(9, Arc::new(0), 99);
        assert_eq!(cache.bytes, 0);
    }
}
