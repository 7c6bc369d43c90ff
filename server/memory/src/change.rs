//! Changing the bank: in the database first, all of a change or nothing, then in memory.

use std::fs;

use crate::Result;
use crate::bank::{Bank, Inner, State, Writer};
use crate::columns::{Columns, hash};
use crate::exemplar::{ExemplarSlice, LabelDefinition};
use crate::pack;
use crate::records::Changes;

/// A change of the bank.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) removed: Vec<u64>,
    pub(crate) relabelled: Vec<ExemplarSlice>,
    pub(crate) added: Vec<(ExemplarSlice, Vec<f32>)>,
    pub(crate) definitions: Vec<LabelDefinition>,
}

impl Bank {
    /// Removes what a SEG taught of a series. Answers the number of slices removed; here and below.
    ///
    /// # Errors
    /// The database fails; here and below.
    pub fn remove_by_seg(&self, seg_sop_instance_uid: &str, series_instance_uid: &str) -> Result<usize> {
        self.remove_rows(|columns| {
            let annotation = columns.annotation(seg_sop_instance_uid, series_instance_uid);
            columns.from(0).filter(|row| Some(row.annotation()) == annotation).map(|row| row.id).collect()
        })
    }

    /// Removes every slice of a study.
    ///
    /// # Errors
    /// See [`Bank::remove_by_seg`].
    pub fn remove_by_study(&self, study_instance_uid: &str) -> Result<usize> {
        self.remove_rows(|columns| {
            let study = columns.symbol(study_instance_uid);
            columns.from(0).filter(|row| Some(row.study) == study).map(|row| row.id).collect()
        })
    }

    /// Removes every slice of a series.
    ///
    /// # Errors
    /// See [`Bank::remove_by_seg`].
    pub fn remove_by_series(&self, series_instance_uid: &str) -> Result<usize> {
        self.remove_rows(|columns| {
            let series = columns.symbol(series_instance_uid);
            columns.from(0).filter(|row| Some(row.series) == series).map(|row| row.id).collect()
        })
    }

    /// Removes every slice of an image instance.
    ///
    /// # Errors
    /// See [`Bank::remove_by_seg`].
    pub fn remove_by_instance(&self, sop_instance_uid: &str) -> Result<usize> {
        let hash = hash(sop_instance_uid);
        let mut writer = self.writer.lock();
        let alike: Vec<u64> = {
            let columns = &self.state.read().columns;
            columns.from(0).filter(|row| row.instance == hash).map(|row| row.id).collect()
        };
        let mut removed = Vec::new();
        for id in alike {
            let slice = self.records.slice(id)?;
            removed.extend(slice.filter(|s| s.image.sop_instance_uid == sop_instance_uid).map(|_| id));
        }
        let count = removed.len();
        self.change(&mut writer, Plan { removed, ..Plan::default() })?;
        Ok(count)
    }

    /// Empties the bank, index and memory features included.
    ///
    /// # Errors
    /// The database or the folder cannot be used.
    pub fn clear(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        let generation = self.records.clear()?;
        self.versions.clear()?;
        let columns = Columns::new(self.options.embedding_dim);
        let old = std::mem::replace(&mut *self.state.write(), State { columns, index: None, generation });
        writer.next = 0;
        self.cache.lock().clear();
        let mut packs: Vec<u64> = old.columns.from(0).map(|row| row.pack).collect();
        packs.dedup();
        self.remove_packs(packs.into_iter());
        Ok(())
    }

    fn remove_rows(&self, choose: impl FnOnce(&Columns) -> Vec<u64>) -> Result<usize> {
        let mut writer = self.writer.lock();
        let removed = choose(&self.state.read().columns);
        let count = removed.len();
        self.change(&mut writer, Plan { removed, ..Plan::default() })?;
        Ok(count)
    }

    /// Makes a change: in the database first, all of it or nothing, then in memory.
    pub(crate) fn change(&self, writer: &mut Writer, plan: Plan) -> Result<()> {
        let Plan { removed, relabelled, added, definitions } = plan;
        if removed.is_empty() && relabelled.is_empty() && added.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        removed.iter().for_each(|id| changes.remove(*id));
        for slice in &relabelled {
            changes.put_slice(slice)?;
        }
        for (slice, vector) in &added {
            changes.put_slice(slice)?;
            changes.put_vector(slice.id.0, vector);
        }
        for definition in &definitions {
            changes.put_label(definition)?;
        }
        changes.put_next(writer.next);
        self.records.commit(changes)?;
        let unused: Vec<u64> = {
            let columns = &mut self.state.write().columns;
            relabelled.iter().for_each(|slice| columns.relabel(slice));
            added.iter().for_each(|(slice, vector)| columns.insert(slice, Some(vector)));
            removed.iter().filter_map(|id| columns.remove(*id)).collect()
        };
        self.remove_packs(unused.into_iter());
        self.consider_index();
        Ok(())
    }
}

impl Inner {
    fn remove_packs(&self, packs: impl Iterator<Item = u64>) {
        for pack in packs {
            let path = pack::path(&self.packs, pack);
            if let Err(error) = fs::remove_file(&path) {
                // The next start tries again.
                tracing::warn!(path = %path.display(), %error, "could not remove memory features");
            }
        }
    }
}
