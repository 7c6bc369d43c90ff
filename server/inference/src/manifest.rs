//! The manifest of a bundle, `bundle.toml`: every number that the runtime needs, checked (docs/bundle.md).

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use snafu::ensure;

use crate::error::InvalidManifestSnafu;
use crate::{Graph, Result};

/// The manifest format this version reads.
const FORMAT: u32 = 1;
/// Largest side of an image or a feature map that a manifest may ask for, in pixels.
const MAX_SIDE: usize = 8192;
/// Largest number of channels or dimensions.
const MAX_CHANNELS: usize = 65_536;
/// Largest count of memories, tokens or temporal indices.
const MAX_COUNT: usize = 4096;

/// The manifest: every number the runtime needs. The runtime hard-codes none of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleSpec {
    /// Version of the manifest's format: 1.
    pub format: u32,
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Family of networks, for people.
    pub architecture: String,
    /// Licence of the weights.
    pub licence: String,
    /// Where the weights come from.
    pub source: String,
    /// The command that made the bundle.
    pub made_by: String,
    /// Number format of the weights, such as `fp32`.
    pub precision: String,
    /// ONNX operator set of the graphs.
    pub opset: u32,
    /// The image that the image encoder takes.
    pub input: InputSpec,
    /// The image and vector of the retrieval graph.
    pub retrieval: RetrievalSpec,
    /// Shapes of what the graphs exchange.
    pub features: FeatureSpec,
    /// How memories are made and used.
    pub memory: MemorySpec,
    /// Object pointers.
    pub pointers: PointerSpec,
    /// Clicks and boxes.
    pub prompts: PromptSpec,
    /// What signals say of a result's worth. None: the bundle was never calibrated.
    #[serde(default)]
    pub confidence: Option<ConfidenceSpec>,
    /// The graphs' files.
    pub graphs: GraphFiles,
    /// The constant tensors' files.
    #[serde(default)]
    pub tensors: TensorFiles,
}

/// The image that the image encoder takes: `[B, 3, image_size, image_size]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Side of the square image, pixels (S).
    pub image_size: usize,
    /// Subtracted from grey in 0..1, a channel each.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
    /// Lower and upper end of the window for CT, Hounsfield units.
    pub ct_window_hu: [f32; 2],
    /// Lower and upper end of the window for other modalities, percentiles of the volume's voxels.
    pub percentiles: [f32; 2],
}

/// The retrieval graph's image `[B, 3, image_size, image_size]` and vector.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalSpec {
    /// Side of the square image, pixels (s).
    pub image_size: usize,
    /// Subtracted from grey in 0..1, a channel each.
    pub mean: [f32; 3],
    /// Then divided by.
    pub std: [f32; 3],
    /// Length of the vector (D).
    pub embedding_dim: usize,
}

/// Shapes of what the graphs exchange. Sizes are sides of square maps.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Channels of `image_embed`.
    pub embed_channels: usize,
    /// Side of `image_embed` (h).
    pub embed_size: usize,
    /// Channels of `high_res_0`.
    pub high_res_0_channels: usize,
    /// Side of `high_res_0`.
    pub high_res_0_size: usize,
    /// Channels of `high_res_1`.
    pub high_res_1_channels: usize,
    /// Side of `high_res_1`.
    pub high_res_1_size: usize,
    /// Channels of `cond_embed`; its side is `embed_size`.
    pub cond_channels: usize,
    /// Channels of a memory (M).
    pub memory_channels: usize,
    /// Side of a memory.
    pub memory_size: usize,
    /// Side of the decoder's masks.
    pub mask_size: usize,
    /// Masks an object gets from the decoder.
    pub mask_tokens: usize,
    /// Places of an image that memory attention compares with its memories at once; 0: all of them.
    #[serde(default)]
    pub attention_chunk: usize,
}

/// How memories are made and used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySpec {
    /// The mask for a memory is `mask * mask_scale + mask_bias`.
    pub mask_scale: f32,
    /// See `mask_scale`.
    pub mask_bias: f32,
    /// Whether an exemplar's mask is 0 or 1 before it is scaled.
    pub binarise_exemplar: bool,
    /// Whether a predicted mask is 0 or 1 before it is scaled; if not, it is the sigmoid of its logits.
    pub binarise_predicted: bool,
    /// Whether a mask that came of clicks or a box is 0 or 1 before it is scaled.
    #[serde(default)]
    pub binarise_prompted: bool,
    /// Whether a given mask goes to logits of +-10, down to `mask_size` and up again, before it becomes a memory, as
    /// SAM 2's video predictor keeps it.
    #[serde(default)]
    pub given_through_mask_size: bool,
    /// What every logit of a slice becomes where the object score says that the object is not there; none: they stay.
    #[serde(default)]
    pub absent_logit: Option<f32>,
    /// Temporal index of conditioning memories: exemplars and corrected slices.
    pub conditioning_tpos: i64,
    /// Recent slices that are remembered at the most; the one k slices away has temporal index k-1.
    pub recent_memories: usize,
    /// Exemplars a slice is conditioned on, as recommended.
    pub exemplars_per_slice: usize,
    /// Margin on each side of an object's box for the second pass, as a fraction of the box's longer side.
    pub crop_margin: f32,
    /// A second pass is made when box and margin take at most this fraction of the slice's longer side.
    pub crop_max_extent: f32,
}

/// Object pointers, where the bundle uses them.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointerSpec {
    /// Whether memory attention takes pointers and the decoder answers them.
    pub used: bool,
    /// Length of a pointer.
    pub dim: usize,
    /// Distances are divided by the least of this and the number of slices, less 1; recent pointers are at most this
    /// many less 1.
    #[serde(default)]
    pub most: usize,
    /// Distance, in slices, of every exemplar's pointer: exemplars have no time.
    #[serde(default)]
    pub exemplar_distance: usize,
}

/// Prompts, where the bundle uses them.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec {
    /// Whether the decoder takes a prompt encoder's sparse and dense embeddings.
    pub used: bool,
    /// A single mask's stability is the share of its pixels above `-stability_delta` that are above `stability_delta`.
    #[serde(default)]
    pub stability_delta: f32,
    /// Below this stability the best of the other masks takes its place; 0: never.
    #[serde(default)]
    pub stability_threshold: f32,
}

/// What signals say of a result's worth, fitted on tasks that the bundle was not trained on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceSpec {
    /// A slice and label whose confidence is below this is for review, as recommended.
    pub review_below: f32,
    /// Expected Dice of a slice that the label is drawn on.
    pub mask: SignalWeights,
    /// Probability that the label is not on a slice where none is drawn.
    pub absence: SignalWeights,
}

/// A logistic function of signals, each in 0..1: of `intercept` and the sum of each signal times its weight. A signal
/// left out weighs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalWeights {
    /// Added to the sum.
    pub intercept: f32,
    /// Of the probability that the label is there.
    pub presence: f32,
    /// Of the bundle's guess of the mask's IoU.
    pub iou: f32,
    /// Of the Dice to be expected if each pixel were the label with its own probability.
    pub expected_dice: f32,
    /// Of the mean Dice of the result with what each look says.
    pub looks_agree: f32,
    /// Of the mean Dice with the masks beside it; without a mask, of the share of slices beside it that have one.
    pub beside: f32,
    /// Of the mean likeness of the exemplars that show the label.
    pub similarity: f32,
    /// Of the share of the exemplars that show it.
    pub shown: f32,
}

/// The graphs' files by role.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphFiles {
    /// See [`Graph::Retrieval`].
    pub retrieval: BundleFile,
    /// See [`Graph::ImageEncoder`].
    pub image_encoder: BundleFile,
    /// See [`Graph::MemoryEncoder`].
    pub memory_encoder: BundleFile,
    /// See [`Graph::MemoryAttention`].
    pub memory_attention: BundleFile,
    /// See [`Graph::MaskDecoder`].
    pub mask_decoder: BundleFile,
    /// See [`Graph::MaskDownsample`].
    pub mask_downsample: Option<BundleFile>,
    /// See [`Graph::PromptEncoder`].
    pub prompt_encoder: Option<BundleFile>,
}

/// Constant tensors: raw little-endian numbers of 32 bits.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFiles {
    /// Pointer of an object that is not there, `[pointers.dim]`. With pointers.
    pub no_obj_ptr: Option<BundleFile>,
    /// Added to every place of `image_embed` where there is no memory, `[embed_channels]`. Without it a slice needs a
    /// memory.
    pub no_mem_embed: Option<BundleFile>,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// Its name in the bundle's folder.
    pub file: String,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// Files that a graph keeps weights in, beside its own: those that an ONNX file of 2 GiB does not hold.
    #[serde(default)]
    pub external: Vec<BundleFile>,
}

impl FeatureSpec {
    /// Places of an image that memory attention compares with its memories at once.
    pub fn places_at_once(&self) -> usize {
        let all = self.embed_size.saturating_mul(self.embed_size);
        if self.attention_chunk == 0 { all } else { self.attention_chunk.min(all) }
    }
}

impl SignalWeights {
    fn numbers(&self) -> [f32; 8] {
        let Self { intercept, presence, iou, expected_dice, looks_agree, beside, similarity, shown } = *self;
        [intercept, presence, iou, expected_dice, looks_agree, beside, similarity, shown]
    }
}

impl BundleSpec {
    /// The file that plays a role, if the bundle has that role.
    pub fn graph(&self, graph: Graph) -> Option<&BundleFile> {
        match graph {
            Graph::Retrieval => Some(&self.graphs.retrieval),
            Graph::ImageEncoder => Some(&self.graphs.image_encoder),
            Graph::MemoryEncoder => Some(&self.graphs.memory_encoder),
            Graph::MemoryAttention => Some(&self.graphs.memory_attention),
            Graph::MaskDecoder => Some(&self.graphs.mask_decoder),
            Graph::MaskDownsample => self.graphs.mask_downsample.as_ref(),
            Graph::PromptEncoder => self.graphs.prompt_encoder.as_ref(),
        }
    }

    /// The roles that the bundle has, in the order of [`Graph::ALL`].
    pub fn roles(&self) -> impl Iterator<Item = Graph> + '_ {
        Graph::ALL.into_iter().filter(|graph| self.graph(*graph).is_some())
    }

    /// Every file with its key in the manifest: graphs in the order of [`Graph::ALL`], each followed by its weights, then
    /// tensors.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &BundleFile)> {
        let graphs = Graph::ALL.into_iter().filter_map(|graph| Some((graph.key(), self.graph(graph)?)));
        let tensors = [
            ("tensors.no_obj_ptr", self.tensors.no_obj_ptr.as_ref()),
            ("tensors.no_mem_embed", self.tensors.no_mem_embed.as_ref()),
        ];
        let named = graphs.chain(tensors.into_iter().filter_map(|(key, file)| Some((key, file?))));
        named.flat_map(|(key, file)| {
            std::iter::once((key, file)).chain(file.external.iter().map(move |f| (key, f)))
        })
    }

    pub(crate) fn id(&self) -> String {
        let mut hasher = Sha256::new();
        for (_, file) in self.files() {
            hasher.update(file.sha256.to_ascii_lowercase());
        }
        let digest: String = hex::encode(hasher.finalize()).chars().take(12).collect();
        format!("{}@{}+{digest}", self.name, self.version)
    }

    pub(crate) fn validate(&self, path: &Path) -> Result<()> {
        let check = |good: bool, key: &'static str, reason: &str| {
            ensure!(good, InvalidManifestSnafu { path, key, reason });
            Ok(())
        };
        check(self.format == FORMAT, "format", "is not 1, the format this version reads")?;
        for (key, text) in [("name", &self.name), ("version", &self.version)] {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            check(
                !text.is_empty() && text.chars().all(plain),
                key,
                "must be of letters, digits, '.', '-', '_'",
            )?;
        }
        self.validate_ranges(&check)?;
        self.validate_uses(&check)?;
        self.validate_confidence(&check)?;
        for (key, BundleFile { file, sha256, external }) in self.files() {
            let plain = Path::new(file).file_name().is_some_and(|name| name == file.as_str());
            check(plain, key, "must name a file of the bundle's own folder")?;
            let digest = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
            check(digest, key, "must have a sha256 of 64 hexadecimal digits")?;
            let flat = external.iter().all(|file| file.external.is_empty());
            check(flat, key, "has files of files of weights")?;
        }
        Ok(())
    }

    /// What comes with pointers and prompts, and not without.
    fn validate_uses(&self, check: &impl Fn(bool, &'static str, &str) -> Result<()>) -> Result<()> {
        let (pointers, prompts) = (&self.pointers, &self.prompts);
        let dim = !pointers.used || (1..=MAX_CHANNELS).contains(&pointers.dim);
        check(dim, "pointers.dim", "must be between 1 and 65536 where pointers are used")?;
        let most = !pointers.used || (1..=MAX_COUNT).contains(&pointers.most);
        check(most, "pointers.most", "must be between 1 and 4096 where pointers are used")?;
        let distance = pointers.exemplar_distance <= MAX_COUNT;
        check(distance, "pointers.exemplar_distance", "is out of range")?;
        let needs_prompts = !pointers.used || prompts.used;
        check(
            needs_prompts,
            "prompts.used",
            "must be true where pointers are used: a pointer comes of a mask prompt",
        )?;
        let delta = prompts.stability_delta.is_finite() && prompts.stability_delta >= 0.0;
        check(delta, "prompts.stability_delta", "must be finite and not below 0")?;
        let threshold = (0.0..=1.0).contains(&prompts.stability_threshold);
        check(threshold, "prompts.stability_threshold", "must be between 0 and 1")?;
        for (key, there, wanted) in [
            ("graphs.mask_downsample", self.graphs.mask_downsample.is_some(), prompts.used),
            ("graphs.prompt_encoder", self.graphs.prompt_encoder.is_some(), prompts.used),
            ("tensors.no_obj_ptr", self.tensors.no_obj_ptr.is_some(), pointers.used),
            ("tensors.no_mem_embed", self.tensors.no_mem_embed.is_some(), prompts.used),
        ] {
            check(there || !wanted, key, "is missing, and what the manifest uses needs it")?;
            check(wanted || !there, key, "is there, and the manifest says that it is not used")?;
        }
        // What is not conditioned goes to the decoder as it is: a given mask's pointer, a slice without memories.
        let same = !prompts.used || self.features.embed_channels == self.features.cond_channels;
        check(same, "features.cond_channels", "must be embed_channels where prompts are used")
    }

    fn validate_confidence(&self, check: &impl Fn(bool, &'static str, &str) -> Result<()>) -> Result<()> {
        let Some(confidence) = &self.confidence else { return Ok(()) };
        let threshold = (0.0..=1.0).contains(&confidence.review_below);
        check(threshold, "confidence.review_below", "must be between 0 and 1")?;
        for (key, weights) in
            [("confidence.mask", &confidence.mask), ("confidence.absence", &confidence.absence)]
        {
            check(weights.numbers().iter().all(|number| number.is_finite()), key, "must be finite")?;
        }
        Ok(())
    }

    fn validate_ranges(&self, check: &impl Fn(bool, &'static str, &str) -> Result<()>) -> Result<()> {
        let (input, retrieval, features, memory) =
            (&self.input, &self.retrieval, &self.features, &self.memory);
        for (key, side) in [
            ("input.image_size", input.image_size),
            ("retrieval.image_size", retrieval.image_size),
            ("features.embed_size", features.embed_size),
            ("features.high_res_0_size", features.high_res_0_size),
            ("features.high_res_1_size", features.high_res_1_size),
            ("features.memory_size", features.memory_size),
            ("features.mask_size", features.mask_size),
        ] {
            check((1..=MAX_SIDE).contains(&side), key, "must be between 1 and 8192")?;
        }
        for (key, channels) in [
            ("retrieval.embedding_dim", retrieval.embedding_dim),
            ("features.embed_channels", features.embed_channels),
            ("features.high_res_0_channels", features.high_res_0_channels),
            ("features.high_res_1_channels", features.high_res_1_channels),
            ("features.cond_channels", features.cond_channels),
            ("features.memory_channels", features.memory_channels),
        ] {
            check((1..=MAX_CHANNELS).contains(&channels), key, "must be between 1 and 65536")?;
        }
        for (key, count, least) in [
            ("features.mask_tokens", features.mask_tokens, 1),
            ("memory.recent_memories", memory.recent_memories, 0),
            ("memory.exemplars_per_slice", memory.exemplars_per_slice, 1),
        ] {
            check((least..=MAX_COUNT).contains(&count), key, "is out of range")?;
        }
        for (key, values) in [("input.mean", input.mean), ("retrieval.mean", retrieval.mean)] {
            check(values.iter().all(|v| v.is_finite()), key, "must be finite")?;
        }
        for (key, values) in [("input.std", input.std), ("retrieval.std", retrieval.std)] {
            check(values.iter().all(|v| v.is_finite() && *v > 0.0), key, "must be finite and above 0")?;
        }
        let ordered = |[low, high]: [f32; 2]| low.is_finite() && high.is_finite() && low < high;
        check(ordered(input.ct_window_hu), "input.ct_window_hu", "must be two numbers, the lower first")?;
        let within = input.percentiles.iter().all(|p| (0.0..=100.0).contains(p));
        let reason = "must be two numbers between 0 and 100, the lower first";
        check(within && ordered(input.percentiles), "input.percentiles", reason)?;
        let scale = memory.mask_scale.is_finite() && memory.mask_scale != 0.0;
        check(scale, "memory.mask_scale", "must be finite and not 0")?;
        check(memory.mask_bias.is_finite(), "memory.mask_bias", "must be finite")?;
        let tpos = usize::try_from(memory.conditioning_tpos).is_ok_and(|t| t <= MAX_COUNT);
        check(tpos, "memory.conditioning_tpos", "is out of range")?;
        let margin = memory.crop_margin.is_finite() && memory.crop_margin >= 0.0;
        check(margin, "memory.crop_margin", "must be finite and not below 0")?;
        let extent = (0.0..=1.0).contains(&memory.crop_max_extent);
        check(extent, "memory.crop_max_extent", "must be between 0 and 1")?;
        let absent = memory.absent_logit.is_none_or(|logit| logit.is_finite() && logit < 0.0);
        check(absent, "memory.absent_logit", "must be finite and below 0")
    }
}
