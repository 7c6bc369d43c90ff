//! What this room could not do.

use std::path::PathBuf;

use snafu::Snafu;

use crate::Device;
use crate::graph::Graph;

/// What could not be done, and why.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum Error {
    /// A file of the bundle is missing or unreadable.
    #[snafu(display("could not read {}: {source}", path.display()))]
    ReadBundleFile {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The manifest is no bundle.toml, or has a key that this version does not know.
    #[snafu(display("could not understand {}: {}", path.display(), source.message()))]
    ParseManifest {
        /// The manifest.
        path: PathBuf,
        /// What the parser said.
        #[snafu(source(from(toml::de::Error, Box::new)))]
        source: Box<toml::de::Error>,
    },
    /// A value in the manifest is outside of what it may be.
    #[snafu(display("could not accept {}: {key} {reason}", path.display()))]
    InvalidManifest {
        /// The manifest.
        path: PathBuf,
        /// Dotted name of the key.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A graph's bytes are not those the manifest was written for.
    #[snafu(display(
        "could not verify {}: its SHA-256 is {found}, the manifest says {expected}; copy the bundle anew",
        path.display()
    ))]
    VerifyGraph {
        /// The graph's file.
        path: PathBuf,
        /// Digest in the manifest, in hexadecimal.
        expected: String,
        /// Digest of the file, in hexadecimal.
        found: String,
    },
    /// The ONNX Runtime library is nowhere it is looked for.
    #[snafu(display(
        "could not find ONNX Runtime {version} (looked at {}); `{command}` fetches it, or name the library in the configuration",
        looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    ))]
    FindRuntime {
        /// The version this build is pinned to.
        version: &'static str,
        /// Every place that was tried.
        looked_at: Vec<PathBuf>,
        /// The command that fetches the library.
        command: &'static str,
    },
    /// The library is there and cannot be loaded: another architecture, an older version, not ONNX Runtime at all.
    #[snafu(display("could not load ONNX Runtime from {}: {source}", path.display()))]
    LoadRuntime {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        source: ort::LoadDynamicError,
    },
    /// ONNX Runtime did not start in this process.
    #[snafu(display("could not start ONNX Runtime: {source}"))]
    StartRuntime {
        /// What ONNX Runtime said.
        source: ort::Error,
    },
    /// No device has that name.
    #[snafu(display(
        "could not understand device \"{name}\": there is auto, cpu, cuda:N, tensorrt:N, coreml and directml:N, \
         N the GPU's number"
    ))]
    NameDevice {
        /// The name as it was given.
        name: String,
    },
    /// Devices that cannot be used beside each other.
    #[snafu(display("could not use the list of devices: {reason}"))]
    ChooseDevices {
        /// What is wrong with it.
        reason: String,
    },
    /// The device is not there, or something that it needs.
    #[snafu(display("could not use device {device}: {reason}"))]
    UseDevice {
        /// The device.
        device: Device,
        /// What is missing.
        reason: String,
    },
    /// The device's owner thread could not be made.
    #[snafu(display("could not start the thread of device {device}: {source}"))]
    StartThread {
        /// The device.
        device: Device,
        /// What the system said.
        source: std::io::Error,
    },
    /// ONNX Runtime does not accept a graph.
    #[snafu(display("could not load graph {graph} on {device}: {source}"))]
    LoadGraph {
        /// The graph.
        graph: Graph,
        /// The device.
        device: Device,
        /// What ONNX Runtime said.
        source: ort::Error,
    },
    /// A graph's inputs or outputs are not what the manifest says.
    #[snafu(display("could not accept graph {graph}: {reason}"))]
    GraphSignature {
        /// The graph.
        graph: Graph,
        /// The difference.
        reason: String,
    },
    /// A call's tensors do not have the shapes the bundle asks for.
    #[snafu(display("could not call graph {graph}: {reason}"))]
    CallShape {
        /// The graph.
        graph: Graph,
        /// The difference.
        reason: String,
    },
    /// One row of the call alone is over the memory budget.
    #[snafu(display(
        "could not call graph {graph}: about {needed} bytes for one object, the budget is {budget}; {advice}"
    ))]
    OverBudget {
        /// The graph.
        graph: Graph,
        /// Estimate of what one row takes.
        needed: u64,
        /// The configured budget.
        budget: u64,
        /// What would fit.
        advice: String,
    },
    /// ONNX Runtime failed in a call.
    #[snafu(display("could not compute graph {graph}: {message}"))]
    Compute {
        /// The graph.
        graph: Graph,
        /// What ONNX Runtime said. As text: every call of the batch gets it.
        message: String,
    },
    /// A graph answered tensors that are not those of its role.
    #[snafu(display("could not use what graph {graph} answered: {reason}"))]
    AnswerShape {
        /// The graph.
        graph: Graph,
        /// The difference.
        reason: String,
    },
    /// No device serves any more.
    #[snafu(display("could not reach a device: {reason}"))]
    DeviceStopped {
        /// Why each of them stopped.
        reason: String,
    },
}
