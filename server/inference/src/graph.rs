//! The graphs a bundle is made of.

use std::fmt;

/// A graph's role in the bundle. Which file plays it stands in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Graph {
    /// Image to retrieval vector, DINOv2's role.
    Retrieval,
    /// Image to the features that memories condition.
    ImageEncoder,
    /// Features and a mask to a memory.
    MemoryEncoder,
    /// Features conditioned on memories.
    MemoryAttention,
    /// Conditioned features to masks.
    MaskDecoder,
}

impl Graph {
    /// Every graph, in the order of the contract.
    pub const ALL: [Graph; 5] = [
        Graph::Retrieval,
        Graph::ImageEncoder,
        Graph::MemoryEncoder,
        Graph::MemoryAttention,
        Graph::MaskDecoder,
    ];

    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Graph::Retrieval => "retrieval",
            Graph::ImageEncoder => "image_encoder",
            Graph::MemoryEncoder => "memory_encoder",
            Graph::MemoryAttention => "memory_attention",
            Graph::MaskDecoder => "mask_decoder",
        }
    }

    /// Its place in [`Graph::ALL`].
    pub(crate) fn position(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
