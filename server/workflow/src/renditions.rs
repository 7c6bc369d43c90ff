//! A stored SEG in the forms that a PACS without SEG, or without LABELMAP, can take.

use std::collections::{BTreeMap, HashMap};

use dicom_object::DefaultDicomObject;
use engram_archive::InstanceEntry;
use engram_report::{
    MeasuredSegment, ReferencedSegmentation, Rendition, SegmentedSeries, measured_segments,
    measurement_report, secondary_capture,
};
use engram_seg::{Description, Limits, ReferencedSlice, ResultUids, SegmentationType};
use snafu::{OptionExt, ResultExt};

use crate::error::{
    ArchiveSnafu, MakeBinarySnafu, NoSuchSeriesSnafu, RenditionSnafu, Result, SourceNotStoredSnafu,
};
use crate::series::{ReadLimits, open_header, open_instance};
use crate::{Workflow, annotations};

/// Which forms to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// BINARY instead of a LABELMAP: for who takes no Label Map Segmentation. The report then refers to it. A SEG that is
    /// none stays the one to send, and no form of it is made.
    pub binary: bool,
    /// A Measurement Report with a volume for each segment.
    pub report: bool,
    /// A picture of each slice of the source series.
    pub secondary_capture: bool,
}

/// The forms of one SEG, each made when it is asked for: the BINARY SEG, the report, then the pictures in the order of the
/// slices. One picture and one image of the source are in memory at a time. After an error it goes on with the next.
pub struct Renditions {
    segmentation: InstanceEntry,
    limits: ReadLimits,
    series: Option<LoadedSegmentation>,
    referenced: ReferencedSegmentation,
    steps: std::vec::IntoIter<Step>,
}

/// A SEG on its series, measured.
struct LoadedSegmentation {
    series: SegmentedSeries,
    measured: Vec<MeasuredSegment>,
    images: HashMap<String, InstanceEntry>,
    /// The image that was opened last: the next slice is often a frame of it.
    open: Option<(String, DefaultDicomObject)>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Binary,
    Report,
    Slice(usize),
}

impl Workflow {
    /// The wanted forms of a stored SEG, of whatever origin, whose source series is stored whole. The same SEG on the same
    /// series gives the same UIDs and, within a version of Engram, the same bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchSegmentation`](crate::Error::NoSuchSegmentation);
    /// [`Error::ReadSegmentation`](crate::Error::ReadSegmentation);
    /// [`Error::SourceNotStored`](crate::Error::SourceNotStored); [`Error::Rendition`](crate::Error::Rendition).
    pub fn renditions(&self, segmentation: &str, wanted: Wanted) -> Result<Renditions> {
        let entry = self.segmentation_entry(segmentation)?;
        let description = annotations::read_description(&entry)?;
        let becomes_binary = wanted.binary && description.segmentation_type == SegmentationType::LabelMap;
        let series = match wanted.report || wanted.secondary_capture {
            true => Some(self.load_segmentation(&entry, &description)?),
            false => None,
        };
        let slices = series.as_ref().map_or(0, |loaded| loaded.series.slices().len());
        let mut steps = Vec::new();
        steps.extend(becomes_binary.then_some(Step::Binary));
        steps.extend(wanted.report.then_some(Step::Report));
        steps.extend((0..slices).filter(|_| wanted.secondary_capture).map(Step::Slice));
        let referenced = match becomes_binary {
            true => ReferencedSegmentation::Binary,
            false => ReferencedSegmentation::Measured,
        };
        let limits = self.options.limits.clone();
        Ok(Renditions { segmentation: entry, limits, series, referenced, steps: steps.into_iter() })
    }

    /// A stored SEG as BINARY: itself where it is that, else made of the LABELMAP that it is.
    ///
    /// # Errors
    /// As [`Workflow::renditions`]; [`Error::MakeBinary`](crate::Error::MakeBinary).
    pub fn binary(&self, segmentation: &str) -> Result<Vec<u8>> {
        let entry = self.segmentation_entry(segmentation)?;
        let description = annotations::read_description(&entry)?;
        if description.segmentation_type == SegmentationType::Binary {
            let path = entry.path.as_path();
            return std::fs::read(path).context(crate::error::FileSnafu { action: "read", path });
        }
        Ok(binary(&entry, &self.options.limits)?.part10)
    }

    fn load_segmentation(
        &self,
        entry: &InstanceEntry,
        description: &Description,
    ) -> Result<LoadedSegmentation> {
        let segmentation = description.sop_instance_uid.as_str();
        let (study, series) = self.source_series(description)?;
        let mut entries = self.archive.instances(&study, &series).context(ArchiveSnafu)?;
        entries.sort_by_key(|entry| entry.instance_number);
        let (mut slices, mut source) = (Vec::new(), None);
        for entry in &entries {
            let header = open_header(entry)?;
            slices.extend(ReferencedSlice::of_instance(&header).unwrap_or_default());
            source.get_or_insert(header);
        }
        let source = source.context(NoSuchSeriesSnafu { study, series })?.into_inner();
        let limits = seg_limits(&self.options.limits);
        let series = SegmentedSeries::new(open_instance(entry)?, source, slices, limits)
            .context(RenditionSnafu { segmentation })?;
        let measured = measured_segments(&series).context(RenditionSnafu { segmentation })?;
        let images = entries.into_iter().map(|entry| (entry.uids.sop_instance_uid.clone(), entry));
        Ok(LoadedSegmentation { series, measured, images: images.collect(), open: None })
    }

    /// Study and series of the images that a SEG refers to: those that hold most of them.
    fn source_series(&self, description: &Description) -> Result<(String, String)> {
        let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
        for uid in description.referenced_instances() {
            let Some(entry) = self.archive.find_instance(uid).context(ArchiveSnafu)? else { continue };
            *found.entry((entry.uids.study_instance_uid, entry.uids.series_instance_uid)).or_default() += 1;
        }
        let most = found.into_iter().max_by_key(|(_, images)| *images);
        let segmentation = description.sop_instance_uid.as_str();
        most.map(|(uids, _)| uids).context(SourceNotStoredSnafu { segmentation })
    }
}

fn seg_limits(limits: &ReadLimits) -> Limits {
    Limits { max_bytes: limits.volume.max_bytes }
}

fn binary(entry: &InstanceEntry, limits: &ReadLimits) -> Result<Rendition> {
    let segmentation = entry.uids.sop_instance_uid.as_str();
    let object = open_instance(entry)?;
    let make = || {
        let uids = ResultUids::of_binary(&engram_seg::describe(&object)?);
        let made = engram_seg::to_binary(object, &uids, seg_limits(limits))?;
        let part10 = engram_seg::to_part10(&made)?;
        let sop_class_uid = dicom_dictionary_std::uids::SEGMENTATION_STORAGE.to_owned();
        Ok(Rendition { sop_class_uid, sop_instance_uid: uids.sop_instance_uid, part10 })
    };
    make().context(MakeBinarySnafu { segmentation })
}

impl Renditions {
    fn make(&mut self, step: Step) -> Result<Rendition> {
        let segmentation = self.segmentation.uids.sop_instance_uid.as_str();
        match (step, &mut self.series) {
            (Step::Binary, _) => binary(&self.segmentation, &self.limits),
            (Step::Report, Some(loaded)) => {
                measurement_report(&loaded.series, self.referenced).context(RenditionSnafu { segmentation })
            }
            (Step::Slice(slice), Some(loaded)) => loaded.picture(segmentation, slice, &self.limits),
            (Step::Report | Step::Slice(_), None) => SourceNotStoredSnafu { segmentation }.fail(),
        }
    }
}

impl LoadedSegmentation {
    fn picture(&mut self, segmentation: &str, slice: usize, limits: &ReadLimits) -> Result<Rendition> {
        let image = self.series.slices().get(slice).map(|slice| slice.sop_instance_uid.clone());
        let image = image.context(SourceNotStoredSnafu { segmentation })?;
        if self.open.as_ref().is_none_or(|(open, _)| *open != image) {
            let entry = self.images.get(&image).context(SourceNotStoredSnafu { segmentation })?;
            self.open = Some((image, open_instance(entry)?));
        }
        let (_, object) = self.open.as_ref().context(SourceNotStoredSnafu { segmentation })?;
        secondary_capture(&self.series, &self.measured, slice, object, limits.volume.decode)
            .context(RenditionSnafu { segmentation })
    }
}

impl Iterator for Renditions {
    type Item = Result<Rendition>;

    fn next(&mut self) -> Option<Result<Rendition>> {
        let step = self.steps.next()?;
        Some(self.make(step))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.steps.size_hint()
    }
}

impl ExactSizeIterator for Renditions {}
