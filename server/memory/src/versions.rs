//! Versions of the index on disk, one of which is current.
//!
//! `index-N/` holds a graph and a manifest with its files' digests; it is synced whole before `CURRENT`, which names
//! it, is replaced by an atomic rename. So at any moment, `kill -9` and power loss included, `CURRENT` names a whole
//! index or there is none.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use snafu::ResultExt;

use crate::error::{FilesSnafu, RecordSnafu};
use crate::graph::{FILES, Graph, Index};
use crate::pack::sync_folder;
use crate::{Error, Result};

const FORMAT: u32 = 1;
const CURRENT: &str = "CURRENT";
const NEXT: &str = "CURRENT.next";
const MANIFEST: &str = "manifest.json";

/// What the vectors of an index are; an index of others does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The bank's generation, as text.
    pub(crate) generation: String,
    /// The bundle that computed the vectors.
    pub(crate) bundle_id: String,
    /// Their length.
    pub(crate) dim: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    contents: Contents,
    points: usize,
    /// See [`Index::effort`].
    effort: Option<usize>,
    /// SHA-256 of each of [`FILES`].
    digests: [String; 2],
}

/// The folder of versions.
#[derive(Debug, Clone)]
pub(crate) struct Versions {
    folder: PathBuf,
}

impl Versions {
    /// Opens the folder, making it where it is not there.
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).context(FilesSnafu { action: "create", path: &folder })?;
        Ok(Self { folder })
    }

    /// The current index, if there is one, it is whole, and it is one of these contents.
    pub(crate) fn load(&self, contents: &Contents) -> Option<Index> {
        let name = self.current()?;
        let loaded = self.load_version(&name, contents);
        if let Err(reason) = &loaded {
            tracing::warn!(index = name, reason, "the index does not match and is built anew");
        }
        loaded.ok()
    }

    fn load_version(&self, name: &str, contents: &Contents) -> Result<Index, &'static str> {
        let folder = self.folder.join(name);
        let manifest = fs::read(folder.join(MANIFEST)).map_err(|_| "it has no manifest")?;
        let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|_| "its manifest is damaged")?;
        if manifest.format != FORMAT {
            return Err("it is of another format");
        }
        if manifest.contents != *contents {
            return Err("it is of other vectors");
        }
        let good =
            |(file, expected): (&str, &String)| digest(&folder.join(file)).is_ok_and(|d| d == *expected);
        if !FILES.into_iter().zip(&manifest.digests).all(good) {
            return Err("its files are damaged");
        }
        let graph = Graph::load(&folder).ok_or("its graph cannot be loaded")?;
        if graph.points() != manifest.points {
            return Err("it has another number of points");
        }
        Ok(Index { graph, effort: manifest.effort })
    }

    /// Writes a graph as a new version, makes it the current one, and removes the others.
    pub(crate) fn store(&self, index: &Index, contents: &Contents) -> Result<()> {
        let name = self.unused_name()?;
        let folder = self.folder.join(&name);
        fs::create_dir(&folder).context(FilesSnafu { action: "create", path: &folder })?;
        index.graph.dump(&folder)?;
        let digest = |file: &str| {
            let path = folder.join(file);
            digest(&path).context(FilesSnafu { action: "read", path })
        };
        let digests = [digest(FILES[0])?, digest(FILES[1])?];
        let Index { graph, effort } = index;
        let (points, effort) = (graph.points(), *effort);
        let manifest = Manifest { format: FORMAT, contents: contents.clone(), points, effort, digests };
        let manifest = serde_json::to_vec(&manifest).context(RecordSnafu { key: MANIFEST })?;
        write(&folder.join(MANIFEST), &manifest)?;
        for file in FILES {
            let path = folder.join(file);
            let sync = || File::open(&path)?.sync_all();
            sync().context(FilesSnafu { action: "sync", path: &path })?;
        }
        sync_folder(&folder)?;
        sync_folder(&self.folder)?;
        let next = self.folder.join(NEXT);
        write(&next, name.as_bytes())?;
        fs::rename(&next, self.folder.join(CURRENT)).context(FilesSnafu { action: "rename", path: &next })?;
        sync_folder(&self.folder)?;
        self.remove_others();
        Ok(())
    }

    /// Removes every version but the current one: what a crash left, and what has been replaced.
    pub(crate) fn remove_others(&self) {
        let current = self.current();
        for version in self.names().unwrap_or_default() {
            if Some(&version) != current.as_ref() {
                let path = self.folder.join(&version);
                if let Err(error) = fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "could not remove an old index");
                }
            }
        }
    }

    /// Removes every version.
    pub(crate) fn clear(&self) -> Result<()> {
        let path = self.folder.join(CURRENT);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Files { action: "remove", path, source: error });
            }
            _ => {}
        }
        sync_folder(&self.folder)?;
        self.remove_others();
        Ok(())
    }

    /// Name of the current version.
    fn current(&self) -> Option<String> {
        let name = fs::read_to_string(self.folder.join(CURRENT)).ok()?;
        number(&name).map(|_| name)
    }

    fn names(&self) -> Result<Vec<String>> {
        let files = || FilesSnafu { action: "list", path: &self.folder };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).context(files())? {
            let name = entry.context(files())?.file_name();
            names.extend(name.to_str().filter(|name| number(name).is_some()).map(str::to_owned));
        }
        Ok(names)
    }

    fn unused_name(&self) -> Result<String> {
        let last = self.names()?.iter().filter_map(|name| number(name)).max();
        Ok(format!("index-{}", last.map_or(0, |last| last.saturating_add(1))))
    }
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("index-")?.parse().ok()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().context(FilesSnafu { action: "write", path })
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
