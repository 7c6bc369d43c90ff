//! The method: from a volume, a bank and a bundle to a label volume.
//!
//! Zhao et al., "Retrieval-augmented few-shot medical image segmentation with foundation models" (arXiv
//! 2408.08813), gives the first pass: exemplars retrieved by likeness condition each slice through SAM 2's memory
//! attention. Propagation follows SAM 2's video predictor, in both directions through the slices.

mod agree;
mod batch;
mod beliefs;
mod cache;
mod components;
mod conclude;
mod conditions;
mod confidence;
mod consolidate;
pub(crate) mod features;
mod first_pass;
mod fuse;
mod given;
mod line;
mod locate;
pub(crate) mod predict;
mod propagate;
mod retrieve;
mod run;
mod settle;

pub use given::{Click, Clicked, Prompt, Shown};
pub(crate) use retrieve::Counts;
pub use run::{Request, segment};

#[cfg(test)]
mod tests;
