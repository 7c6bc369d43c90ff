//! Taking in what one SEG teaches.

use std::collections::BTreeSet;

use snafu::ensure;

use crate::Result;
use crate::bank::Bank;
use crate::change::Plan;
use crate::columns::Columns;
use crate::error::{FullSnafu, RefuseSliceSnafu};
use crate::exemplar::{
    ExemplarSlice, LabelDefinition, Memory, NewAbsence, NewCrop, NewLabel, NewSlice, Rectangle, SliceId,
    SliceLabel,
};
use crate::pack::{self, Location, PackWriter};
use crate::top::normalised;

/// An earlier annotation that a later one takes the place of. Which is the later the caller decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// The earlier SEG.
    pub seg_sop_instance_uid: String,
    /// The series on whose slices it no longer counts: a SEG may annotate several.
    pub series_instance_uid: String,
    /// The label on whose slices it no longer counts; `None`: all of its labels.
    pub label_key: Option<String>,
}

/// What one SEG teaches of one series, on its way into the bank. Memory features go to disk as slices are pushed; nothing of it is in the bank
/// before [`Ingest::commit`], and nothing is left where it is dropped instead.
pub struct Ingest {
    bank: Bank,
    seg_sop_instance_uid: String,
    series_instance_uid: String,
    definitions: Vec<LabelDefinition>,
    writer: PackWriter,
    pack: u64,
    slices: Vec<(ExemplarSlice, Vec<f32>)>,
}

impl Bank {
    /// Starts to take in what the SEG, whose labels are defined by `labels`, teaches of the series.
    ///
    /// # Errors
    /// The folder of memory features cannot be written.
    pub fn ingest(
        &self,
        seg_sop_instance_uid: &str,
        series_instance_uid: &str,
        labels: Vec<LabelDefinition>,
    ) -> Result<Ingest> {
        let pack = self.next_pack.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Ingest {
            bank: self.clone(),
            seg_sop_instance_uid: seg_sop_instance_uid.to_owned(),
            series_instance_uid: series_instance_uid.to_owned(),
            definitions: labels,
            writer: PackWriter::create(pack::path(&self.packs, pack))?,
            pack,
            slices: Vec::new(),
        })
    }
}

impl Ingest {
    /// Takes a slice. Its vector must have the bundle's length and a direction, its memories the bundle's shape.
    ///
    /// # Errors
    /// [`Error::RefuseSlice`](crate::Error::RefuseSlice), or memory features cannot be written.
    pub fn push(&mut self, slice: NewSlice) -> Result<()> {
        let vector = self.check(&slice)?;
        let mut labels = Vec::with_capacity(slice.present.len() + slice.absent.len());
        for (entry, label) in (0u16..).zip(slice.present) {
            labels.push(self.store_present(entry, label)?);
        }
        let empty = match &slice.empty {
            Some(memory) if !slice.absent.is_empty() => Some(self.store(memory)?),
            _ => None,
        };
        let first = labels.len() as u16;
        for (entry, label) in (first..).zip(slice.absent) {
            labels.push(self.store_absent(entry, label)?);
        }
        let slice = ExemplarSlice {
            // Its own is given when it is committed.
            id: SliceId(0),
            image: slice.image,
            slice_index: slice.slice_index,
            slice_position: slice.slice_position,
            collection: slice.collection,
            bundle_id: self.bank.options.bundle_id.clone(),
            seg_sop_instance_uid: self.seg_sop_instance_uid.clone(),
            created: slice.created,
            labels,
            pack: self.pack,
            empty,
        };
        self.slices.push((slice, vector));
        Ok(())
    }

    /// Puts all of it into the bank and takes what it supersedes out, together: after a crash the bank has both or
    /// neither. What the same SEG taught of the series earlier goes too, so that a repeated ingestion leaves one copy.
    /// Answers the number of slices taken.
    ///
    /// # Errors
    /// [`Error::Full`](crate::Error::Full), or the database or the folder cannot be written; the bank is then as it
    /// was.
    pub fn commit(self, superseded: &[Superseded]) -> Result<usize> {
        let Self { bank, seg_sop_instance_uid, series_instance_uid, definitions, mut slices, .. } = self;
        let mut pack = self.writer;
        let count = slices.len();
        if count > 0 {
            pack.sync()?;
        }
        let mut writer = bank.writer.lock();
        let limit = bank.options.max_slices;
        let same = Superseded { seg_sop_instance_uid, series_instance_uid, label_key: None };
        let mut plan = plan_removal(&bank, superseded.iter().chain([&same]))?;
        let kept = bank.state.read().columns.len() - plan.removed.len();
        ensure!(kept + count <= limit, FullSnafu { limit });
        for (slice, _) in &mut slices {
            slice.id = SliceId(writer.next);
            writer.next += 1;
        }
        plan.added = slices;
        plan.definitions = definitions;
        if count > 0 {
            // Should the database fail half-way, a pack without records is harmless and records without one are not.
            pack.keep();
        }
        bank.change(&mut writer, plan)?;
        Ok(count)
    }

    /// Refuses a slice that does not fit the bank; answers its unit vector.
    fn check(&self, slice: &NewSlice) -> Result<Vec<f32>> {
        let options = &self.bank.options;
        let refuse = |reason: &'static str| RefuseSliceSnafu {
            sop_instance_uid: slice.image.sop_instance_uid.clone(),
            reason,
        };
        ensure!(
            slice.image.series_instance_uid == self.series_instance_uid,
            refuse("it is of another series")
        );
        ensure!(slice.vector.len() == options.embedding_dim, refuse("its vector has another length"));
        let absent = slice.absent.iter().map(|label| &label.label_key);
        let keys = slice.present.iter().map(|label| &label.label_key).chain(absent);
        let all = slice.present.len() + slice.absent.len();
        ensure!(all > 0, refuse("it has no label"));
        ensure!(all <= usize::from(u16::MAX), refuse("it has too many labels"));
        ensure!(keys.collect::<BTreeSet<_>>().len() == all, refuse("a label is named twice"));
        let empty = slice.absent.is_empty() || slice.empty.is_some();
        ensure!(empty, refuse("it has negatives and no memory of the empty mask"));
        let present = slice.present.iter().filter_map(|label| label.crop.as_ref());
        let absent = slice.absent.iter().filter_map(|label| label.crop.as_ref());
        let crops = present.chain(absent).map(|crop| &crop.memory);
        let mut memories = slice.present.iter().map(|label| &label.whole).chain(crops).chain(&slice.empty);
        let shape = options.shape();
        let good = memories.all(|memory| memory.has(shape));
        ensure!(good, refuse("a memory has another shape than the bundle's"));
        let Some(vector) = normalised(&slice.vector) else {
            return refuse("its vector has no direction").fail();
        };
        Ok(vector)
    }

    fn store_present(&mut self, entry: u16, label: NewLabel) -> Result<SliceLabel> {
        let NewLabel { label_key, area_fraction, .. } = label;
        let whole = Some(self.store(&label.whole)?);
        let (crop, close) = self.store_crop(label.crop)?;
        Ok(SliceLabel { entry, label_key, present: true, area_fraction, crop, whole, close })
    }

    fn store_absent(&mut self, entry: u16, label: NewAbsence) -> Result<SliceLabel> {
        let label_key = label.label_key;
        let (crop, close) = self.store_crop(label.crop)?;
        Ok(SliceLabel { entry, label_key, present: false, area_fraction: 0.0, crop, whole: None, close })
    }

    fn store_crop(&mut self, crop: Option<NewCrop>) -> Result<(Option<Rectangle>, Option<Location>)> {
        let Some(crop) = crop else { return Ok((None, None)) };
        Ok((Some(crop.rectangle), Some(self.store(&crop.memory)?)))
    }

    fn store(&mut self, memory: &Memory) -> Result<Location> {
        self.writer.append(memory, self.bank.options.precision)
    }
}

/// What has to go for the superseded: whole slices, or some of a slice's labels.
fn plan_removal<'a>(bank: &Bank, superseded: impl Iterator<Item = &'a Superseded>) -> Result<Plan> {
    let mut plan = Plan::default();
    let superseded: Vec<_> = superseded.collect();
    let touched = touched(&bank.state.read().columns, &superseded);
    for id in touched {
        let Some(mut slice) = bank.records.slice(id)? else { continue };
        let (seg, series) = (slice.seg_sop_instance_uid.clone(), slice.image.series_instance_uid.clone());
        let goes = |label: &SliceLabel| {
            superseded.iter().any(|earlier| {
                earlier.seg_sop_instance_uid == seg
                    && earlier.series_instance_uid == series
                    && earlier.label_key.as_ref().is_none_or(|key| *key == label.label_key)
            })
        };
        let before = slice.labels.len();
        slice.labels.retain(|label| !goes(label));
        if slice.labels.is_empty() {
            plan.removed.push(id);
        } else if slice.labels.len() < before {
            plan.relabelled.push(slice);
        }
    }
    Ok(plan)
}

/// Slices of the superseded SEGs, on their series.
fn touched(columns: &Columns, superseded: &[&Superseded]) -> Vec<u64> {
    let annotations: BTreeSet<_> = superseded
        .iter()
        .filter_map(|earlier| columns.annotation(&earlier.seg_sop_instance_uid, &earlier.series_instance_uid))
        .collect();
    columns.from(0).filter(|row| annotations.contains(&row.annotation())).map(|row| row.id).collect()
}
