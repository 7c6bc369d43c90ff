//! Holding object files and catalogue against one another: after a crash, to rebuild, and to check.

use crate::{
    CheckReport, Finding, InstanceUids, Progress, Recovery, Result, StoreError, StoredInstance,
    catalogue::SeriesRecord,
    draft::hex,
    durable,
    metadata::SeriesMetadata,
    part10::{self, Inspected, Object},
    shared::Shared,
    uid,
    writer::{Placed, Writer, stored},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
};

/// How many objects are read and catalogued together.
const GROUP: usize = 256;

/// A file among the objects.
struct ObjectFile {
    path: PathBuf,
    /// Where its name and folders say it belongs; `None` for a file of another name.
    uids: Option<InstanceUids>,
}

/// A series' object files and what the catalogue says of it.
struct SeriesFolder {
    files: Vec<ObjectFile>,
    study: String,
    series: String,
}

/// Mends what a crash left: adopts files that the catalogue does not know, drops entries whose file is not there.
pub(crate) fn reconcile(
    writer: &Writer,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Recovery, Vec<(PathBuf, String)>)> {
    let mut recovery = Recovery::default();
    let mut reasons = Vec::new();
    let objects = writer.shared.layout.objects();
    if !durable::entries(&objects)?.is_empty() {
        // What is found here will be acknowledged when it is sent again.
        durable::sync_all_under(&objects)?;
    }
    let mut unknown = Vec::new();
    for folder in series_folders(&writer.shared)? {
        let SeriesFolder { files, study, series } = folder?;
        let mut missing: BTreeSet<String> = writer
            .shared
            .catalogue
            .instances_of(&study, &series)
            .map(|entry| entry.map(|(sop, _)| sop))
            .collect::<Result<_>>()?;
        for file in files {
            let is_known = file.uids.as_ref().is_some_and(|uids| missing.remove(&uids.sop_instance_uid));
            if !is_known {
                unknown.push(file);
            }
        }
        recovery.dropped.extend(missing.iter().map(|sop| InstanceUids::new(&study, &series, sop)));
    }
    recovery.dropped.extend(entries_without_folder(&writer.shared)?);
    writer.drop_entries(&recovery.dropped)?;
    let total = unknown.len() as u64;
    let mut done = 0;
    for group in unknown.chunks(GROUP) {
        let (adopted, unreadable) = adopt(writer, group)?;
        recovery.adopted.extend(adopted);
        reasons.extend(unreadable);
        done += group.len() as u64;
        progress(Progress { done, total });
    }
    recovery.unreadable = reasons.iter().map(|(path, _)| path.clone()).collect();
    Ok((recovery, reasons))
}

type Adopted = (Vec<StoredInstance>, Vec<(PathBuf, String)>);

/// Catalogues object files that lie where they belong.
fn adopt(writer: &Writer, files: &[ObjectFile]) -> Result<Adopted> {
    let mut placed: Vec<Placed> = Vec::new();
    let mut unreadable = Vec::new();
    let mut sops = BTreeSet::new();
    for (file, inspected) in files.iter().zip(inspect_all(&writer.shared, files)) {
        let refused = match &inspected {
            Err(reason) => Some(reason.clone()),
            Ok(inspected) => {
                let sop = &inspected.uids.sop_instance_uid;
                let is_twin = writer.shared.catalogue.locate(sop)?.is_some() || !sops.insert(sop.clone());
                is_twin.then(|| StoreError::Conflict { sop_instance_uid: sop.clone() }.to_string())
            }
        };
        match (refused, inspected) {
            (None, Ok(inspected)) => placed.push(Placed { inspected, answers: Vec::new(), share: None }),
            (reason, _) => unreadable.push((file.path.clone(), reason.unwrap_or_default())),
        }
    }
    if !placed.is_empty() {
        let places = writer.keep_metadata(&placed)?;
        writer.enter(writer.entries(&placed, places)?)?;
    }
    Ok((placed.iter().map(|placed| stored(&placed.inspected)).collect(), unreadable))
}

/// Reads objects on all processors; a reason in text where one is not what its name says.
fn inspect_all(shared: &Shared, files: &[ObjectFile]) -> Vec<Result<Inspected, String>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let handles: Vec<_> = files
            .chunks(share)
            .map(|chunk| {
                scope.spawn(move || chunk.iter().map(|file| inspect(shared, file)).collect::<Vec<_>>())
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| match handle.join() {
                Ok(inspected) => inspected,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn inspect(shared: &Shared, file: &ObjectFile) -> Result<Inspected, String> {
    let Some(uids) = &file.uids else {
        return Err("its name is not that of an object".to_owned());
    };
    let mut opened = File::open(&file.path).map_err(|error| error.to_string())?;
    let inspected = part10::inspect(&mut opened, &shared.limits()).map_err(|failure| failure.to_string())?;
    if inspected.uids == *uids {
        Ok(inspected)
    } else {
        Err("it lies where another instance belongs".to_owned())
    }
}

/// Every series folder under the objects, by study and series.
fn series_folders(shared: &Shared) -> Result<impl Iterator<Item = Result<SeriesFolder>>> {
    let mut folders = Vec::new();
    for shard in durable::entries(&shared.layout.objects())? {
        for study in durable::entries(&shard)? {
            for series in durable::entries(&study)? {
                folders.push((study.clone(), series));
            }
        }
    }
    Ok(folders.into_iter().map(|(study, folder)| {
        let (study, series) = (name(&study), name(&folder));
        let files = durable::entries(&folder)?;
        let files =
            files.into_iter().map(|path| ObjectFile { uids: uids(&study, &series, &path), path }).collect();
        Ok(SeriesFolder { files, study, series })
    }))
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn uids(study: &str, series: &str, path: &Path) -> Option<InstanceUids> {
    let name = name(path);
    let sop = name.strip_suffix(".dcm")?;
    [study, series, sop].into_iter().all(uid::is_valid).then(|| InstanceUids::new(study, series, sop))
}

/// Entries of series whose folder is not there at all.
fn entries_without_folder(shared: &Shared) -> Result<Vec<InstanceUids>> {
    let mut found = Vec::new();
    for study in shared.catalogue.studies() {
        let study = study?;
        for entry in shared.catalogue.series_of(&study) {
            let (series, _) = entry?;
            if !shared.layout.series_folder(&study, &series).is_dir() {
                for entry in shared.catalogue.instances_of(&study, &series) {
                    found.push(InstanceUids::new(&study, &series, &entry?.0));
                }
            }
        }
    }
    Ok(found)
}

/// Holds every entry against its file and kept JSON, and every file against its entry.
pub(crate) fn check(shared: &Shared, deep: bool, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    report.statistics.patients = shared.catalogue.patients()?;
    let mut total = 0;
    for entry in all_series(shared) {
        total += entry?.2.instances;
    }
    let mut studies = BTreeSet::new();
    for entry in all_series(shared) {
        let (study, series, record) = entry?;
        check_series(shared, deep, &study, &series, &record, &mut report)?;
        studies.insert(study);
        progress(Progress { done: report.statistics.instances, total });
    }
    report.statistics.studies = studies.len() as u64;
    for study in studies {
        let recorded = shared.catalogue.study(&study)?.unwrap_or_default().series;
        let counted = shared.catalogue.series_of(&study).count() as u64;
        note_count(&mut report, format!("series of study {study}"), recorded, counted);
    }
    for folder in series_folders(shared)? {
        for file in folder?.files {
            let is_known = match &file.uids {
                Some(uids) => shared.catalogue.instance(uids)?.is_some(),
                None => false,
            };
            if !is_known {
                report.findings.push(Finding::UncataloguedFile(file.path));
            }
        }
    }
    Ok(report)
}

fn all_series(shared: &Shared) -> impl Iterator<Item = Result<(String, String, SeriesRecord)>> + '_ {
    shared.catalogue.studies().flat_map(|entry| {
        let (study, failed) = match entry {
            Ok(study) => (study, None),
            Err(error) => (String::new(), Some(Err(error))),
        };
        let series = shared.catalogue.series_of(&study);
        failed
            .into_iter()
            .chain(series.map(move |entry| entry.map(|(series, record)| (study.clone(), series, record))))
    })
}

fn check_series(
    shared: &Shared,
    deep: bool,
    study: &str,
    series: &str,
    record: &SeriesRecord,
    report: &mut CheckReport,
) -> Result<()> {
    let mut kept = SeriesMetadata::open(&shared.layout, study, series);
    let mut counted = 0;
    for entry in shared.catalogue.instances_of(study, series) {
        let (sop, record) = entry?;
        let uids = InstanceUids::new(study, series, &sop);
        counted += 1;
        report.statistics.bytes += record.size;
        if kept.line(record.metadata).is_none() {
            report.findings.push(Finding::StaleMetadata(uids.clone()));
        }
        let place = shared.catalogue.locate(&sop)?;
        note_count(
            report,
            format!("index entries of instance {sop}"),
            u64::from(place.as_ref() == Some(&uids)),
            1,
        );
        let path = shared.layout.object(&uids);
        match fs::metadata(&path) {
            Err(_) => report.findings.push(Finding::MissingFile(uids)),
            Ok(file) if file.len() != record.size => {
                report.findings.push(Finding::WrongSize { uids, expected: record.size, found: file.len() });
            }
            Ok(_) if deep => {
                let digest = File::open(&path).and_then(|mut file| file.digest(record.data_set_offset));
                if !matches!(digest, Ok(digest) if hex(&digest) == record.data_set_digest) {
                    report.findings.push(Finding::WrongDigest(uids));
                }
            }
            Ok(_) => {}
        }
    }
    report.statistics.series += 1;
    report.statistics.instances += counted;
    note_count(report, format!("instances of series {series}"), record.instances, counted);
    Ok(())
}

fn note_count(report: &mut CheckReport, of: String, recorded: u64, counted: u64) {
    if recorded != counted {
        report.findings.push(Finding::WrongCount { of, recorded, counted });
    }
}
