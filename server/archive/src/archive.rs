//! The archive's face.

use crate::{
    ArchiveOptions, BulkData, BulkDataUri, CheckReport, Deleted, Error, Incoming, InstanceEntry,
    InstanceUids, MetadataChunks, MetadataObjects, Progress, Query, RebuildReport, Recovery, Result,
    SearchResult, SeriesEntry, Statistics, StoreFailure, StoreOutcome, StoreRequirements, StoreTicket,
    StudyEntry,
    catalogue::Catalogue,
    durable,
    error::{FileSnafu, ObjectSnafu},
    layout::Layout,
    part10::{self, ElementPath},
    prepare::{self, Received},
    read, recover, search,
    shared::Shared,
    uid,
    writer::{Command, Scope, Writer},
};
use crossbeam_channel::{Sender, bounded};
use snafu::ResultExt;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

/// How many objects are verified and synced at once. Syncs that run together share the file system's own commits.
const PREPARERS: usize = 4;

/// The name of the catalogue's mark that the clean marker must match.
const TOKEN: &str = "opened";

/// Studies, series and instances. Cheap to clone; every clone is the same archive. When the last one goes,
/// what was submitted is committed and the archive is closed in order.
#[derive(Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    recovery: Recovery,
    received: Option<Sender<Received>>,
    commands: Option<Sender<Command>>,
    preparers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Archive {
    /// Opens the archive in folder `root` with its tree in `db`, mends what a crash left
    /// ([`Archive::recovery`] tells what) and starts its threads.
    ///
    /// # Errors
    /// [`Error::File`] where the folder cannot be made or read, [`Error::Catalogue`] and
    /// [`Error::Removals`] where state does not read.
    pub fn open(root: &Path, db: &sled::Db, options: ArchiveOptions) -> Result<Archive> {
        let (shared, is_clean) = prepare_root(root, db, options)?;
        let writer = Writer::open(shared)?;
        let recovery = if is_clean {
            Recovery { clean: true, ..Recovery::default() }
        } else {
            recover::reconcile(&writer, &mut |_| {})?.0
        };
        Archive::start(writer, recovery)
    }

    /// Makes catalogue and metadata anew from the object files, then opens the archive.
    pub fn rebuild(
        root: &Path,
        db: &sled::Db,
        options: ArchiveOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Archive, RebuildReport)> {
        let (shared, _) = prepare_root(root, db, options)?;
        throw_away(&shared.layout, &shared.catalogue)?;
        let token = new_token();
        shared.catalogue.set_mark(TOKEN, &token)?;
        let writer = Writer::open(shared)?;
        let (recovery, unreadable) = recover::reconcile(&writer, progress)?;
        let archive = Archive::start(writer, recovery)?;
        let report = RebuildReport { statistics: archive.statistics()?, unreadable };
        Ok((archive, report))
    }

    fn start(writer: Writer, recovery: Recovery) -> Result<Archive> {
        let shared = writer.shared.clone();
        let pending = shared.options.max_pending.max(1);
        let (received, to_prepare) = bounded::<Received>(pending);
        let (commands, to_write) = bounded::<Command>(pending);
        let mut inner = Inner {
            shared: shared.clone(),
            recovery,
            received: Some(received),
            commands: Some(commands.clone()),
            preparers: Vec::new(),
            writer: None,
        };
        for _ in 0..PREPARERS {
            let (shared, to_prepare, commands) = (shared.clone(), to_prepare.clone(), commands.clone());
            inner
                .preparers
                .push(spawn("archive-prepare", move || prepare::run(&shared, &to_prepare, &commands))?);
        }
        inner.writer = Some(spawn("archive-write", move || {
            writer.run(&to_write);
            if let Ok(Some(token)) = writer.shared.catalogue.mark(TOKEN) {
                writer.close(&token);
            }
        })?);
        Ok(Archive { inner: Arc::new(inner) })
    }

    /// What opening had to mend.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// A place to receive one object into.
    pub fn incoming(&self) -> Result<Incoming> {
        let shared = self.shared();
        shared.refuse_if_broken()?;
        let room = shared.room(shared.options.max_instance_bytes);
        Incoming::held(&shared.layout.incoming(), room, &shared.buffers)
    }

    /// The same in a file from the first byte on: for who sends one object after the other and waits for each, writing while it arrives
    /// is sooner done than writing it past the page cache afterwards (120 CT instances by C-STORE: 0.55 and 0.9 s).
    pub fn incoming_file(&self) -> Result<Incoming> {
        self.spool(self.shared().options.max_instance_bytes)
    }

    /// A place for up to `limit` bytes that objects are to be made of, such as bulk data that comes before or after
    /// its instance. It is read back by [`Incoming::stretch`].
    pub fn spool(&self, limit: u64) -> Result<Incoming> {
        let shared = self.shared();
        shared.refuse_if_broken()?;
        Incoming::filed(&shared.layout.incoming(), shared.room(limit))
    }

    /// Hands the object over to be verified, synced and committed. Refusals wait in the ticket too. Tickets
    /// taken before the first is waited for share their syncs. Blocks while
    /// [`max_pending`](ArchiveOptions::max_pending) others wait.
    pub fn submit(&self, incoming: Incoming, requirements: &StoreRequirements) -> StoreTicket {
        let (answer, ticket) = mpsc::sync_channel(1);
        let received = Received { incoming, requirements: requirements.clone(), answer };
        if let Some(queue) = &self.inner.received
            && let Err(unsent) = queue.send(received)
        {
            let _ = unsent.0.answer.send(Err(Error::Closed.into()));
        }
        StoreTicket { answer: ticket }
    }

    /// Stores one object and waits until it is synced.
    pub fn store(
        &self,
        incoming: Incoming,
        requirements: &StoreRequirements,
    ) -> Result<StoreOutcome, StoreFailure> {
        self.submit(incoming, requirements).wait()
    }

    /// Stores many objects, each on its own account, with shared syncs; answers in their order.
    pub fn store_all(
        &self,
        incoming: Vec<Incoming>,
        requirements: &StoreRequirements,
    ) -> Vec<Result<StoreOutcome, StoreFailure>> {
        let tickets: Vec<_> = incoming.into_iter().map(|one| self.submit(one, requirements)).collect();
        tickets.into_iter().map(StoreTicket::wait).collect()
    }

    /// How often instances were added since the archive was opened. It grows before they can be found: while it stays what it
    /// was, whatever can be found was received before.
    pub fn additions(&self) -> u64 {
        self.shared().additions()
    }

    /// Searches studies, series or instances.
    ///
    /// # Errors
    /// [`Error::Key`] where a key is no value of its attribute: a date that is none, a range that ends before it begins.
    pub fn search(&self, query: &Query) -> Result<SearchResult> {
        search::search(&self.reader(), query)
    }

    /// How many studies, series or instances match, whatever the query's limit and offset. Costs what a search without
    /// limit does, less putting the results together; no instance is looked at unless a key asks for it.
    pub fn count(&self, query: &Query) -> Result<u64> {
        search::count(&self.reader(), query)
    }

    /// The study, if it is here.
    pub fn study(&self, study: &str) -> Result<Option<StudyEntry>> {
        let record = self.shared().catalogue.study(study)?;
        Ok(record.map(|record| StudyEntry {
            study_instance_uid: study.to_owned(),
            patient_id: record.patient_id,
            attributes: record.attributes,
        }))
    }

    /// The study's series, by SeriesInstanceUID.
    pub fn series(&self, study: &str) -> Result<Vec<SeriesEntry>> {
        self.shared()
            .catalogue
            .series_of(study)
            .map(|entry| {
                entry.map(|(series, record)| SeriesEntry {
                    study_instance_uid: study.to_owned(),
                    series_instance_uid: series,
                    modality: record.modality,
                    instances: record.instances,
                    attributes: record.attributes,
                })
            })
            .collect()
    }

    /// The series' instances, by InstanceNumber, then SOPInstanceUID.
    pub fn instances(&self, study: &str, series: &str) -> Result<Vec<InstanceEntry>> {
        let records = self.reader().instances(study, series)?;
        Ok(records.into_iter().map(|(uids, record)| self.shared().entry(uids, record)).collect())
    }

    /// One instance by all its UIDs: where its file lies, its size and transfer syntax.
    pub fn instance(&self, study: &str, series: &str, sop: &str) -> Result<Option<InstanceEntry>> {
        let uids = InstanceUids::new(study, series, sop);
        let record = self.shared().catalogue.instance(&uids)?;
        Ok(record.map(|record| self.shared().entry(uids, record)))
    }

    /// One instance by SOPInstanceUID alone.
    pub fn find_instance(&self, sop: &str) -> Result<Option<InstanceEntry>> {
        match self.shared().catalogue.locate(sop)? {
            Some(uids) => self.instance(&uids.study_instance_uid, &uids.series_instance_uid, sop),
            None => Ok(None),
        }
    }

    /// The DICOM JSON of a study's, a series' (`series` given) or one instance's (`sop` given) metadata as
    /// the bytes of a JSON array, or `None` where there is no such thing. Binary values beyond
    /// `inline_binary_bytes` and pixel data are BulkDataURIs: the text that `bulk` gives, then
    /// `bulkdata/7FE00010`, or `bulkdata/54000100/1/54001010` for an element in (here the first) item of a
    /// sequence.
    pub fn metadata<'a>(
        &self,
        study: &str,
        series: Option<&str>,
        sop: Option<&str>,
        bulk: BulkDataUri<'a>,
    ) -> Result<Option<MetadataChunks<'a>>> {
        read::metadata(self.reader(), study, series, sop, bulk)
    }

    /// The same as [`Archive::metadata`], an object an instance.
    pub fn metadata_objects<'a>(
        &self,
        study: &str,
        series: Option<&str>,
        sop: Option<&str>,
        bulk: BulkDataUri<'a>,
    ) -> Result<Option<MetadataObjects<'a>>> {
        read::metadata_objects(self.reader(), study, series, sop, bulk)
    }

    /// One instance's DICOM JSON, with BulkDataURIs of the form `bulkdata/...`.
    pub fn instance_json(
        &self,
        study: &str,
        series: &str,
        sop: &str,
    ) -> Result<Option<serde_json::Map<String, serde_json::Value>>> {
        self.reader().instance_json(&InstanceUids::new(study, series, sop))
    }

    /// Finds one element of a stored instance by the path that follows `bulkdata/` in its BulkDataURI;
    /// `None` where the path is none or the instance has no such element.
    pub fn bulk_data(&self, instance: &InstanceEntry, path: &str) -> Result<Option<BulkData>> {
        let Some(element) = ElementPath::parse(path) else { return Ok(None) };
        let path = &instance.path;
        let mut file = File::open(path).context(FileSnafu { action: "open", path })?;
        part10::locate(&mut file, &element, &self.shared().limits()).context(ObjectSnafu { path })
    }

    /// Deletes a study with all it holds. Durable when it returns.
    pub fn delete_study(&self, study: &str) -> Result<Deleted> {
        self.delete(Scope::Study(study.to_owned()))
    }

    /// Deletes a series; with the study's last series goes the study.
    pub fn delete_series(&self, study: &str, series: &str) -> Result<Deleted> {
        self.delete(Scope::Series(study.to_owned(), series.to_owned()))
    }

    /// Deletes an instance; with the series' last instance goes the series.
    pub fn delete_instance(&self, study: &str, series: &str, sop: &str) -> Result<Deleted> {
        self.delete(Scope::Instance(InstanceUids::new(study, series, sop)))
    }

    fn delete(&self, scope: Scope) -> Result<Deleted> {
        let is_valid = match &scope {
            Scope::Study(study) => uid::is_valid(study),
            Scope::Series(study, series) => uid::is_valid(study) && uid::is_valid(series),
            Scope::Instance(uids) => uids.are_valid(),
        };
        if !is_valid {
            return Ok(Deleted::default());
        }
        let (answer, deleted) = mpsc::sync_channel(1);
        if let Some(commands) = &self.inner.commands {
            commands.send(Command::Delete(scope, answer)).map_err(|_| Error::Closed)?;
        }
        deleted.recv().unwrap_or(Err(Error::Closed))
    }

    /// How much the archive holds.
    pub fn statistics(&self) -> Result<Statistics> {
        let catalogue = &self.shared().catalogue;
        let mut statistics = Statistics { patients: catalogue.patients()?, ..Statistics::default() };
        for study in catalogue.studies() {
            statistics.studies += 1;
            for series in catalogue.series_of(&study?) {
                let (_, record) = series?;
                statistics.series += 1;
                statistics.instances += record.instances;
                statistics.bytes = statistics.bytes.saturating_add(record.bytes);
            }
        }
        Ok(statistics)
    }

    /// Holds catalogue, object files and metadata against one another. `deep` reads every object and
    /// compares its digest. What is stored or deleted meanwhile may show as a finding.
    pub fn check(&self, deep: bool, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport> {
        recover::check(self.shared(), deep, progress)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn reader(&self) -> read::Reader {
        read::Reader { shared: self.shared().clone(), commands: self.inner.commands.clone() }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.received = None;
        for preparer in self.preparers.drain(..) {
            let _ = preparer.join();
        }
        if let Some(commands) = self.commands.take() {
            // Readers may hold on to the channel, so that it does not end by itself.
            let _ = commands.send(Command::Close);
        }
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Makes the folders, throws away what was being received, and tells whether the archive was closed in order.
fn prepare_root(root: &Path, db: &sled::Db, options: ArchiveOptions) -> Result<(Arc<Shared>, bool)> {
    let layout = Layout::new(root);
    let catalogue = Catalogue::open(db, &options.database)?;
    let mut changed = BTreeSet::new();
    for folder in [layout.objects(), layout.incoming()] {
        durable::make_folder(&folder, &mut changed)?;
    }
    for leftover in durable::entries(&layout.incoming())? {
        durable::remove_file(&leftover)?;
    }
    if !catalogue.is_of_this_format()? {
        tracing::info!("the catalogue is new, or of another version: it is made from the object files");
        throw_away(&layout, &catalogue)?;
    }
    let marker = layout.clean_marker();
    let token = fs::read_to_string(&marker).ok();
    let is_clean = token.is_some() && token == catalogue.mark(TOKEN)?;
    durable::remove_file(&marker)?;
    // sled makes its folder and log without syncing the folders they lie in.
    changed.insert(options.database.clone());
    changed.extend(options.database.parent().map(Path::to_owned));
    changed.insert(root.to_owned());
    durable::sync_folders(&changed)?;
    catalogue.set_mark(TOKEN, &new_token())?;
    catalogue.sync()?;
    Ok((Shared::new(layout, catalogue, options), is_clean))
}

/// Throws away what follows from the object files.
fn throw_away(layout: &Layout, catalogue: &Catalogue) -> Result<()> {
    let kept = layout.metadata();
    if kept.exists() {
        fs::remove_dir_all(&kept).context(FileSnafu { action: "remove", path: &kept })?;
    }
    catalogue.clear()
}

/// Tells one opening from every other.
fn new_token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", now.as_nanos(), std::process::id())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.context(FileSnafu { action: "start the thread", path: name })
}
