//! Files of finished jobs: previews and provenance, too large for the queue. Written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use engram_jobs::JobId;
use snafu::ResultExt;

use crate::Workflow;
use crate::error::{FileSnafu, Result};

/// Makes the folder of results below the data folder.
pub(crate) fn folder(data: &Path) -> Result<PathBuf> {
    let path = data.join("results");
    fs::create_dir_all(&path).context(FileSnafu { action: "make", path: &path })?;
    Ok(path)
}

impl Workflow {
    pub(crate) fn preview_path(&self, id: JobId) -> PathBuf {
        self.results.join(format!("{id}.dcm"))
    }

    pub(crate) fn provenance_path(&self, id: JobId) -> PathBuf {
        self.results.join(format!("{id}.provenance.json"))
    }

    /// Writes a result's file, durable when it returns.
    pub(crate) fn keep(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = path.with_extension("part");
        let mut file = File::create(&temporary).context(FileSnafu { action: "write", path })?;
        file.write_all(bytes).and_then(|()| file.sync_all()).context(FileSnafu { action: "write", path })?;
        fs::rename(&temporary, path).context(FileSnafu { action: "write", path })?;
        let folder = File::open(&self.results).context(FileSnafu { action: "sync", path: &self.results })?;
        folder.sync_all().context(FileSnafu { action: "sync", path: &self.results })
    }
}
