//! Whose turn it is on an accelerator.
//!
//! ONNX Runtime crashes when several threads load or run sessions on one GPU at a time (its issue 26610; ort's issues
//! 321, 348 and 511), even where each thread has sessions of its own. Each engine has an owner thread for each of
//! its devices, and a process may have an engine for each of its bundles: their threads take turns.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::Device;
use crate::device::Accelerator;

/// A lock an accelerator, for the life of the process.
static ACCELERATORS: Mutex<BTreeMap<Accelerator, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// A device's place in the order of turns.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Option<Arc<Mutex<()>>>);

impl Turn {
    /// The turns of `device`. The processor is always free.
    pub(crate) fn of(device: Device) -> Self {
        let lock = |accelerator| Arc::clone(ACCELERATORS.lock().entry(accelerator).or_default());
        Self(device.accelerator().map(lock))
    }

    /// Waits until the accelerator is free and holds it as long as what is answered lives.
    pub(crate) fn wait(&self) -> Option<MutexGuard<'_, ()>> {
        self.0.as_deref().map(|lock| lock.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gpu_is_held_by_one_at_a_time_however_it_is_reached() {
        let (cuda, tensor_rt) = (Turn::of(Device::Cuda(90)), Turn::of(Device::TensorRt(90)));
        let held = cuda.wait();
        assert!(held.is_some() && tensor_rt.0.as_ref().unwrap().is_locked());
        assert!(Turn::of(Device::Cuda(91)).wait().is_some());
        assert!(Turn::of(Device::Cpu).wait().is_none());
    }
}
