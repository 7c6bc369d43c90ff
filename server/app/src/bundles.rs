//! Where bundles lie, how they are started, and where each one's bank is kept.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use engram_archive::clear_in_pieces;
use engram_inference::{Bundle, Device, Engine, EngineOptions};
use engram_memory::{Bank, BankOptions, bundle_of};
use engram_workflow::{BoxError, BundleSource, ConfiguredBundles, Decided};

use crate::cli::Failure;
use crate::config::{Config, mebibytes};

/// The manifest that makes a folder a bundle.
const MANIFEST: &str = "bundle.toml";
/// The tree of the bank that the first versions kept, whatever its bundle; the trees of banks are called so with `:`
/// and the bundle's id.
const BANK: &str = "bank";
/// What a bank keeps in its folder.
const BANK_FOLDERS: [&str; 2] = ["features", "index"];

/// The bundles that the configuration names.
///
/// # Errors
/// It names none, and the one that ships is not found.
pub fn configured(config: &Config) -> Result<ConfiguredBundles, Failure> {
    let beside = config.models.bundles.iter().map(|folder| absolute(folder)).collect();
    Ok(ConfiguredBundles { first: first_folder(config)?, beside })
}

/// The configured bundle, or the shipped one where it may lie.
///
/// # Errors
/// There is neither.
pub fn first_folder(config: &Config) -> Result<PathBuf, Failure> {
    if let Some(folder) = &config.models.bundle {
        return Ok(absolute(folder));
    }
    let found = shipped().into_iter().map(|models| models.join("compact")).find(|folder| is_bundle(folder));
    found.ok_or_else(|| {
        Failure::say("could not find the shipped bundle (models/compact); name one in [models] bundle")
    })
}

/// The bundle in use: the one that a person chose, else the configured one.
///
/// # Errors
/// As [`first_folder`]; or the journal of choices cannot be read.
pub fn folder_in_use(config: &Config) -> Result<PathBuf, Failure> {
    match Decided::read(&config.storage.data).map_err(Failure::of)?.in_use {
        Some(chosen) => Ok(chosen.folder),
        None => first_folder(config),
    }
}

/// Every bundle that may be chosen by name, by its manifest alone: those that the configuration names, those in the
/// data folder's `models`, those that ship, and those that were chosen before.
pub fn known(config: &Config) -> Vec<Bundle> {
    let mut folders: Vec<PathBuf> =
        config.models.bundle.iter().chain(&config.models.bundles).cloned().collect();
    folders.extend(folders_in(&config.storage.data.join("models")));
    folders.extend(shipped().iter().flat_map(|models| folders_in(models)));
    if let Ok(decided) = Decided::read(&config.storage.data) {
        folders.extend(decided.in_use.into_iter().chain(decided.kept).map(|choice| choice.folder));
    }
    let mut seen = BTreeSet::new();
    let mut known: Vec<Bundle> =
        folders.into_iter().filter_map(|folder| manifest(&absolute(&folder))).collect();
    known.retain(|bundle| seen.insert(bundle.id().to_owned()));
    known
}

fn manifest(folder: &Path) -> Option<Bundle> {
    match Bundle::read(folder) {
        Ok(bundle) => Some(bundle),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), error = %engram_workflow::report(&error), "no bundle");
            None
        }
    }
}

fn is_bundle(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file()
}

/// Bundles' folders right below one, in the order of their names.
fn folders_in(models: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(models).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_bundle(path)).collect();
    folders.sort();
    folders
}

/// Folders in which bundles that ship may lie.
fn shipped() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let places = [
        Some(PathBuf::from("models")),
        beside.map(|folder| folder.join("models")),
        beside.map(|folder| folder.join("../share/engram/models")),
        // A build that has not been installed finds the bundle in its own source tree.
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")),
    ];
    places.into_iter().flatten().map(|place| absolute(&place)).collect()
}

/// A choice outlives the process and its working folder.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Loads a bundle on the configured device.
///
/// # Errors
/// There is no such device, or it does not take the bundle.
pub fn engine(config: &Config, bundle: Bundle) -> Result<Engine, Failure> {
    engine_on(config, bundle, devices(config)?)
}

/// The bundle, loaded on other devices than the configured ones.
///
/// # Errors
/// There is no such device, or it does not take the bundle.
pub fn engine_on(config: &Config, bundle: Bundle, devices: Vec<Device>) -> Result<Engine, Failure> {
    let options = EngineOptions {
        devices,
        library: config.models.onnxruntime.clone(),
        threads: config.models.threads,
        max_batch: config.models.max_batch.max(1),
        memory_budget_bytes: mebibytes(config.models.memory_mb),
    };
    Engine::start(bundle, options).map_err(Failure::of)
}

/// The configured devices.
///
/// # Errors
/// A name that is none.
pub fn devices(config: &Config) -> Result<Vec<Device>, Failure> {
    Device::list(&config.models.device).map_err(Failure::of)
}

/// Bundles started as configured, with their banks in the data folder: `bank/ID/` and a tree each.
pub struct StoredBundles {
    config: Config,
    db: sled::Db,
    /// The bundle of the bank that lies in `bank/` itself, as the first versions kept it. It stays where it is.
    first: Option<String>,
}

impl StoredBundles {
    /// Over an opened database.
    ///
    /// # Errors
    /// The database or the folder of banks cannot be used.
    pub fn new(config: &Config, db: &sled::Db) -> Result<Self, String> {
        let mut stored = Self { config: config.clone(), db: db.clone(), first: None };
        stored.first = stored.first_bank().map_err(|error| format!("could not look at the bank: {error}"))?;
        Ok(stored)
    }

    /// The bundle of the bank in `bank/` itself; an empty one is removed.
    fn first_bank(&self) -> Result<Option<String>, BoxError> {
        if !self.db.tree_names().iter().any(|name| *name == BANK) {
            return Ok(None);
        }
        let bundle = bundle_of(self.db.open_tree(BANK)?)?;
        if bundle.is_none() {
            self.remove_first_bank()?;
        }
        Ok(bundle)
    }

    fn is_first(&self, id: &str) -> bool {
        self.first.as_deref() == Some(id)
    }

    fn folder(&self) -> PathBuf {
        self.config.storage.data.join(BANK)
    }

    fn remove_first_bank(&self) -> Result<(), BoxError> {
        self.remove_tree(BANK)?;
        BANK_FOLDERS.iter().try_for_each(|name| remove_folder(&self.folder().join(name)))
    }

    fn remove_tree(&self, name: &str) -> Result<(), BoxError> {
        if self.db.tree_names().iter().any(|tree| tree == name.as_bytes()) {
            clear_in_pieces(&self.db.open_tree(name)?)?;
            self.db.drop_tree(name)?;
        }
        Ok(())
    }
}

impl BundleSource for StoredBundles {
    fn known(&self) -> Vec<Bundle> {
        known(&self.config)
    }

    fn start(&self, bundle: Bundle) -> Result<(Engine, Bank), BoxError> {
        let engine = engine(&self.config, bundle).map_err(|failure| failure.to_string())?;
        let id = engine.bundle().id();
        let (folder, tree) = if self.is_first(id) {
            (self.folder(), BANK.to_owned())
        } else {
            (self.folder().join(id), tree_name(id))
        };
        let bank = Bank::open(&folder, self.db.open_tree(tree)?, bank_options(&self.config, &engine))?;
        Ok((engine, bank))
    }

    fn banks(&self) -> Result<Vec<String>, BoxError> {
        let names = self.db.tree_names().into_iter();
        let ids =
            names.filter_map(|name| Some(std::str::from_utf8(&name).ok()?.strip_prefix("bank:")?.to_owned()));
        Ok(ids.chain(self.first.clone()).collect())
    }

    fn remove_bank(&self, id: &str) -> Result<(), BoxError> {
        if self.is_first(id) {
            return self.remove_first_bank();
        }
        self.remove_tree(&tree_name(id))?;
        remove_folder(&self.folder().join(id))
    }
}

fn tree_name(id: &str) -> String {
    format!("{BANK}:{id}")
}

fn remove_folder(path: &Path) -> Result<(), BoxError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("could not remove {}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}

fn bank_options(config: &Config, engine: &Engine) -> BankOptions {
    let spec = engine.bundle().spec();
    let (channels, size) = (spec.features.memory_channels, spec.features.memory_size);
    BankOptions {
        cache_bytes: usize::try_from(mebibytes(config.memory.cache_mb)).unwrap_or(usize::MAX),
        exact_below: config.memory.exact_below,
        pointer_dim: if spec.pointers.used { spec.pointers.dim } else { 0 },
        ..BankOptions::new(engine.bundle().id(), spec.retrieval.embedding_dim, [channels, size, size])
    }
}

#[cfg(test)]
mod tests {
    use engram_memory::{ImageIdentity, LabelDefinition, NewLabel, NewSlice};
    use ndarray::Array3;

    use super::*;

    const ID: &str = "compact@0.1.0+000000000000";

    fn slice() -> NewSlice {
        let text = |text: &str| text.to_owned();
        NewSlice {
            image: ImageIdentity {
                study_instance_uid: text("1"),
                series_instance_uid: text("2"),
                sop_instance_uid: text("3"),
                frame: 1,
                patient_id: text("4"),
                modality: text("MR"),
            },
            slice_index: 0,
            slice_position: 0.0,
            collection: text("default"),
            created: 0,
            vector: vec![1.0, 0.0],
            present: vec![NewLabel {
                label_key: text("SCT:1"),
                area_fraction: 0.5,
                whole: Array3::zeros((1, 1, 1)).into(),
                crop: None,
            }],
            absent: vec![],
            empty: None,
        }
    }

    /// A store as the first versions kept it: one bank, in `bank/` itself.
    fn first_store(data: &Path, db: &sled::Db, slices: usize) {
        let options = BankOptions::new(ID, 2, [1, 1, 1]);
        let bank = Bank::open(&data.join(BANK), db.open_tree(BANK).unwrap(), options).unwrap();
        let definition = LabelDefinition { key: "SCT:1".into(), name: "organ".into(), codes: String::new() };
        let mut ingest = bank.ingest("9", "2", vec![definition]).unwrap();
        (0..slices).for_each(|_| ingest.push(slice()).unwrap());
        ingest.commit(&[]).unwrap();
        bank.wait_for_index();
    }

    #[test]
    fn the_bank_of_an_earlier_version_is_that_of_its_bundle() {
        let data = tempfile::tempdir().unwrap();
        let db = sled::Config::new().temporary(true).open().unwrap();
        let mut config = Config::default();
        config.storage.data = data.path().to_path_buf();
        first_store(data.path(), &db, 1);
        let stored = StoredBundles::new(&config, &db).unwrap();
        assert!(stored.is_first(ID));
        assert_eq!(stored.banks().unwrap(), [ID]);
        std::fs::create_dir_all(data.path().join("bank/other@1+0/features")).unwrap();
        stored.remove_bank(ID).unwrap();
        assert!(!db.tree_names().iter().any(|name| *name == BANK));
        let left: Vec<_> =
            fs::read_dir(data.path().join(BANK)).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["other@1+0"]);
    }

    #[test]
    fn an_empty_bank_of_an_earlier_version_goes() {
        let data = tempfile::tempdir().unwrap();
        let db = sled::Config::new().temporary(true).open().unwrap();
        let mut config = Config::default();
        config.storage.data = data.path().to_path_buf();
        first_store(data.path(), &db, 0);
        let stored = StoredBundles::new(&config, &db).unwrap();
        assert!(stored.banks().unwrap().is_empty());
        assert!(!db.tree_names().iter().any(|name| *name == BANK));
        assert!(!data.path().join("bank/features").exists());
    }
}
