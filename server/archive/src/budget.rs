//! How much may wait in memory.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// Bytes that may be in use at a time.
#[derive(Debug)]
pub(crate) struct Budget {
    whole: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// Bytes in use, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Budget { whole: bytes, free: Mutex::new(bytes), returned: Condvar::new() })
    }

    /// Waits until so many bytes are free; for more than there are in all, until all are.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Share {
        let bytes = bytes.min(self.whole);
        let mut free = self.free.lock();
        while *free < bytes {
            self.returned.wait(&mut free);
        }
        *free -= bytes;
        Share { budget: self.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.free.lock() += self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread, time::Duration};

    #[test]
    fn who_finds_too_little_waits_for_what_comes_back() {
        let budget = Budget::new(10);
        let (first, second) = (budget.take(6), budget.take(4));
        let (said, heard) = mpsc::channel();
        let waiting = thread::spawn({
            let budget = budget.clone();
            move || {
                let share = budget.take(100);
                said.send(share.bytes).unwrap();
            }
        });
        drop(first);
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err());
        drop(second);
        assert_eq!(heard.recv().unwrap(), 10);
        waiting.join().unwrap();
        assert_eq!(*budget.free.lock(), 10);
    }
}
