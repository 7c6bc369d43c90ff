//! From a series in the archive to volumes in memory.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use engram_archive::{Archive, InstanceEntry};
use engram_imaging::{Volume, VolumeLimits, assemble, read_part10};
use snafu::{OptionExt, ResultExt, ensure};

use crate::Workflow;
use crate::error::{
    ArchiveSnafu, FileSnafu, NoSuchSeriesSnafu, NotAVolumeSnafu, OpenObjectSnafu, Result, TooLargeSnafu,
};

/// What reading a series may cost.
#[derive(Debug, Clone, Default)]
pub struct ReadLimits {
    /// One volume, and its frames.
    pub volume: VolumeLimits,
    /// All object files of a series together, bytes; 0: no limit.
    pub max_series_bytes: u64,
}

/// A series in memory.
pub struct LoadedSeries {
    /// One volume, or one for each time point.
    pub volumes: Vec<Volume>,
    /// An object of the series without its pixels: what patient and study attributes are copied from.
    pub template: DefaultDicomObject,
}

impl LoadedSeries {
    /// SeriesInstanceUID.
    pub fn series_instance_uid(&self) -> &str {
        self.volumes.first().map(|volume| volume.series_instance_uid.as_str()).unwrap_or_default()
    }
}

/// Reads a stored object whole.
pub fn open_instance(entry: &InstanceEntry) -> Result<DefaultDicomObject> {
    open_file(&entry.path)
}

/// Reads a stored object up to its pixels.
pub fn open_header(entry: &InstanceEntry) -> Result<DefaultDicomObject> {
    let path = entry.path.as_path();
    let file = File::open(path).context(FileSnafu { action: "open", path })?;
    OpenFileOptions::new()
        .read_until(tags::PIXEL_DATA)
        .from_reader(BufReader::new(file))
        .map_err(Box::new)
        .context(OpenObjectSnafu { path })
}

fn open_file(path: &Path) -> Result<DefaultDicomObject> {
    let file = File::open(path).context(FileSnafu { action: "open", path })?;
    let length = file.metadata().context(FileSnafu { action: "open", path })?.len();
    read_part10(file, length).context(OpenObjectSnafu { path })
}

/// Reads the series and assembles its volumes.
pub fn load(archive: &Archive, study: &str, series: &str, limits: &ReadLimits) -> Result<LoadedSeries> {
    let entries = archive.instances(study, series).context(ArchiveSnafu)?;
    ensure!(!entries.is_empty(), NoSuchSeriesSnafu { study, series });
    let bytes: u64 = entries.iter().map(|entry| entry.size).sum();
    ensure!(
        limits.max_series_bytes == 0 || bytes <= limits.max_series_bytes,
        TooLargeSnafu { series, bytes }
    );
    let objects = entries.iter().map(open_instance).collect::<Result<Vec<_>>>()?;
    from_objects(objects, series, limits)
}

/// Assembles objects that are at hand already.
pub fn from_objects(
    objects: Vec<DefaultDicomObject>,
    series: &str,
    limits: &ReadLimits,
) -> Result<LoadedSeries> {
    let volumes = assemble(&objects, &limits.volume).context(NotAVolumeSnafu { series })?;
    let mut template = objects.into_iter().next().context(NoSuchSeriesSnafu { study: "", series })?;
    for tag in PIXELS {
        template.remove_element(tag);
    }
    Ok(LoadedSeries { volumes, template })
}

const PIXELS: [dicom_core::Tag; 3] = [
    dicom_dictionary_std::tags::PIXEL_DATA,
    dicom_dictionary_std::tags::FLOAT_PIXEL_DATA,
    dicom_dictionary_std::tags::DOUBLE_FLOAT_PIXEL_DATA,
];

impl Workflow {
    /// Reads a stored series.
    pub fn load_series(&self, study: &str, series: &str) -> Result<LoadedSeries> {
        load(&self.archive, study, series, &self.options.limits)
    }

    /// Reads a series from files that are not stored.
    pub fn load_files(&self, files: &[PathBuf]) -> Result<LoadedSeries> {
        let objects = files.iter().map(|path| open_file(path)).collect::<Result<Vec<_>>>()?;
        from_objects(objects, "of the files given", &self.options.limits)
    }
}
