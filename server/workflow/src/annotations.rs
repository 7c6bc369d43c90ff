//! Which segmentations annotate which series: an index in memory, made from the archive on opening.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dicom_dictionary_std::{tags, uids};
use engram_archive::{Archive, InstanceEntry, Level, MatchKey, Query};
use engram_seg::{AlgorithmType, Description, Frame, describe};
use snafu::{OptionExt, ResultExt};

use crate::error::{ArchiveSnafu, NoSuchSegmentationSnafu, ReadSegmentationSnafu, Result};
use crate::series::open_header;

/// What matters of a SEG before its voxels do.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// SOPInstanceUID of the SEG.
    pub segmentation: String,
    /// SeriesInstanceUID of the SEG.
    pub own_series: String,
    /// StudyInstanceUID of the SEG.
    pub study: String,
    /// Content date and time, as written; orders annotations of one series.
    pub made: String,
    /// Its labels by key, and how each was made. A label of several segments counts as its most manual one.
    pub labels: BTreeMap<String, AlgorithmType>,
    /// The series it refers to: (study, series) and the instances named.
    pub targets: BTreeMap<(String, String), BTreeSet<String>>,
    /// By target series, labels that it does not speak of there: all their frames name images of other series.
    pub elsewhere: BTreeMap<String, BTreeSet<String>>,
}

/// Whether an object is a segmentation, by SOP class.
pub fn is_segmentation(sop_class_uid: &str) -> bool {
    SEGMENTATION_CLASSES.contains(&sop_class_uid)
}

const SEGMENTATION_CLASSES: [&str; 2] = [uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE];

/// Reads what matters of a stored SEG.
pub fn read(entry: &InstanceEntry) -> Result<Annotation> {
    Ok(from_description(&read_description(entry)?))
}

/// Reads all of a stored SEG but its voxels.
pub fn read_description(entry: &InstanceEntry) -> Result<Description> {
    let segmentation = entry.uids.sop_instance_uid.as_str();
    let object = open_header(entry)?;
    describe(&object).context(ReadSegmentationSnafu { segmentation })
}

fn from_description(description: &Description) -> Annotation {
    let mut labels = BTreeMap::new();
    for segment in description.foreground() {
        let made = labels.entry(segment.concept.key()).or_insert(segment.algorithm_type);
        if rank(segment.algorithm_type) < rank(*made) {
            *made = segment.algorithm_type;
        }
    }
    let mut targets: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for series in &description.referenced_series {
        let key = (series.study_instance_uid.clone(), series.series_instance_uid.clone());
        let instances = series.instances.iter().map(|instance| instance.sop_instance_uid.clone());
        targets.entry(key).or_default().extend(instances);
    }
    let elsewhere = targets.iter().map(|((_, series), instances)| {
        let labels = labels.keys().filter(|label| is_elsewhere(description, label, instances));
        (series.clone(), labels.cloned().collect())
    });
    Annotation {
        elsewhere: elsewhere.filter(|(_, labels): &(_, BTreeSet<_>)| !labels.is_empty()).collect(),
        segmentation: description.sop_instance_uid.clone(),
        own_series: description.series_instance_uid.clone(),
        study: description.study_instance_uid.clone(),
        made: description.content_date_time.clone().unwrap_or_default(),
        labels,
        targets,
    }
}

/// Whether a label has frames, and each of them names images of which none is among these.
fn is_elsewhere(description: &Description, label: &str, instances: &BTreeSet<String>) -> bool {
    let segments: BTreeSet<u16> = description
        .foreground()
        .filter(|segment| segment.concept.key() == *label)
        .map(|segment| segment.number)
        .collect();
    let speaks_of = |frame: &&Frame| frame.segment_number.is_none_or(|number| segments.contains(&number));
    let mut frames = description.frames.iter().filter(speaks_of).peekable();
    let lies_elsewhere = |frame: &Frame| {
        !frame.sources.is_empty()
            && frame.sources.iter().all(|source| !instances.contains(&source.sop_instance_uid))
    };
    frames.peek().is_some() && frames.all(lies_elsewhere)
}

fn rank(made: AlgorithmType) -> u8 {
    match made {
        AlgorithmType::Manual => 0,
        AlgorithmType::Semiautomatic => 1,
        AlgorithmType::Automatic => 2,
    }
}

/// Every annotation in the archive. A SEG that cannot be read is logged and left out: it stays stored.
pub fn scan(archive: &Archive) -> Result<Vec<Annotation>> {
    let mut found = Vec::new();
    let by_class = MatchKey { path: vec![tags::SOP_CLASS_UID], value: SEGMENTATION_CLASSES.join(",") };
    let query = Query { matches: vec![by_class], ..Query::at(Level::Instance) };
    for item in archive.search(&query).context(ArchiveSnafu)?.items {
        let uid = item.text(tags::SOP_INSTANCE_UID).unwrap_or_default();
        let entry = archive.find_instance(&uid).context(ArchiveSnafu)?;
        let annotation = entry
            .context(NoSuchSegmentationSnafu { segmentation: uid.as_str() })
            .and_then(|entry| read(&entry));
        match annotation {
            Ok(annotation) => found.push(annotation),
            Err(error) => {
                tracing::warn!(segmentation = uid, error = %crate::report(&error), "left out of the bank");
            }
        }
    }
    Ok(found)
}

/// Annotations by SEG, findable by the series they refer to.
#[derive(Debug, Default)]
pub struct Index {
    by_segmentation: HashMap<String, Annotation>,
    by_target: HashMap<String, BTreeSet<String>>,
    /// Instances referred to and not there yet, by target series and SEG.
    missing: HashMap<(String, String), BTreeSet<String>>,
}

impl Index {
    /// Adds an annotation; `present` says which instances of a target series are stored.
    pub fn add(&mut self, annotation: Annotation, present: impl Fn(&str, &str, &str) -> bool) {
        self.remove(&annotation.segmentation);
        let segmentation = annotation.segmentation.clone();
        for ((study, series), instances) in &annotation.targets {
            self.by_target.entry(series.clone()).or_default().insert(segmentation.clone());
            let missing: BTreeSet<String> =
                instances.iter().filter(|sop| !present(study, series, sop)).cloned().collect();
            if !missing.is_empty() {
                self.missing.insert((series.clone(), segmentation.clone()), missing);
            }
        }
        self.by_segmentation.insert(segmentation, annotation);
    }

    /// Forgets a SEG; what it was, if it was known.
    pub fn remove(&mut self, segmentation: &str) -> Option<Annotation> {
        let annotation = self.by_segmentation.remove(segmentation)?;
        for (_, series) in annotation.targets.keys() {
            if let Some(segmentations) = self.by_target.get_mut(series) {
                segmentations.remove(segmentation);
            }
            self.missing.remove(&(series.clone(), segmentation.to_owned()));
        }
        Some(annotation)
    }

    /// An image arrived: true when it was the last that some SEG of its series waited for.
    pub fn arrived(&mut self, series: &str, sop_instance: &str) -> bool {
        let Some(segmentations) = self.by_target.get(series) else { return false };
        let mut completed = false;
        for segmentation in segmentations {
            let key = (series.to_owned(), segmentation.clone());
            if let Some(missing) = self.missing.get_mut(&key)
                && missing.remove(sop_instance)
                && missing.is_empty()
            {
                self.missing.remove(&key);
                completed = true;
            }
        }
        completed
    }

    /// An image was deleted: whoever refers to it waits for it again.
    pub fn departed(&mut self, series: &str, sop_instance: &str) {
        let Some(segmentations) = self.by_target.get(series) else { return };
        for segmentation in segmentations {
            let refers = self.by_segmentation.get(segmentation).is_some_and(|annotation| {
                annotation.targets.iter().any(|((_, s), sops)| s == series && sops.contains(sop_instance))
            });
            if refers {
                let key = (series.to_owned(), segmentation.clone());
                self.missing.entry(key).or_default().insert(sop_instance.to_owned());
            }
        }
    }

    /// Annotations of a series whose every image is there, earliest first.
    pub fn complete(&self, series: &str) -> Vec<Annotation> {
        let segmentations = self.by_target.get(series).into_iter().flatten();
        let mut complete: Vec<Annotation> = segmentations
            .filter(|segmentation| !self.missing.contains_key(&(series.to_owned(), (*segmentation).clone())))
            .filter_map(|segmentation| self.by_segmentation.get(segmentation).cloned())
            .collect();
        complete.sort_by(|a, b| (&a.made, &a.segmentation).cmp(&(&b.made, &b.segmentation)));
        complete
    }

    /// Whether a SEG is known, and what it says.
    pub fn get(&self, segmentation: &str) -> Option<&Annotation> {
        self.by_segmentation.get(segmentation)
    }

    /// Every (study, series) that is annotated.
    pub fn targets(&self) -> BTreeSet<(String, String)> {
        self.by_segmentation.values().flat_map(|annotation| annotation.targets.keys().cloned()).collect()
    }

    /// SEGs of a series that wait for images.
    pub fn waiting_for(&self, series: &str) -> Vec<String> {
        let waiting = self.missing.keys().filter(|(s, _)| s == series);
        waiting.map(|(_, segmentation)| segmentation.clone()).collect()
    }

    /// How many SEGs wait for images.
    pub fn waiting(&self) -> usize {
        self.missing.keys().map(|(_, segmentation)| segmentation).collect::<BTreeSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(segmentation: &str, made: &str, images: &[&str]) -> Annotation {
        Annotation {
            segmentation: segmentation.into(),
            own_series: "9".into(),
            study: "1".into(),
            made: made.into(),
            labels: [("SCT:1".to_owned(), AlgorithmType::Manual)].into(),
            targets: [(("1".into(), "2".into()), images.iter().map(|s| (*s).to_owned()).collect())].into(),
            elsewhere: BTreeMap::new(),
        }
    }

    fn uids(annotations: &[Annotation]) -> Vec<&str> {
        annotations.iter().map(|a| a.segmentation.as_str()).collect()
    }

    #[test]
    fn either_order_of_arrival_completes() {
        let mut index = Index::default();
        index.add(annotation("s", "", &["a", "b"]), |_, _, sop| sop == "a");
        assert!(index.complete("2").is_empty());
        assert_eq!(index.waiting(), 1);
        assert!(!index.arrived("2", "other"));
        assert!(index.arrived("2", "b"));
        assert_eq!(uids(&index.complete("2")), ["s"]);

        index.add(annotation("t", "", &["a"]), |_, _, _| true);
        assert_eq!(uids(&index.complete("2")), ["s", "t"]);
    }

    #[test]
    fn later_annotations_come_last_and_deleted_images_are_waited_for_again() {
        let mut index = Index::default();
        index.add(annotation("late", "20240101", &["a"]), |_, _, _| true);
        index.add(annotation("early", "20230101", &["b"]), |_, _, _| true);
        assert_eq!(uids(&index.complete("2")), ["early", "late"]);
        index.departed("2", "b");
        assert_eq!(uids(&index.complete("2")), ["late"]);
        index.remove("late");
        assert!(index.complete("2").is_empty());
    }
}
