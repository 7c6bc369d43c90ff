//! Devices a bundle can run on.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::thread::available_parallelism;

use crate::Error;

/// Where the graphs are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Device {
    /// The best device there is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
}

impl Device {
    /// The device that is used in the end: never [`Device::Auto`].
    pub(crate) fn resolve(self) -> Device {
        match self {
            Device::Auto | Device::Cpu => Device::Cpu,
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            other => Err(Error::UseDevice { device: other.to_owned() }),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Auto => "auto",
            Device::Cpu => "cpu",
        })
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
        assert_eq!("auto".parse::<Device>().unwrap(), Device::Auto);
        assert_eq!("cpu".parse::<Device>().unwrap(), Device::Cpu);
        let error = "cuda".parse::<Device>().unwrap_err();
        assert!(error.to_string().contains("\"cuda\""), "{error}");
    }

    #[test]
    fn cores_are_counted() {
        assert!((1..=available_parallelism().unwrap().get()).contains(&physical_cores()));
    }
}
