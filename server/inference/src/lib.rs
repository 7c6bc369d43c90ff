//! Bundles and the ONNX Runtime sessions that run them, one owner thread a device. Tensors in, tensors out.
//!
//! [`Bundle::open`] reads and verifies a bundle's manifest, [`Engine::start`] loads its graphs on a device. The
//! engine's methods block the caller; calls that wait at the same time and fit together are computed as one batch.
//!
//! Invariants: this room knows nothing of slices, organs, DICOM or storage; every number it needs comes from the
//! bundle's manifest; only the owner thread touches a session; no environment variable decides which ONNX Runtime
//! library is loaded.

mod budget;
mod bundle;
mod device;
mod engine;
mod error;
mod graph;
mod manifest;
mod metrics;
mod request;
pub mod runtime;
mod signature;
mod worker;

pub use bundle::{Bundle, Constants};
pub use device::Device;
pub use engine::{Clicks, Decoded, Engine, EngineOptions, ImageFeatures, Pointers, Prompts, Retrieval};
pub use error::Error;
pub use graph::Graph;
pub use manifest::{
    BundleFile, BundleSpec, FeatureSpec, GraphFiles, InputSpec, MemorySpec, PointerSpec, PromptSpec,
    RetrievalSpec, TensorFiles,
};
pub use metrics::{EngineMetrics, GraphMetrics};

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
