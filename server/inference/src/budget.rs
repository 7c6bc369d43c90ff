//! How much may be computed at once.
//!
//! ONNX Runtime does not say what a call will take, so it is estimated from the contract's tensors. Memory attention
//! compares places of the image with every place of every memory: that matrix and the tokens it is made from outgrow
//! everything else, the matrix the less the fewer places are compared at once (`attention_chunk`). The other graphs'
//! activations are taken as a multiple of their images.
//!
//! The multiples are measured on one processor thread, as the growth of the process's peak in one call, so that the
//! estimate is above what is measured and mostly within twice of it. MB a row, estimated (measured):
//!
//! | graph | compact | SAM 2.1 hiera-tiny, 512 pixels | at 1024 pixels |
//! |---|---|---|---|
//! | memory attention, 1 memory | 10 (3) | 38 (33) | 151 (132) |
//! | memory attention, 4 | 26 (15) | 76 (50) | |
//! | memory attention, 8 | 47 (23) | 126 (94) | 503 (385) |
//! | memory attention, 14 | 78 (40) | 201 (140) | 805 (498) |
//! | image encoder | 14 (3) | 226 (157) | 906 (777) |
//! | retrieval | 3 (2) | 10 (6) | |
//! | memory encoder | 2 (2) | 34 (19) | 134 (75) |
//! | mask decoder | 9 (8) | 34 (9) | 136 (34) |
//!
//! Attention of SAM goes in chunks of 512 places, that of compact over all its 256 at once.

use snafu::ensure;

use crate::error::OverBudgetSnafu;
use crate::{BundleSpec, Graph, Result};

/// Activations of the image encoder, as a multiple of its image.
const ENCODER_ACTIVATIONS: u64 = 72;
/// Activations of the retrieval graph, as a multiple of its image.
const RETRIEVAL_ACTIVATIONS: u64 = 16;
/// Activations of the memory encoder, as a multiple of its mask.
const MEMORY_ACTIVATIONS: u64 = 32;
/// Activations of the mask's way down, as a multiple of the mask.
const DOWNSAMPLE_ACTIVATIONS: u64 = 2;
/// Activations of the prompt encoder, as a multiple of its dense answer.
const PROMPT_ACTIVATIONS: u64 = 6;
/// Copies of the matrix of scores where all places are compared at once: heads, softmax, layers.
const SCORE_COPIES: u64 = 8;
/// Copies of it where places are compared in chunks.
const CHUNK_COPIES: u64 = 3;
/// Copies of the tokens: keys, values, their projections, the feed-forward layer.
const TOKEN_COPIES: u64 = 24;
/// Copies of the finest maps in the decoder.
const DECODER_COPIES: u64 = 10;
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
        Graph::Retrieval => map(3, spec.retrieval.image_size).saturating_mul(RETRIEVAL_ACTIVATIONS),
        Graph::ImageEncoder => map(3, spec.input.image_size).saturating_mul(ENCODER_ACTIVATIONS),
        Graph::MemoryEncoder => map(1, spec.input.image_size).saturating_mul(MEMORY_ACTIVATIONS),
        Graph::MemoryAttention => {
            let places = area(f.memory_size).saturating_mul(memories as u64);
            let copies = if f.attention_chunk == 0 { SCORE_COPIES } else { CHUNK_COPIES };
            let scores = (f.places_at_once() as u64).saturating_mul(places).saturating_mul(copies);
            let image = map(f.embed_channels.max(f.cond_channels), f.embed_size);
            let tokens = image.saturating_add(places.saturating_mul(f.memory_channels as u64));
            scores.saturating_add(tokens.saturating_mul(TOKEN_COPIES))
        }
        Graph::MaskDecoder => {
            fine.saturating_add(map(f.mask_tokens, f.mask_size)).saturating_mul(DECODER_COPIES)
        }
        Graph::MaskDownsample => map(1, spec.input.image_size).saturating_mul(DOWNSAMPLE_ACTIVATIONS),
        Graph::PromptEncoder => map(f.cond_channels, f.embed_size).saturating_mul(PROMPT_ACTIVATIONS),
    };
    numbers.saturating_mul(NUMBER)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Bundle;

    fn compact() -> BundleSpec {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact");
        Bundle::open(folder).unwrap().spec().clone()
    }

    /// SAM 2.1 hiera-tiny with DINOv2 small, for images of `size` pixels, attention in chunks of 512 places.
    fn sam(size: usize) -> BundleSpec {
        let mut spec = compact();
        (spec.input.image_size, spec.retrieval.image_size) = (size, 224);
        let f = &mut spec.features;
        (f.embed_channels, f.cond_channels, f.memory_channels) = (256, 256, 64);
        (f.embed_size, f.memory_size) = (size / 16, size / 16);
        (f.high_res_0_channels, f.high_res_0_size) = (32, size / 4);
        (f.high_res_1_channels, f.high_res_1_size) = (64, size / 8);
        (f.mask_tokens, f.mask_size, f.attention_chunk) = (4, size / 4, 512);
        spec
    }

    /// Megabytes that one row was measured to take, the graph's largest number of two batches.
    #[test]
    fn estimates_lie_above_what_was_measured_and_not_far() {
        use Graph::{
            ImageEncoder, MaskDecoder, MaskDownsample, MemoryAttention, MemoryEncoder, PromptEncoder,
            Retrieval,
        };
        let measured = [
            (compact(), MemoryAttention, 4, 14.8, 2.0),
            (compact(), MemoryAttention, 8, 23.3, 2.05),
            (compact(), MemoryAttention, 14, 39.8, 2.0),
            (sam(512), MemoryAttention, 1, 33.1, 2.0),
            (sam(512), MemoryAttention, 4, 49.6, 2.0),
            (sam(512), MemoryAttention, 8, 93.8, 2.0),
            (sam(512), MemoryAttention, 14, 139.7, 2.0),
            (sam(1024), MemoryAttention, 1, 131.9, 2.0),
            (sam(1024), MemoryAttention, 8, 384.9, 2.0),
            (sam(1024), MemoryAttention, 14, 498.2, 2.0),
            (compact(), Retrieval, 0, 2.4, 2.0),
            (sam(512), Retrieval, 0, 6.1, 2.0),
            (compact(), MemoryEncoder, 0, 1.8, 2.0),
            (sam(512), MemoryEncoder, 0, 18.8, 2.0),
            (compact(), MaskDecoder, 0, 7.5, 2.0),
            (sam(512), MaskDecoder, 0, 8.7, 4.0),
            (sam(512), MaskDownsample, 0, 0.9, 2.5),
            (sam(512), PromptEncoder, 0, 4.1, 2.0),
            (sam(512), ImageEncoder, 0, 157.4, 2.0),
            (sam(1024), ImageEncoder, 0, 776.8, 2.0),
            (sam(1024), MemoryEncoder, 0, 75.1, 2.0),
            (sam(1024), MaskDecoder, 0, 34.3, 4.0),
            // The multiple is a large encoder's.
            (compact(), ImageEncoder, 0, 2.6, 6.0),
        ];
        for (spec, graph, memories, megabytes, at_most) in measured {
            let ratio = row_bytes(graph, &spec, memories) as f64 / 1e6 / megabytes;
            assert!((1.0..=at_most).contains(&ratio), "{graph} with {memories}: {ratio}");
        }
    }

    #[test]
    fn the_default_budget_allows_fourteen_memories_at_1024_pixels() {
        let budget = Budget::new(16, crate::EngineOptions::default().memory_budget_bytes);
        assert!(budget.max_memories(&sam(1024)) >= 14);
        assert!(budget.rows(Graph::MemoryAttention, &sam(1024), 14).unwrap() >= 2);
    }
}
