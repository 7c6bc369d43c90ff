//! Memory features at hand: the most recently used, within a budget of bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::Memory;

/// Which tensor: the slice's number and where it lies in its pack.
pub(crate) type Key = (u64, u64);

#[derive(Debug)]
pub(crate) struct Cache {
    limit: usize,
    bytes: usize,
    /// Counts uses; the least value in `ages` is the longest unused.
    clock: u64,
    tensors: HashMap<Key, (u64, Arc<Memory>)>,
    ages: BTreeMap<u64, Key>,
}

impl Cache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, clock: 0, tensors: HashMap::new(), ages: BTreeMap::new() }
    }

    /// Bytes of the tensors held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<Arc<Memory>> {
        let (age, tensor) = self.tensors.get_mut(&key)?;
        self.clock += 1;
        self.ages.remove(age);
        self.ages.insert(self.clock, key);
        *age = self.clock;
        Some(Arc::clone(tensor))
    }

    pub(crate) fn insert(&mut self, key: Key, tensor: Arc<Memory>) {
        let size = size(&tensor);
        if size > self.limit {
            return;
        }
        self.remove(key);
        while self.bytes + size > self.limit {
            let Some((_, oldest)) = self.ages.pop_first() else { break };
            self.forget(oldest);
        }
        self.clock += 1;
        self.bytes += size;
        self.ages.insert(self.clock, key);
        self.tensors.insert(key, (self.clock, tensor));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    fn remove(&mut self, key: Key) {
        if let Some(age) = self.forget(key) {
            self.ages.remove(&age);
        }
    }

    fn forget(&mut self, key: Key) -> Option<u64> {
        let (age, tensor) = self.tensors.remove(&key)?;
        self.bytes -= size(&tensor);
        Some(age)
    }
}

fn size(memory: &Memory) -> usize {
    memory.numbers() * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let tensor = || Arc::new(Memory::from(Array3::zeros((1, 5, 5))));
        let mut cache = Cache::new(250);
        cache.insert((1, 0), tensor());
        cache.insert((2, 0), tensor());
        assert!(cache.get((1, 0)).is_some());
        cache.insert((3, 0), tensor());
        assert!(cache.get((2, 0)).is_none());
        assert!(cache.get((1, 0)).is_some() && cache.get((3, 0)).is_some());
        assert_eq!(cache.bytes(), 200);
        cache.insert((1, 0), tensor());
        assert_eq!(cache.bytes(), 200);
        cache.insert((4, 0), Arc::new(Array3::zeros((1, 5, 50)).into()));
        assert!(cache.get((4, 0)).is_none(), "larger than the whole cache");
        cache.clear();
        assert_eq!(cache.bytes(), 0);
    }
}
