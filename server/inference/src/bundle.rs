//! A bundle: a folder of ONNX graphs with a manifest that names every number the runtime needs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use snafu::{ResultExt, ensure};

use crate::error::{InvalidManifestSnafu, ParseManifestSnafu, ReadBundleFileSnafu, VerifyGraphSnafu};
use crate::{Graph, Result};

/// The manifest's file name.
const MANIFEST: &str = "bundle.toml";
/// The manifest format this version reads.
const FORMAT: u32 = 1;
/// Largest side of an image or a feature map that a manifest may ask for, in pixels.
const MAX_SIDE: usize = 8192;
/// Largest number of channels or dimensions.
const MAX_CHANNELS: usize = 65_536;
/// Largest count of memories, tokens or temporal indices.
const MAX_COUNT: usize = 4096;

/// An opened bundle: manifest understood, files verified. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    spec: Arc<BundleSpec>,
    id: Arc<str>,
}

impl Bundle {
    /// Opens the bundle in `folder`: reads `bundle.toml`, checks every value and every graph's SHA-256.
    ///
    /// # Errors
    /// A missing file, an unknown or missing key, a value out of range, a digest that differs.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let bundle = Self::read(folder)?;
        for graph in Graph::ALL {
            verify(&bundle.folder, bundle.spec.graph(graph))?;
        }
        Ok(bundle)
    }

    /// Reads the manifest alone, to tell what a folder holds; the files it names are not looked at. To compute,
    /// [`Bundle::open`] it.
    ///
    /// # Errors
    /// A missing manifest, an unknown or missing key, a value out of range.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).context(ReadBundleFileSnafu { path: &path })?;
        let spec: BundleSpec = toml::from_str(&text).context(ParseManifestSnafu { path: &path })?;
        spec.validate(&path)?;
        let id = spec.id().into();
        Ok(Self { folder, spec: Arc::new(spec), id })
    }

    /// What the manifest says.
    pub fn spec(&self) -> &BundleSpec {
        &self.spec
    }

    /// `name@version+digest`, the digest over the digests of all graphs: two bundles with one id compute the same.
    /// Exemplars carry it, since memories of one bundle mean nothing to another.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn graph_path(&self, graph: Graph) -> PathBuf {
        self.folder.join(&self.spec.graph(graph).file)
    }
}

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
    /// The files.
    pub graphs: GraphFiles,
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointerSpec {
    /// Whether memory attention takes pointers and the decoder answers them.
    pub used: bool,
    /// Length of a pointer.
    pub dim: usize,
}

/// Prompts, where the bundle uses them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec {
    /// Whether the decoder takes a prompt encoder's sparse and dense embeddings.
    pub used: bool,
}

/// The graphs' files by role.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphFiles {
    /// See [`Graph::Retrieval`].
    pub retrieval: GraphFile,
    /// See [`Graph::ImageEncoder`].
    pub image_encoder: GraphFile,
    /// See [`Graph::MemoryEncoder`].
    pub memory_encoder: GraphFile,
    /// See [`Graph::MemoryAttention`].
    pub memory_attention: GraphFile,
    /// See [`Graph::MaskDecoder`].
    pub mask_decoder: GraphFile,
}

/// A graph's file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphFile {
    /// Name of the file in the bundle's folder.
    pub file: String,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
}

impl BundleSpec {
    /// The file that plays a role.
    pub fn graph(&self, graph: Graph) -> &GraphFile {
        match graph {
            Graph::Retrieval => &self.graphs.retrieval,
            Graph::ImageEncoder => &self.graphs.image_encoder,
            Graph::MemoryEncoder => &self.graphs.memory_encoder,
            Graph::MemoryAttention => &self.graphs.memory_attention,
            Graph::MaskDecoder => &self.graphs.mask_decoder,
        }
    }

    fn id(&self) -> String {
        let mut hasher = Sha256::new();
        for graph in Graph::ALL {
            hasher.update(self.graph(graph).sha256.to_ascii_lowercase());
        }
        let digest: String = hex::encode(hasher.finalize()).chars().take(12).collect();
        format!("{}@{}+{digest}", self.name, self.version)
    }

    fn validate(&self, path: &Path) -> Result<()> {
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
        for (graph, key) in Graph::ALL.into_iter().zip(GRAPH_KEYS) {
            let GraphFile { file, sha256 } = self.graph(graph);
            let plain = Path::new(file).file_name().is_some_and(|name| name == file.as_str());
            check(plain, key, "must name a file of the bundle's own folder")?;
            let digest = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
            check(digest, key, "must have a sha256 of 64 hexadecimal digits")?;
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
        let dim = !self.pointers.used || (1..=MAX_CHANNELS).contains(&self.pointers.dim);
        check(dim, "pointers.dim", "must be between 1 and 65536 where pointers are used")
    }
}

/// Keys of the graphs in the manifest, in the order of [`Graph::ALL`].
const GRAPH_KEYS: [&str; 5] = [
    "graphs.retrieval",
    "graphs.image_encoder",
    "graphs.memory_encoder",
    "graphs.memory_attention",
    "graphs.mask_decoder",
];

fn verify(folder: &Path, graph: &GraphFile) -> Result<()> {
    let path = folder.join(&graph.file);
    let found = digest(&path).context(ReadBundleFileSnafu { path: &path })?;
    let expected = graph.sha256.to_ascii_lowercase();
    ensure!(found == expected, VerifyGraphSnafu { path, expected, found });
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(hex::encode(hasher.finalize()))
}
