//! Annotated cases on disk: `CASE/images/*.dcm` and `CASE/seg.dcm`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// One annotated series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its folder, relative to the set: `03`, or `005/frame01`.
    pub name: String,
    /// The first part of that: cases of one patient share it.
    pub patient: String,
    /// Its folder.
    pub folder: PathBuf,
}

impl Case {
    /// The image files, sorted.
    pub fn images(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.folder.join("images");
        let unreadable = |error| Failure::say(format!("could not read {}: {error}", folder.display()));
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.retain(|file| file.is_file());
        files.sort();
        Ok(files)
    }

    /// The DICOM-SEG.
    pub fn segmentation(&self) -> PathBuf {
        self.folder.join("seg.dcm")
    }
}

/// At most so many of several, evenly chosen, the first among them.
pub fn evenly<T: Clone>(all: &[T], limit: Option<usize>) -> Vec<T> {
    let count = limit.unwrap_or(all.len()).clamp(1, all.len().max(1)).min(all.len());
    (0..count).map(|index| all[index * all.len() / count].clone()).collect()
}

/// Every case at or below `root`, sorted by name.
pub fn find(root: &Path) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    let mut pending = vec![(root.to_path_buf(), String::new())];
    while let Some((folder, name)) = pending.pop() {
        if folder.join("seg.dcm").is_file() && folder.join("images").is_dir() {
            let patient = name.split('/').next().unwrap_or_default().to_owned();
            cases.push(Case { name, patient, folder });
            continue;
        }
        let unreadable = |error| Failure::say(format!("could not read {}: {error}", folder.display()));
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                let part = path.file_name().unwrap_or_default().to_string_lossy();
                let name = if name.is_empty() { part.into_owned() } else { format!("{name}/{part}") };
                pending.push((path, name));
            }
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::evenly;

    #[test]
    fn some_of_many_are_spread_over_them() {
        assert_eq!(evenly(&[0, 1, 2, 3, 4, 5, 6], Some(3)), [0, 2, 4]);
        assert_eq!(evenly(&[0, 1], Some(9)), [0, 1]);
        assert_eq!(evenly(&[0, 1], Some(0)), [0]);
        assert_eq!(evenly(&[0, 1], None), [0, 1]);
        assert!(evenly::<u8>(&[], None).is_empty());
    }
}
