//! The one thread that changes the archive: commits, deletions and mending, in the order they come.

mod commit;
mod folders;
mod remove;

pub(crate) use commit::{Placed, stored};
pub(crate) use remove::{Removal, Scope};

use crate::{
    Deleted, InstanceUids, Journal, Result, draft::Draft, durable, metadata, part10, prepare::Prepared,
    shared::Shared,
};
use crossbeam_channel::Receiver;
use folders::FolderSync;
use snafu::ResultExt;
use std::{
    cell::Cell,
    collections::BTreeSet,
    fs::File,
    path::PathBuf,
    sync::{Arc, mpsc},
};

/// The most instances of one commit.
const MAX_GROUP: usize = 256;

/// What the writer is asked for.
pub(crate) enum Command {
    /// Commit a prepared instance.
    Store(Box<Prepared>),
    /// Delete what is under the UIDs.
    Delete(Scope, mpsc::SyncSender<Result<Deleted>>),
    /// Make an instance's kept JSON anew: a reader found it damaged.
    Mend(InstanceUids),
    /// End, once everything asked before is done.
    Close,
}

/// Changes the archive. There is one, on one thread.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub removals: Journal<Removal>,
    folders: FolderSync,
    /// Folders of commits that came to nothing; the next one syncs them.
    unsynced: Cell<BTreeSet<PathBuf>>,
}

impl Writer {
    /// Opens the removals journal and finishes the deletions that a crash interrupted.
    pub(crate) fn open(shared: Arc<Shared>) -> Result<Self> {
        let mut pending = Vec::new();
        let path = shared.layout.removals();
        let removals =
            Journal::open(&path, |removal| pending.push(removal)).context(crate::error::RemovalsSnafu)?;
        let writer = Writer { shared, removals, folders: FolderSync::start()?, unsynced: Cell::default() };
        writer.finish_removals(pending)?;
        Ok(writer)
    }

    /// Serves until it is told to close.
    pub(crate) fn run(&self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Store(prepared) => {
                        group.push(*prepared);
                        if group.len() < MAX_GROUP {
                            next = commands.try_recv().ok();
                        }
                    }
                    Command::Close => {
                        self.commit(group);
                        return;
                    }
                    Command::Delete(scope, answer) => {
                        self.commit(std::mem::take(&mut group));
                        let _ = answer.send(self.delete(&scope));
                    }
                    Command::Mend(uids) => {
                        if let Err(error) = self.mend(&uids) {
                            let error = snafu::Report::from_error(error);
                            tracing::warn!(sop_instance_uid = uids.sop_instance_uid, %error, "could not mend metadata");
                        }
                    }
                }
            }
            self.commit(group);
        }
    }

    /// Writes an instance's JSON anew from its object file.
    fn mend(&self, uids: &InstanceUids) -> Result<()> {
        let Some(mut record) = self.shared.catalogue.instance(uids)? else { return Ok(()) };
        let (study, series) = (&uids.study_instance_uid, &uids.series_instance_uid);
        let layout = &self.shared.layout;
        if metadata::SeriesMetadata::open(layout, study, series).line(record.metadata).is_some() {
            return Ok(());
        }
        let inspected = inspect_object(&self.shared, uids)?;
        let places = metadata::append(layout, study, series, &[&inspected.json.text])?;
        if let Some(place) = places.first() {
            record.metadata = *place;
            let mut draft = Draft::new(&self.shared.catalogue);
            draft.replace(uids, record);
            draft.apply()?;
        }
        Ok(())
    }

    /// Notes on the disk that the archive was closed in order, where it was.
    pub(crate) fn close(&self, token: &str) {
        if self.shared.is_broken() {
            return;
        }
        let marker = self.shared.layout.clean_marker();
        let closed = self.shared.catalogue.sync().and_then(|()| {
            std::fs::write(&marker, token)
                .context(crate::error::FileSnafu { action: "write", path: &marker })?;
            durable::sync_folder(self.shared.layout.root())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "could not close the archive in order; opening it will look through the objects");
        }
    }
}

/// Reads a stored object as if it had just arrived.
pub(crate) fn inspect_object(shared: &Shared, uids: &InstanceUids) -> Result<part10::Inspected> {
    let path = shared.layout.object(uids);
    let mut file = File::open(&path).context(crate::error::FileSnafu { action: "open", path: &path })?;
    part10::inspect(&mut file, &shared.limits())
        .map_err(|failure| failure.error)
        .context(crate::error::ObjectSnafu { path })
}
