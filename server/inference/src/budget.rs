//! How much may be computed at once.
//!
//! ONNX Runtime does not say what a call will take, so it is estimated from the contract's tensors. Memory attention
//! compares every place of the image with every place of every memory: that matrix, once a head and layer, and the
//! tokens it is made from outgrow everything else. The other graphs' activations are taken as a multiple of their
//! images. The multiples are measured: the compact bundle's attention took 123 MB a row with 14 memories of 256
//! places (estimated: 131 MB); SAM 2.1 hiera-tiny at 1024 pixels, of one head, about half of the estimate.

use snafu::ensure;

use crate::error::OverBudgetSnafu;
use crate::{BundleSpec, Graph, Result};

/// Activations of an image graph, as a multiple of its input.
const IMAGE_ACTIVATIONS: u64 = 64;
/// Copies of the matrix of scores: heads, softmax, layers.
const SCORE_COPIES: u64 = 16;
/// Copies of the tokens: keys, values, their projections, the feed-forward layer.
const TOKEN_COPIES: u64 = 24;
/// Copies of the finest maps in the decoder.
const DECODER_COPIES: u64 = 8;
/// Bytes of a number.
const NUMBER: u64 = 4;

/// The limits of one computation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    max_batch: usize,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(max_batch: usize, bytes: u64) -> Self {
        Self { max_batch, bytes }
    }

    /// Rows of a graph that may be computed at once, at least 1.
    pub(crate) fn rows(&self, graph: Graph, spec: &BundleSpec, memories: usize) -> Result<usize> {
        let needed = row_bytes(graph, spec, memories);
        let advice = || match graph {
            Graph::MemoryAttention => format!("at most {} memories fit", self.max_memories(spec)),
            _ => "raise the budget, or take a bundle of smaller images".to_owned(),
        };
        ensure!(
            needed <= self.bytes,
            OverBudgetSnafu { graph, needed, budget: self.bytes, advice: advice() }
        );
        let rows = usize::try_from(self.bytes / needed.max(1)).unwrap_or(usize::MAX);
        Ok(rows.clamp(1, self.max_batch))
    }

    /// Memories that one row may be conditioned on.
    pub(crate) fn max_memories(&self, spec: &BundleSpec) -> usize {
        let none = row_bytes(Graph::MemoryAttention, spec, 0);
        let each = row_bytes(Graph::MemoryAttention, spec, 1).saturating_sub(none).max(1);
        usize::try_from(self.bytes.saturating_sub(none) / each).unwrap_or(usize::MAX)
    }
}

/// Estimated bytes of one row.
fn row_bytes(graph: Graph, spec: &BundleSpec, memories: usize) -> u64 {
    let f = &spec.features;
    let area = |side: usize| (side as u64).saturating_mul(side as u64);
    let map = |channels: usize, side: usize| (channels as u64).saturating_mul(area(side));
    let fine = map(f.high_res_0_channels, f.high_res_0_size) + map(f.high_res_1_channels, f.high_res_1_size);
    let numbers = match graph {
        Graph::Retrieval => map(3, spec.retrieval.image_size).saturating_mul(IMAGE_ACTIVATIONS),
        Graph::ImageEncoder => map(3, spec.input.image_size).saturating_mul(IMAGE_ACTIVATIONS),
        Graph::MemoryEncoder => map(1, spec.input.image_size).saturating_mul(IMAGE_ACTIVATIONS),
        Graph::MemoryAttention => {
            let places = area(f.memory_size).saturating_mul(memories as u64);
            let at_once = match f.attention_chunk as u64 {
                0 => area(f.embed_size),
                chunk => chunk.min(area(f.embed_size)),
            };
            let scores = at_once.saturating_mul(places).saturating_mul(SCORE_COPIES);
            let image = map(f.embed_channels.max(f.cond_channels), f.embed_size);
            let tokens = image.saturating_add(places.saturating_mul(f.memory_channels as u64));
            scores.saturating_add(tokens.saturating_mul(TOKEN_COPIES))
        }
        Graph::MaskDecoder => {
            fine.saturating_add(map(f.mask_tokens, f.mask_size)).saturating_mul(DECODER_COPIES)
        }
        Graph::MaskDownsample => map(1, spec.input.image_size).saturating_mul(DECODER_COPIES),
        Graph::PromptEncoder => map(f.cond_channels, f.embed_size).saturating_mul(DECODER_COPIES),
    };
    numbers.saturating_mul(NUMBER)
}
