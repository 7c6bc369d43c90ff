//! Group commit: many instances, one sync of each folder and one of the catalogue.

use super::{Writer, inspect_object};
use crate::{
    Error, Result, StoreError, StoreOutcome, StoredInstance,
    budget::Share,
    catalogue::Place,
    draft::{Draft, hex},
    durable::{self, OpenFolders},
    error::FileSnafu,
    metadata,
    part10::Inspected,
    prepare::{Answer, Prepared, with_identity},
};
use dicom_dictionary_std::tags;
use snafu::{IntoError, ResultExt};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An instance whose object file is where it belongs, and who waits to hear.
pub(crate) struct Placed {
    pub inspected: Inspected,
    /// The first is told that it was stored; others sent the same object within the group.
    pub answers: Vec<Answer>,
    /// Of the memory for what waits, where it waited.
    #[expect(dead_code, reason = "it is kept to be dropped with this")]
    pub share: Option<Share>,
}

impl Writer {
    /// Commits a group of prepared instances and answers each.
    pub(super) fn commit(&self, group: Vec<Prepared>) {
        if group.is_empty() {
            return;
        }
        let mut folders = self.unsynced.take();
        folders.retain(|folder| folder.is_dir());
        let placed = self.place(group, &mut folders);
        if placed.is_empty() {
            return self.unsynced.set(folders);
        }
        let (opened, entries) = match self.make_ready(&placed, &folders) {
            Ok(ready) => ready,
            Err(error) => {
                self.unsynced.set(folders);
                return self.take_back(placed, error);
            }
        };
        // Side by side, so that the file system's journal is written once for both. Which is first does not matter: an entry
        // without its file is dropped when the archive is opened after a crash.
        let synced = self.folders.sync(opened);
        let catalogued = self.enter(entries);
        let committed = synced.wait().and(catalogued);
        match self.shared.decisive(committed) {
            Ok(()) => placed.into_iter().for_each(acknowledge),
            Err(error) => refuse(placed, Arc::new(error)),
        }
    }

    /// Does what can fail without harm: what follows is only writing and syncing.
    fn make_ready(
        &self,
        placed: &[Placed],
        folders: &BTreeSet<PathBuf>,
    ) -> Result<(OpenFolders, sled::Batch)> {
        let opened = OpenFolders::open(folders)?;
        let places = self.keep_metadata(placed)?;
        Ok((opened, self.entries(placed, places)?))
    }

    /// Takes back objects that are in place but not in the catalogue, as where the disk is full: the archive goes on.
    fn take_back(&self, placed: Vec<Placed>, error: Error) {
        let objects = placed.iter().map(|placed| self.shared.layout.object(&placed.inspected.uids));
        let removed =
            objects.map(|object| durable::remove_file(&object)).try_for_each(|removed| removed.map(|_| ()));
        // What cannot be taken back would stand in the way of the next object of that UID.
        let _ = self.shared.decisive(removed);
        refuse(placed, Arc::new(error));
    }

    /// Renames each new object to where it belongs and answers at once those that need no commit. Notes the
    /// folders to sync.
    fn place(&self, group: Vec<Prepared>, folders: &mut BTreeSet<PathBuf>) -> Vec<Placed> {
        let mut placed: Vec<Placed> = Vec::new();
        let mut by_sop: HashMap<String, usize> = HashMap::new();
        for Prepared { incoming, inspected, answer, share } in group {
            let sop = inspected.uids.sop_instance_uid.clone();
            // Whatever is refused leaves nothing behind by the time that is heard.
            if let Some(twin) = by_sop.get(&sop).and_then(|index| placed.get_mut(*index)) {
                drop(incoming);
                if is_same(&twin.inspected, &inspected) {
                    twin.answers.push(answer);
                } else {
                    let conflict = StoreError::Conflict { sop_instance_uid: sop };
                    let _ = answer.send(Err(with_identity(conflict, &inspected)));
                }
                continue;
            }
            match self.present(&inspected) {
                Ok(Some(present)) => {
                    drop(incoming);
                    let _ = answer.send(present.map_err(|error| with_identity(error, &inspected)));
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    let error = StoreError::Archive { source: Arc::new(error) };
                    let _ = answer.send(Err(with_identity(error, &inspected)));
                    continue;
                }
            }
            match self.place_one(incoming, &inspected, folders) {
                Ok(()) => {
                    by_sop.insert(sop, placed.len());
                    placed.push(Placed { inspected, answers: vec![answer], share: Some(share) });
                }
                Err(error) => {
                    let _ = answer.send(Err(with_identity(error, &inspected)));
                }
            }
        }
        placed
    }

    /// The answer for a SOP instance that is there already: the same data set, or another.
    fn present(&self, inspected: &Inspected) -> Result<Option<Result<StoreOutcome, StoreError>>> {
        self.shared.refuse_if_broken()?;
        let sop = &inspected.uids.sop_instance_uid;
        let Some(uids) = self.shared.catalogue.locate(sop)? else { return Ok(None) };
        let Some(record) = self.shared.catalogue.instance(&uids)? else { return Ok(None) };
        let is_same = uids == inspected.uids
            && record.transfer_syntax_uid == inspected.transfer_syntax_uid
            && record.data_set_digest == hex(&inspected.data_set_digest);
        Ok(Some(if is_same {
            Ok(StoreOutcome::AlreadyStored(self.shared.stored(uids, &record)?))
        } else {
            Err(StoreError::Conflict { sop_instance_uid: sop.clone() })
        }))
    }

    fn place_one(
        &self,
        incoming: crate::Incoming,
        inspected: &Inspected,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), StoreError> {
        let uids = &inspected.uids;
        let folder = self.shared.layout.series_folder(&uids.study_instance_uid, &uids.series_instance_uid);
        durable::make_folder(&folder, folders).map_err(refusal)?;
        let path = self.shared.layout.object(uids);
        if path.exists() {
            self.clear_place(&path, inspected, folders)?;
        }
        incoming
            .place(&path)
            .map_err(|source| refusal(FileSnafu { action: "put in place", path }.into_error(source)))?;
        folders.insert(folder);
        Ok(())
    }

    /// Makes room for an object where a file lies that the catalogue does not know: opening the archive could not read it. The same
    /// object may be replaced; another that reads stays; what does not read is set aside, for it may be all that is left.
    fn clear_place(
        &self,
        path: &Path,
        inspected: &Inspected,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), StoreError> {
        match inspect_object(&self.shared, &inspected.uids) {
            Ok(found) if is_same(&found, inspected) => Ok(()),
            Ok(found) if found.uids == inspected.uids => {
                Err(StoreError::Conflict { sop_instance_uid: found.uids.sop_instance_uid })
            }
            _ => self.set_aside(path, folders).map_err(refusal),
        }
    }

    fn set_aside(&self, path: &Path, folders: &mut BTreeSet<PathBuf>) -> Result<()> {
        let folder = self.shared.layout.set_aside();
        durable::make_folder(&folder, folders)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = |number: u64| folder.join(format!("{name}.{number}"));
        let free = (1..).map(aside).find(|path| !path.exists()).unwrap_or_else(|| aside(0));
        fs::rename(path, &free).context(FileSnafu { action: "set aside", path })?;
        tracing::warn!(from = %path.display(), to = %free.display(), "set aside what lay in an object's place and does not read");
        folders.insert(folder);
        Ok(())
    }

    /// Appends each instance's JSON to its series' kept metadata and says where it lies.
    pub(crate) fn keep_metadata(&self, placed: &[Placed]) -> Result<Vec<Place>> {
        let mut by_series: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (index, Placed { inspected, .. }) in placed.iter().enumerate() {
            let key =
                (inspected.uids.study_instance_uid.as_str(), inspected.uids.series_instance_uid.as_str());
            by_series.entry(key).or_default().push(index);
        }
        let mut found: Vec<(usize, Place)> = Vec::with_capacity(placed.len());
        for ((study, series), indices) in by_series {
            let texts = indices.iter().filter_map(|index| placed.get(*index));
            let lines: Vec<&[u8]> = texts.map(|placed| placed.inspected.json.text.as_slice()).collect();
            found.extend(indices.into_iter().zip(metadata::append(
                &self.shared.layout,
                study,
                series,
                &lines,
            )?));
        }
        found.sort_by_key(|(index, _)| *index);
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    /// The catalogue's entries of instances whose JSON lies at `places`.
    pub(crate) fn entries(&self, placed: &[Placed], places: Vec<Place>) -> Result<sled::Batch> {
        let mut draft = Draft::new(&self.shared.catalogue);
        for (Placed { inspected, .. }, place) in placed.iter().zip(places) {
            draft.add(inspected, place)?;
        }
        draft.batch()
    }

    /// Enters instances in the catalogue, durably.
    pub(crate) fn enter(&self, entries: sled::Batch) -> Result<()> {
        self.shared.note_addition();
        self.shared.catalogue.apply(entries)?;
        self.shared.catalogue.sync()
    }
}

fn is_same(one: &Inspected, other: &Inspected) -> bool {
    one.uids == other.uids
        && one.transfer_syntax_uid == other.transfer_syntax_uid
        && one.data_set_digest == other.data_set_digest
}

/// What the rooms above are told of an instance that has just been stored.
pub(crate) fn stored(inspected: &Inspected) -> StoredInstance {
    StoredInstance {
        uids: inspected.uids.clone(),
        patient_id: inspected.json.text(tags::PATIENT_ID),
        sop_class_uid: inspected.sop_class_uid.clone(),
        modality: inspected.json.text(tags::MODALITY),
        transfer_syntax_uid: inspected.transfer_syntax_uid.clone(),
        size: inspected.size,
    }
}

fn acknowledge(placed: Placed) {
    let instance = stored(&placed.inspected);
    for (index, answer) in placed.answers.into_iter().enumerate() {
        let outcome = match index {
            0 => StoreOutcome::Stored(instance.clone()),
            _ => StoreOutcome::AlreadyStored(instance.clone()),
        };
        let _ = answer.send(Ok(outcome));
    }
}

fn refuse(placed: Vec<Placed>, source: Arc<Error>) {
    for Placed { inspected, answers, .. } in placed {
        for answer in answers {
            let error = if source.is_full() {
                StoreError::NoSpace
            } else {
                StoreError::Archive { source: source.clone() }
            };
            let _ = answer.send(Err(with_identity(error, &inspected)));
        }
    }
}

fn refusal(error: Error) -> StoreError {
    if error.is_full() { StoreError::NoSpace } else { StoreError::Archive { source: Arc::new(error) } }
}
