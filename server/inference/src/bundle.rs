//! A bundle: a folder of ONNX graphs with a manifest that names every number the runtime needs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::Array1;
use sha2::{Digest, Sha256};
use snafu::{ResultExt, ensure};

use crate::error::{InvalidManifestSnafu, ParseManifestSnafu, ReadBundleFileSnafu, VerifyGraphSnafu};
use crate::{BundleFile, BundleSpec, Graph, Result};

/// The manifest's file name.
const MANIFEST: &str = "bundle.toml";

/// An opened bundle: manifest understood, files verified. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    spec: Arc<BundleSpec>,
    constants: Arc<Constants>,
    id: Arc<str>,
}

/// A bundle's constant tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constants {
    /// Pointer of an object that is not there, `[pointers.dim]`.
    pub no_obj_ptr: Option<Array1<f32>>,
    /// Added to every place of `image_embed` where there is no memory, `[embed_channels]`.
    pub no_mem_embed: Option<Array1<f32>>,
}

impl Bundle {
    /// Opens the bundle in `folder`: reads `bundle.toml`, checks every value and every graph's SHA-256.
    ///
    /// # Errors
    /// A missing file, an unknown or missing key, a value out of range, a digest that differs.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let bundle = Self::read(folder)?;
        for (_, file) in bundle.spec.files() {
            verify(&bundle.folder, file)?;
        }
        let constants = Arc::new(Constants::read(&bundle.folder, &bundle.spec)?);
        Ok(Self { constants, ..bundle })
    }

    /// Reads the manifest alone, to tell what a folder holds; the files it names are not looked at, and its constants
    /// are empty. To compute, [`Bundle::open`] it.
    ///
    /// # Errors
    /// A missing manifest, an unknown or missing key, a value out of range.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).context(ReadBundleFileSnafu { path: &path })?;
        let spec: BundleSpec = toml::from_str(&text).context(ParseManifestSnafu { path: &path })?;
        spec.validate(&path)?;
        let constants = Arc::default();
        let id = spec.id().into();
        Ok(Self { folder, spec: Arc::new(spec), constants, id })
    }

    /// What the manifest says.
    pub fn spec(&self) -> &BundleSpec {
        &self.spec
    }

    /// Its constant tensors.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// `name@version+digest`, the digest over the digests of all files: two bundles with one id have the same files.
    /// Exemplars carry it, since memories of one bundle mean nothing to another.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a graph that the bundle has.
    pub(crate) fn graph_path(&self, graph: Graph) -> Option<PathBuf> {
        Some(self.folder.join(&self.spec.graph(graph)?.file))
    }
}

impl Constants {
    fn read(folder: &Path, spec: &BundleSpec) -> Result<Self> {
        let read = |file: &Option<BundleFile>, key: &'static str, length: usize| {
            file.as_ref().map(|file| read_tensor(&folder.join(&file.file), key, length)).transpose()
        };
        Ok(Self {
            no_obj_ptr: read(&spec.tensors.no_obj_ptr, "tensors.no_obj_ptr", spec.pointers.dim)?,
            no_mem_embed: read(
                &spec.tensors.no_mem_embed,
                "tensors.no_mem_embed",
                spec.features.embed_channels,
            )?,
        })
    }
}

/// Raw little-endian numbers of 32 bits, `length` of them.
fn read_tensor(path: &Path, key: &'static str, length: usize) -> Result<Array1<f32>> {
    let bytes = std::fs::read(path).context(ReadBundleFileSnafu { path })?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    let reason = || format!("has {} bytes, not {length} numbers of 4", bytes.len());
    ensure!(numbers.len() == length && rest.is_empty(), InvalidManifestSnafu { path, key, reason: reason() });
    Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

fn verify(folder: &Path, file: &BundleFile) -> Result<()> {
    let path = folder.join(&file.file);
    let found = digest(&path).context(ReadBundleFileSnafu { path: &path })?;
    let expected = file.sha256.to_ascii_lowercase();
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
