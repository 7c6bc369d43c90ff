//! What cargo alone cannot do for Engram: fetching the ONNX Runtime library and the viewer, running
//! everything that is tested, holding licences against the allow list. `cargo xtask help` lists the commands.
//!
//! The standard library and a few small crates, so that it builds in seconds on a fresh clone.

pub mod fuzz;
pub mod licences;
pub mod metadata;
pub mod onnxruntime;
pub mod parity;
pub mod paths;
pub mod process;
pub mod python;
pub mod testing;
pub mod viewer;

/// What a command ends with: a sentence for the person who ran it.
pub type Result<T> = std::result::Result<T, snafu::Whatever>;
