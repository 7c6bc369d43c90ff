//! Deletion: noted in the removals journal first, then taken out of the catalogue, then off the disk.
//!
//! A crash after the note leaves a deletion that opening the archive finishes; before it, one that never
//! was. The note is crossed out before anything else is committed, so it can never strike an object stored
//! later under the same UID.

use super::Writer;
use crate::{
    Deleted, InstanceUids, Result, catalogue::InstanceRecord, draft::Draft, durable, error::RemovalsSnafu,
    metadata,
};
use serde::{Deserialize, Serialize};
use snafu::ResultExt;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Study(String),
    Series(String, String),
    Instance(InstanceUids),
}

/// A deletion that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removal {
    pub instances: Vec<InstanceUids>,
}

/// A series' metadata file is written anew once this many bytes of it belong to no instance, and more than half of it.
const MAX_DEAD_METADATA: u64 = 1 << 20;

/// The most instances that leave the catalogue together: sled takes no large changes without a flush between them.
const GROUP: usize = 256;

impl Writer {
    /// Deletes what is under the UIDs; durable when it returns.
    pub(super) fn delete(&self, scope: &Scope) -> Result<Deleted> {
        self.shared.refuse_if_broken()?;
        let doomed = self.instances(scope)?;
        let mut deleted = Deleted::default();
        for (uids, record) in &doomed {
            deleted.instances.push(self.shared.stored(uids.clone(), record)?);
        }
        if !doomed.is_empty() {
            let removal = Removal { instances: doomed.into_iter().map(|(uids, _)| uids).collect() };
            self.removals.append(&removal).context(RemovalsSnafu)?;
            self.shared.decisive(self.finish_removals(vec![removal]))?;
        }
        Ok(deleted)
    }

    fn instances(&self, scope: &Scope) -> Result<Vec<(InstanceUids, InstanceRecord)>> {
        let catalogue = &self.shared.catalogue;
        let of_series = |study: &str, series: &str| -> Result<Vec<_>> {
            catalogue
                .instances_of(study, series)
                .map(|found| found.map(|(sop, record)| (InstanceUids::new(study, series, &sop), record)))
                .collect()
        };
        match scope {
            Scope::Study(study) => {
                let series: Result<Vec<_>> = catalogue.series_of(study).collect();
                let lists: Result<Vec<_>> =
                    series?.iter().map(|(series, _)| of_series(study, series)).collect();
                Ok(lists?.into_iter().flatten().collect())
            }
            Scope::Series(study, series) => of_series(study, series),
            Scope::Instance(uids) => {
                Ok(catalogue.instance(uids)?.map(|record| (uids.clone(), record)).into_iter().collect())
            }
        }
    }

    /// Carries out deletions that are noted in the journal, then crosses them out.
    pub(super) fn finish_removals(&self, removals: Vec<Removal>) -> Result<()> {
        if removals.is_empty() {
            return Ok(());
        }
        let doomed: Vec<InstanceUids> = removals.into_iter().flat_map(|removal| removal.instances).collect();
        self.drop_entries(&doomed)?;
        self.remove_files(&doomed)?;
        self.removals.rewrite([]).context(RemovalsSnafu)
    }

    /// Takes instances out of the catalogue, durably. Those that are not in it are passed over.
    pub(crate) fn drop_entries(&self, doomed: &[InstanceUids]) -> Result<()> {
        doomed.chunks(GROUP).try_for_each(|group| {
            let mut draft = Draft::new(&self.shared.catalogue);
            for uids in group {
                if let Some(record) = self.shared.catalogue.instance(uids)? {
                    draft.remove(uids, &record)?;
                }
            }
            draft.apply()?;
            self.shared.catalogue.sync()
        })
    }

    fn remove_files(&self, doomed: &[InstanceUids]) -> Result<()> {
        let layout = &self.shared.layout;
        let mut by_series: BTreeMap<(&str, &str), Vec<&InstanceUids>> = BTreeMap::new();
        for uids in doomed {
            by_series.entry((&uids.study_instance_uid, &uids.series_instance_uid)).or_default().push(uids);
        }
        let mut folders = BTreeSet::new();
        for ((study, series), instances) in by_series {
            for uids in instances {
                durable::remove_file(&layout.object(uids))?;
            }
            folders.insert(layout.series_folder(study, series));
            self.tidy(study, series, &mut folders)?;
        }
        folders.retain(|folder| folder.is_dir());
        durable::sync_folders(&folders)
    }

    /// Removes the folders and metadata of a series and study that are no more, or the dead lines of one that is.
    fn tidy(&self, study: &str, series: &str, folders: &mut BTreeSet<std::path::PathBuf>) -> Result<()> {
        let layout = &self.shared.layout;
        if self.shared.catalogue.series(study, series)?.is_some() {
            return self.compact(study, series);
        }
        let kept = layout.series_metadata(study, series);
        durable::remove_file(&kept)?;
        let series_folder = layout.series_folder(study, series);
        let study_folder = layout.study_folder(study);
        if durable::remove_empty_folder(&series_folder) {
            folders.insert(study_folder.clone());
        }
        if self.shared.catalogue.study(study)?.is_none() {
            if let Some(folder) = kept.parent() {
                durable::remove_empty_folder(folder);
            }
            if durable::remove_empty_folder(&study_folder)
                && let Some(shard) = study_folder.parent()
            {
                folders.insert(shard.to_owned());
            }
        }
        Ok(())
    }

    fn compact(&self, study: &str, series: &str) -> Result<()> {
        let layout = &self.shared.layout;
        let records: Result<Vec<_>> = self.shared.catalogue.instances_of(study, series).collect();
        let records = records?;
        let live: u64 = records.iter().map(|(_, record)| record.metadata.length + 1).sum();
        let size =
            std::fs::metadata(layout.series_metadata(study, series)).map_or(0, |metadata| metadata.len());
        let dead = size.saturating_sub(live);
        if dead < MAX_DEAD_METADATA || dead < live {
            return Ok(());
        }
        let mut kept = metadata::SeriesMetadata::open(layout, study, series);
        let mut lines = Vec::new();
        for (sop, record) in records {
            // A line that is damaged stays so and is mended when it is read.
            if let Some(line) = kept.line(record.metadata) {
                lines.push((InstanceUids::new(study, series, &sop), record, line));
            }
        }
        let texts: Vec<&[u8]> = lines.iter().map(|(_, _, line)| line.as_slice()).collect();
        let places = match metadata::replace(layout, study, series, &texts) {
            Ok(places) => places,
            Err(error) => {
                // As where the disk is full. What is lost is made anew when it is read.
                tracing::warn!(error = %snafu::Report::from_error(error), "could not write metadata anew after a deletion");
                return Ok(());
            }
        };
        let mut draft = Draft::new(&self.shared.catalogue);
        for ((uids, record, _), place) in lines.into_iter().zip(places) {
            draft.replace(&uids, InstanceRecord { metadata: place, ..record });
        }
        draft.apply()
    }
}
