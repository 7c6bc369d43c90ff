//! Which picture stands for a study or a series. Plain blocking calls.

use engram_archive::{Archive, InstanceEntry, SeriesEntry};
use serde_json::Value;
use snafu::ResultExt;

use crate::error::{ArchiveSnafu, NotFoundSnafu, Result};
use crate::place::Place;
use crate::wado::object;

/// A frame that stands for what it is of.
pub struct Representative {
    pub entry: InstanceEntry,
    /// Counted from 1.
    pub frame: usize,
}

/// The frame that stands for a place: of a study its first image series, of a series its middle instance, of an
/// instance its middle frame. No more than `most` instances of a series are looked at for pixels.
pub fn representative(archive: &Archive, place: &Place, most: usize) -> Result<Representative> {
    let entry = match (&place.series, &place.instance) {
        (Some(_), Some(_)) => Some(object::entry(archive, place)?),
        _ => of_instances(archive, place, most)?,
    };
    match entry {
        Some(entry) => Ok(Representative { frame: (entry.frames.max(1) as usize).div_ceil(2), entry }),
        None => NotFoundSnafu { what: format!("an instance with pixels in {place}") }.fail(),
    }
}

fn of_instances(archive: &Archive, place: &Place, most: usize) -> Result<Option<InstanceEntry>> {
    let series = match &place.series {
        Some(series) => vec![series.clone()],
        None => in_order(archive.series(&place.study).context(ArchiveSnafu)?),
    };
    let mut is_there = false;
    for series in series {
        let entries = archive.instances(&place.study, &series).context(ArchiveSnafu)?;
        is_there |= !entries.is_empty();
        if let Some(entry) = middle_with_pixels(archive, entries, most)? {
            return Ok(Some(entry));
        }
    }
    match is_there {
        true => Ok(None),
        false => NotFoundSnafu { what: place.to_string() }.fail(),
    }
}

/// SeriesInstanceUIDs by SeriesNumber, then UID; segmentations, which show what was found rather than the patient,
/// after everything else.
fn in_order(mut series: Vec<SeriesEntry>) -> Vec<String> {
    series.sort_by_cached_key(|series| {
        (series.modality == "SEG", series_number(series), series.series_instance_uid.clone())
    });
    series.into_iter().map(|series| series.series_instance_uid).collect()
}

fn series_number(series: &SeriesEntry) -> i64 {
    let number = series.attributes.get("00200011").and_then(|element| element.get("Value")?.get(0));
    number.and_then(Value::as_i64).unwrap_or(i64::MAX)
}

/// The instance with pixels nearest to the middle; the later one of two.
fn middle_with_pixels(
    archive: &Archive,
    entries: Vec<InstanceEntry>,
    most: usize,
) -> Result<Option<InstanceEntry>> {
    let middle = entries.len() / 2;
    let mut entries: Vec<(usize, InstanceEntry)> = entries.into_iter().enumerate().collect();
    entries.sort_by_key(|(index, _)| (index.abs_diff(middle), *index < middle));
    for (_, entry) in entries.into_iter().take(most) {
        if object::has_pixels(archive, &entry)? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}
