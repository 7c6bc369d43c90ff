//! What a caller may choose about one segmentation.

/// In which order propagation visits the slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SliceOrder {
    /// Along the normal of the volume.
    #[default]
    Natural,
    /// Shuffled by a seed, each slice's neighbours taken for real ones: shows what the order is worth.
    Shuffled(u64),
}

/// Choices about one segmentation. The default follows the bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Exemplars that a slice and label is conditioned on; None for the bundle's number.
    pub exemplars_per_slice: Option<usize>,
    /// Whether to propagate through the slices after the first pass.
    pub propagate: bool,
    /// Whether small organs get a second pass on crops.
    pub crop: bool,
    /// The order of propagation.
    pub slice_order: SliceOrder,
    /// Whether the result carries a probability for every label and voxel.
    pub probabilities: bool,
    /// A component is kept if it has at least this share of the voxels of its label's largest one.
    pub keep_component: f64,
    /// Bytes of image features and exemplar memories kept between uses, each; more is computed or read again.
    pub cache_bytes: usize,
    /// Bytes of tensors that one call to the bundle may take.
    pub batch_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            exemplars_per_slice: None,
            propagate: true,
            crop: true,
            slice_order: SliceOrder::Natural,
            probabilities: false,
            keep_component: 0.2,
            cache_bytes: 512 << 20,
            batch_bytes: 96 << 20,
        }
    }
}
