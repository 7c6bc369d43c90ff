//! Folders are synced while the catalogue is.

use crate::{Error, Result, durable::OpenFolders, error::FileSnafu};
use crossbeam_channel::{Receiver, Sender, bounded};
use snafu::ResultExt;
use std::thread;

/// A thread that syncs folders. It stays: making one for each commit is a part of the commit that shows.
pub(super) struct FolderSync {
    asked: Sender<Request>,
}

struct Request {
    folders: OpenFolders,
    answer: Sender<Result<()>>,
}

/// A sync under way.
pub(super) struct Syncing {
    answer: Receiver<Result<()>>,
}

impl FolderSync {
    /// Starts the thread, which ends when this goes.
    pub(super) fn start() -> Result<Self> {
        let (asked, requests) = bounded::<Request>(1);
        let run = move || {
            for Request { folders, answer } in requests {
                let _ = answer.send(folders.sync());
            }
        };
        let thread = thread::Builder::new().name("archive-folders".to_owned()).spawn(run);
        thread.context(FileSnafu { action: "start the thread", path: "archive-folders" })?;
        Ok(FolderSync { asked })
    }

    /// Begins to sync folders.
    pub(super) fn sync(&self, folders: OpenFolders) -> Syncing {
        let (answer, syncing) = bounded(1);
        // Where nobody receives it, the answer's sender goes, and who waits hears that.
        let _ = self.asked.send(Request { folders, answer });
        Syncing { answer: syncing }
    }
}

impl Syncing {
    /// Blocks until the folders are synced.
    ///
    /// # Errors
    /// As the disk does; [`Error::Closed`] where the thread is gone.
    pub(super) fn wait(self) -> Result<()> {
        self.answer.recv().unwrap_or(Err(Error::Closed))
    }
}
