//! Devices a bundle can run on, by the names the configuration has for them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::thread::available_parallelism;

use snafu::ensure;

use crate::error::{ChooseDevicesSnafu, NameDeviceSnafu};
use crate::{Error, Result};

/// Where the graphs are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The first NVIDIA GPU where there is one that works, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU, by its number, through CUDA.
    Cuda(u32),
    /// An NVIDIA GPU, by its number, through TensorRT; what TensorRT cannot do is left to CUDA.
    TensorRt(u32),
    /// Apple's Core ML.
    CoreMl,
    /// A GPU of Windows, by its number, through DirectML.
    DirectMl(u32),
}

/// A piece of hardware that takes one computation at a time, whichever way it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Accelerator {
    Nvidia(u32),
    Apple,
    DirectX(u32),
}

impl Device {
    /// The devices of a list such as `cuda:0,cuda:1`.
    ///
    /// # Errors
    /// [`Error::NameDevice`] with the first name that is none.
    pub fn list(names: &str) -> Result<Vec<Device>> {
        names.split(',').map(|name| name.trim().parse()).collect()
    }

    /// The accelerator behind it; none for the processor, which any number of threads may use.
    pub(crate) fn accelerator(self) -> Option<Accelerator> {
        match self {
            Device::Auto | Device::Cpu => None,
            Device::Cuda(number) | Device::TensorRt(number) => Some(Accelerator::Nvidia(number)),
            Device::CoreMl => Some(Accelerator::Apple),
            Device::DirectMl(number) => Some(Accelerator::DirectX(number)),
        }
    }

    /// Whether ONNX Runtime reaches it through CUDA libraries.
    pub(crate) fn is_nvidia(self) -> bool {
        matches!(self.accelerator(), Some(Accelerator::Nvidia(_)))
    }
}

/// Refuses lists that cannot be meant: none at all, "auto" beside others, one accelerator twice.
pub(crate) fn check_list(devices: &[Device]) -> Result<()> {
    ensure!(!devices.is_empty(), ChooseDevicesSnafu { reason: "none is named" });
    let auto_among_others = devices.len() > 1 && devices.contains(&Device::Auto);
    ensure!(!auto_among_others, ChooseDevicesSnafu { reason: "\"auto\" stands alone or not at all" });
    let mut seen = BTreeSet::new();
    let twice = devices.iter().find(|device| device.accelerator().is_some_and(|a| !seen.insert(a)));
    if let Some(device) = twice {
        return ChooseDevicesSnafu { reason: format!("{device} is there twice") }.fail();
    }
    Ok(())
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let (family, number) = match name.split_once(':') {
            Some((family, number)) => (family, number.parse::<u32>().ok()),
            None => (name, Some(0)),
        };
        match (family, number) {
            ("auto", _) if family == name => Ok(Device::Auto),
            ("cpu", _) if family == name => Ok(Device::Cpu),
            ("coreml", _) if family == name => Ok(Device::CoreMl),
            ("cuda", Some(number)) => Ok(Device::Cuda(number)),
            ("tensorrt", Some(number)) => Ok(Device::TensorRt(number)),
            ("directml", Some(number)) => Ok(Device::DirectMl(number)),
            _ => NameDeviceSnafu { name }.fail(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
            Device::TensorRt(number) => write!(f, "tensorrt:{number}"),
            Device::CoreMl => f.write_str("coreml"),
            Device::DirectMl(number) => write!(f, "directml:{number}"),
        }
    }
}

/// Physical cores that this process may use, at least 1. Two hardware threads of one core share its arithmetic, so
/// more threads than cores only wait for each other.
pub(crate) fn physical_cores() -> usize {
    let allowed = available_parallelism().map_or(1, usize::from);
    match cores_of_topology() {
        0 => allowed,
        cores => cores.min(allowed),
    }
}

/// Distinct cores in the kernel's topology, 0 where it tells none.
fn cores_of_topology() -> usize {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("topology/thread_siblings_list")).ok())
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_by_name() {
        for (name, device, shown) in [
            ("auto", Device::Auto, "auto"),
            ("cpu", Device::Cpu, "cpu"),
            ("cuda", Device::Cuda(0), "cuda:0"),
            ("cuda:1", Device::Cuda(1), "cuda:1"),
            ("tensorrt:2", Device::TensorRt(2), "tensorrt:2"),
            ("coreml", Device::CoreMl, "coreml"),
            ("directml:0", Device::DirectMl(0), "directml:0"),
        ] {
            assert_eq!(name.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), shown);
        }
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CUDA:0", "auto:1"] {
            let error = name.parse::<Device>().unwrap_err();
            assert!(error.to_string().contains(&format!("\"{name}\"")), "{error}");
        }
        assert_eq!(Device::list("cuda:0, cuda:1").unwrap(), [Device::Cuda(0), Device::Cuda(1)]);
        assert!(Device::list("cuda:0,").is_err());
    }

    #[test]
    fn lists_that_cannot_be_meant() {
        check_list(&[Device::Cpu, Device::Cpu]).unwrap();
        check_list(&[Device::Cuda(0), Device::TensorRt(1), Device::Cpu]).unwrap();
        for (devices, said) in [
            (vec![], "none"),
            (vec![Device::Auto, Device::Cpu], "auto"),
            (vec![Device::Cuda(1), Device::Cuda(1)], "cuda:1"),
            (vec![Device::Cuda(0), Device::TensorRt(0)], "tensorrt:0"),
        ] {
            let error = check_list(&devices).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn cores_are_counted() {
        assert!((1..=available_parallelism().unwrap().get()).contains(&physical_cores()));
    }
}
