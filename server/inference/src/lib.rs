//! Bundles and the ONNX Runtime sessions that run them, one owner thread a device. Tensors in, tensors out.
//!
//! [`Bundle::open`] reads and verifies a bundle's manifest, [`Engine::start`] loads its graphs on one or more devices.
//! The engine's methods block the caller; calls that wait at the same time and fit together are computed as one batch.
//!
//! A call travels so: [`Engine`] checks and prices it, cuts it into pieces that fit the budget and puts them in the
//! queue; the owner thread of a free device takes the oldest with what fits it, runs the graph and answers each
//! caller. What a device fails at goes back to the queue for the others.
//!
//! Invariants: this room knows nothing of slices, organs, DICOM or storage; every number it needs comes from the
//! bundle's manifest; only the owner thread of a device loads, runs and drops its sessions; an accelerator does one
//! thing at a time; no lock is held while anything is computed but the accelerator's own; no environment variable
//! decides which ONNX Runtime library is loaded.

mod batch;
mod budget;
mod bundle;
mod device;
mod engine;
mod error;
mod graph;
mod heap;
mod manifest;
mod metrics;
mod provider;
mod queue;
mod request;
pub mod runtime;
mod sessions;
mod signature;
mod turn;
mod worker;

pub use bundle::{Bundle, Constants};
pub use device::Device;
pub use engine::{Clicks, Decoded, Engine, EngineOptions, ImageFeatures, Pointers, Prompts, Retrieval};
pub use error::Error;
pub use graph::Graph;
pub use manifest::{
    BundleFile, BundleSpec, ConfidenceSpec, FeatureSpec, GraphFiles, InputSpec, MemorySpec, PointerSpec,
    PromptSpec, RetrievalSpec, SignalWeights, TensorFiles,
};
pub use metrics::{DeviceMetrics, EngineMetrics, GraphMetrics};

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
