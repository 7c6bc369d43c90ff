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
    /// A mask to a mask prompt, for bundles that take prompts.
    MaskDownsample,
    /// Clicks, boxes and a mask prompt to embeddings for the decoder, for bundles that take prompts.
    PromptEncoder,
}

impl Graph {
    /// Every role. A bundle has the first five; see [`BundleSpec::roles`](crate::BundleSpec::roles) for the others.
    pub const ALL: [Graph; 7] = [
        Graph::Retrieval,
        Graph::ImageEncoder,
        Graph::MemoryEncoder,
        Graph::MemoryAttention,
        Graph::MaskDecoder,
        Graph::MaskDownsample,
        Graph::PromptEncoder,
    ];

    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Graph::Retrieval => "retrieval",
            Graph::ImageEncoder => "image_encoder",
            Graph::MemoryEncoder => "memory_encoder",
            Graph::MemoryAttention => "memory_attention",
            Graph::MaskDecoder => "mask_decoder",
            Graph::MaskDownsample => "mask_downsample",
            Graph::PromptEncoder => "prompt_encoder",
        }
    }

    /// Its key in the manifest.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Graph::Retrieval => "graphs.retrieval",
            Graph::ImageEncoder => "graphs.image_encoder",
            Graph::MemoryEncoder => "graphs.memory_encoder",
            Graph::MemoryAttention => "graphs.memory_attention",
            Graph::MaskDecoder => "graphs.mask_decoder",
            Graph::MaskDownsample => "graphs.mask_downsample",
            Graph::PromptEncoder => "graphs.prompt_encoder",
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
