//! The worklist's face: the transactions of PS3.4 CC.2, and what the performer in this process does.

use crate::{
    AeTitle, Attributes, CancelRequest, Channel, Error, EventReport, Filter, Found, Result, Scope, Sink,
    State, WorkitemQuery, WorklistOptions,
    attributes::{element, key, sorted},
    channels::Channels,
    create::{self, fresh_uid},
    error::{
        AlreadyCompletedSnafu, ExistsSnafu, FullSnafu, GoneSnafu, NoSuchWorkitemSnafu, NotFinalSnafu,
        NotPerformableSnafu, NotSubscribedSnafu, PerformedHereSnafu, PerformerUnreachableSnafu, RecordSnafu,
        TooLargeSnafu,
    },
    event,
    final_state::{change_progress, date_cancellation, missing},
    record::Record,
    search::Search,
    state::{self, Lock, Transition},
    subscription::{Global, Globals},
    table::{Entry, Kept, Table},
    update,
};
use dicom_dictionary_std::tags;
use parking_lot::Mutex;
use serde_json::Value;
use snafu::ResultExt;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{Arc, Weak},
};

/// Who performs workitems in this process.
pub trait Performer: Send + Sync {
    /// Whether it performs such a workitem once it is SCHEDULED.
    ///
    /// # Errors
    /// In words, why the workitem, which asks for what the performer does, cannot be done. Called under the worklist's
    /// lock: it must not call the worklist.
    fn takes(&self, attributes: &Attributes) -> Result<bool, String>;

    /// A workitem came, changed, or is to be canceled. It must not block.
    fn wake(&self);
}

/// A workitem that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its SOP Instance UID.
    pub uid: String,
    /// Whether it is not as it came: attributes of type 2 that were left out are there, empty.
    pub modified: bool,
}

/// What came of a request to change a state or to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was done, or passed on to the performer.
    Done,
    /// The workitem was in that state already.
    Already,
}

/// A workitem that the performer in this process may begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// SOP Instance UID.
    pub uid: String,
    /// The data set.
    pub attributes: Attributes,
}

/// A workitem that the performer in this process has not ended yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Mine {
    /// SOP Instance UID.
    pub uid: String,
    /// SCHEDULED or IN PROGRESS.
    pub state: State,
    /// Whether it shows work that was asked for elsewhere ([`Worklist::show`]).
    pub shown: bool,
    /// The data set.
    pub attributes: Attributes,
}

/// A workitem of the performer in this process that somebody wants to be given up.
#[derive(Clone, Debug, PartialEq)]
pub struct ToCancel {
    /// SOP Instance UID.
    pub uid: String,
    /// Whether it shows work that was asked for elsewhere.
    pub shown: bool,
    /// Who, and why.
    pub request: CancelRequest,
}

/// What was done: the item of the Unified Procedure Step Performed Procedure Sequence (0074,1216).
pub type Performed = Attributes;

/// Why a workitem is given up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discontinuation {
    /// Reason For Cancellation (0074,1238).
    pub reason: Option<String>,
    /// Items of the Procedure Step Discontinuation Reason Code Sequence (0074,100E).
    pub codes: Vec<Value>,
}

/// A worklist. Cheap to clone; every clone is the same worklist. Every call blocks.
#[derive(Clone)]
pub struct Worklist {
    inner: Arc<Inner>,
}

struct Inner {
    options: WorklistOptions,
    channels: Channels,
    performer: Mutex<Option<Weak<dyn Performer>>>,
    state: Mutex<Index>,
}

/// What memory holds of the table.
struct Index {
    table: Table,
    /// Workitems that have not ended.
    open: BTreeMap<u64, Open>,
    /// Those that have, by when they did.
    ended: BTreeMap<u64, Ended>,
    /// Those that were let go of, the oldest first; no more than are kept.
    gone: VecDeque<String>,
    globals: Globals,
    /// Who had subscribed before this process began, and does not know yet that it did.
    restored: BTreeSet<AeTitle>,
    next: u64,
}

#[derive(Clone, Copy)]
struct Open {
    here: bool,
    /// Whether the performer of this process takes it.
    asked: bool,
    /// Whether that performer is to give it up.
    cancel: bool,
}

impl Open {
    fn of(record: &Record) -> Self {
        Open { here: record.here, asked: false, cancel: record.cancel.is_some() }
    }
}

struct Ended {
    sequence: u64,
    /// Whether someone holds a deletion lock.
    locked: bool,
}

impl Worklist {
    /// Opens the worklist: replays the journal, and fills `tree` from it.
    pub fn open(tree: sled::Tree, journal: &Path, options: WorklistOptions) -> Result<Self> {
        let (table, kept) = Table::open(tree, journal)?;
        let index = Index::new(table, kept, &options)?;
        let inner = Inner {
            options,
            channels: Channels::default(),
            performer: Mutex::default(),
            state: Mutex::new(index),
        };
        Ok(Worklist { inner: Arc::new(inner) })
    }

    /// Has `performer` perform what it takes from now on.
    pub fn perform_by(&self, performer: Weak<dyn Performer>) -> Result<()> {
        *self.inner.performer.lock() = Some(performer);
        let mut index = self.inner.state.lock();
        for sequence in index.open.keys().copied().collect::<Vec<_>>() {
            let Some(record) = index.table.at(sequence)? else { continue };
            // What it took before it may be unable to do now: that is for it to say when it begins.
            let asked = self.takes(&record.attributes).unwrap_or(true);
            index.open.insert(sequence, Open { asked, ..Open::of(&record) });
        }
        Ok(())
    }

    /// Create (CC.2.5): a workitem under `uid`, else under the UID within, else under a new one.
    pub fn create(&self, uid: Option<&str>, attributes: Attributes) -> Result<Created> {
        let new = create::accept(uid, attributes, self.now())?;
        self.refuse_larger(&new.attributes)?;
        let mut index = self.inner.state.lock();
        let limit = self.inner.options.max_open;
        if index.open.values().filter(|open| !open.here).count() >= limit {
            return FullSnafu { what: "workitems", limit }.fail();
        }
        index.refuse_taken(&new.uid)?;
        let asked = self.takes(&new.attributes)?;
        let record = index.new_record(new.uid.clone(), new.attributes, false);
        self.add(&mut index, record, asked)?;
        drop(index);
        self.wake();
        Ok(Created { uid: new.uid, modified: new.modified })
    }

    /// Retrieve (CC.2.7): the data set, without its Transaction UID.
    pub fn retrieve(&self, uid: &str) -> Result<Attributes> {
        self.inner.state.lock().record(uid).map(|record| sorted(record.attributes))
    }

    /// Update (CC.2.6): puts the attributes in `changes` in the place of those that are there.
    pub fn update(&self, uid: &str, transaction_uid: Option<&str>, changes: Attributes) -> Result<()> {
        let mut index = self.inner.state.lock();
        let before = index.record(uid)?;
        state::update(uid, before.state, Lock::compare(before.transaction_uid.as_deref(), transaction_uid))?;
        if before.here {
            return PerformedHereSnafu { uid }.fail();
        }
        let attributes = update::merged(&before.attributes, changes, self.now())?;
        self.refuse_larger(&attributes)?;
        let asked = before.state == State::Scheduled && self.takes(&attributes)?;
        index.open.insert(before.sequence, Open { asked, ..Open::of(&before) });
        let after = Record { attributes, ..before.clone() };
        self.change(&mut index, &before, after)?;
        drop(index);
        self.wake();
        Ok(())
    }

    /// Change State (CC.2.1). IN PROGRESS claims the workitem under the Transaction UID.
    pub fn change_state(&self, uid: &str, wanted: State, transaction_uid: Option<&str>) -> Result<Change> {
        let mut index = self.inner.state.lock();
        let before = index.record(uid)?;
        let lock = Lock::compare(before.transaction_uid.as_deref(), transaction_uid);
        if state::transition(uid, before.state, wanted, lock)? == Transition::Already {
            return Ok(Change::Already);
        }
        if before.here {
            return PerformedHereSnafu { uid }.fail();
        }
        let mut after = before.clone();
        if wanted == State::InProgress {
            after.transaction_uid = transaction_uid.map(str::to_owned);
        }
        let missing = missing(&after.attributes, wanted);
        if !missing.is_empty() {
            return NotFinalSnafu { uid, state: wanted, missing }.fail();
        }
        if wanted == State::Canceled {
            date_cancellation(&mut after.attributes, self.now());
        }
        after.enter(wanted);
        self.change(&mut index, &before, after)?;
        Ok(Change::Done)
    }

    /// Request Cancellation (CC.2.2). What is SCHEDULED is canceled; what is IN PROGRESS is its performer's to cancel, who
    /// is told.
    pub fn request_cancellation(&self, uid: &str, request: CancelRequest) -> Result<Change> {
        let mut index = self.inner.state.lock();
        let before = index.record(uid)?;
        match before.state {
            State::Completed => AlreadyCompletedSnafu { uid }.fail(),
            State::Canceled => Ok(Change::Already),
            _ if before.here => {
                let report = event::cancel_requested(uid, &request);
                let after = Record { cancel: Some(request), ..before.clone() };
                self.change(&mut index, &before, after.clone())?;
                self.report(&index, &after, vec![report]);
                drop(index);
                self.wake();
                Ok(Change::Done)
            }
            State::Scheduled => {
                let why = Discontinuation { reason: request.reason, codes: request.discontinuation };
                self.discontinue_record(&mut index, before, why)?;
                Ok(Change::Done)
            }
            State::InProgress => {
                let report = event::cancel_requested(uid, &request);
                match self.report(&index, &before, vec![report]) {
                    true => Ok(Change::Done),
                    false => PerformerUnreachableSnafu { uid }.fail(),
                }
            }
        }
    }

    /// Search (CC.2.8).
    pub fn search(&self, query: &WorkitemQuery) -> Result<Found> {
        let mut search = Search::new(query)?;
        let records = self.inner.state.lock().table.oldest_first();
        for record in records {
            search.look_at(&record?.attributes);
        }
        Ok(search.end())
    }

    /// Subscribe (CC.2.3); whether a deletion lock that was asked for was granted. The AE is told how things stand: of the
    /// workitem, or with a deletion lock on the worklist of every workitem in it.
    pub fn subscribe(&self, ae_title: &AeTitle, scope: Scope, lock: bool) -> Result<bool> {
        let mut index = self.inner.state.lock();
        let lock = lock && index.locked() < self.inner.options.keep_final;
        match scope {
            Scope::Workitem(uid) => self.subscribe_to_workitem(&mut index, ae_title, &uid, lock)?,
            Scope::Worklist => self.subscribe_to_worklist(&mut index, ae_title, None, lock)?,
            Scope::Filtered(filter) => {
                self.subscribe_to_worklist(&mut index, ae_title, Some(filter), lock)?
            }
        }
        Ok(lock)
    }

    fn subscribe_to_workitem(
        &self,
        index: &mut Index,
        ae_title: &AeTitle,
        uid: &str,
        lock: bool,
    ) -> Result<()> {
        let mut record = index.record(uid)?;
        let limit = self.inner.options.max_subscribers;
        if !record.subscribers.contains_key(ae_title) && record.subscribers.len() >= limit {
            return FullSnafu { what: "subscribers to one workitem", limit }.fail();
        }
        record.subscribers.insert(ae_title.clone(), Some(lock));
        index.table.keep(vec![record.clone()])?;
        index.look_for_locks()?;
        self.inner.channels.send(ae_title, &Arc::new(event::state_report(uid, &record.attributes)));
        self.tidy(index)
    }

    fn subscribe_to_worklist(
        &self,
        index: &mut Index,
        ae_title: &AeTitle,
        filter: Option<Filter>,
        lock: bool,
    ) -> Result<()> {
        let limit = self.inner.options.max_subscribers;
        if index.globals.get(ae_title, filter.is_some()).is_none() && index.globals.len() >= limit {
            return FullSnafu { what: "subscribers to the worklist", limit }.fail();
        }
        let global = Global { lock, filter, until: None };
        let filtered = global.filter.is_some();
        // Before it is kept: keys that do not read are an error.
        index.globals.insert(ae_title.clone(), global.clone())?;
        if let Err(error) = index.table.note(&[Entry::Subscribed(ae_title.clone(), global)]) {
            index.globals.remove(ae_title, filtered);
            return Err(error);
        }
        index.look_for_locks()?;
        for record in index.table.oldest_first().filter(|_| lock) {
            let record = record?;
            if index.globals.subscribers(&record).contains_key(ae_title) {
                let report = event::state_report(&record.uid, &record.attributes);
                self.inner.channels.send(ae_title, &Arc::new(report));
            }
        }
        self.tidy(index)
    }

    /// Unsubscribe (CC.2.3). From the worklist: from every workitem as well.
    pub fn unsubscribe(&self, ae_title: &AeTitle, scope: Scope) -> Result<()> {
        let mut index = self.inner.state.lock();
        match scope {
            Scope::Workitem(uid) => {
                let mut record = index.record(&uid)?;
                // The worklist's subscription stands; on this workitem, what is said of it alone counts.
                match index.globals.has(ae_title) {
                    true => drop(record.subscribers.insert(ae_title.clone(), None)),
                    false => drop(record.subscribers.remove(ae_title)),
                }
                index.table.keep(vec![record])?;
            }
            Scope::Worklist => {
                index.end_global(ae_title, false)?;
                let said: Result<Vec<Record>> = index
                    .table
                    .oldest_first()
                    .filter(|record| {
                        record.as_ref().map_or(true, |record| record.subscribers.contains_key(ae_title))
                    })
                    .collect();
                let mut said = said?;
                for record in &mut said {
                    record.subscribers.remove(ae_title);
                }
                index.table.keep(said)?;
            }
            Scope::Filtered(_) => index.end_global(ae_title, true)?,
        }
        index.look_for_locks()?;
        self.tidy(&mut index)
    }

    /// Suspend (CC.2.3): workitems that are created from now on are not taken in.
    pub fn suspend(&self, ae_title: &AeTitle, filtered: bool) -> Result<()> {
        let mut index = self.inner.state.lock();
        let Some(global) = index.globals.get(ae_title, filtered).cloned() else {
            return NotSubscribedSnafu { ae_title: ae_title.to_string() }.fail();
        };
        let global = Global { until: Some(index.next), ..global };
        index.table.note(&[Entry::Subscribed(ae_title.clone(), global.clone())])?;
        index.globals.insert(ae_title.clone(), global)
    }

    /// Opens a connection over which an AE gets its event reports, for as long as the channel lives.
    pub fn open_channel(&self, ae_title: &AeTitle, sink: Sink) -> Result<Channel> {
        let mut index = self.inner.state.lock();
        let channel = self.inner.channels.open(ae_title.clone(), sink, self.inner.options.max_channels)?;
        if index.restored.remove(ae_title) {
            self.inner.channels.send(ae_title, &Arc::new(event::status_change("RESTARTED")));
        }
        Ok(channel)
    }

    /// Tells everyone who is connected that the service ends, and ends the connections.
    pub fn close(&self) {
        self.inner.channels.close(&Arc::new(event::status_change("GOING DOWN")));
    }

    /// The workitems that the performer in this process takes and nobody has claimed, the oldest first.
    pub fn asked(&self) -> Result<Vec<Asked>> {
        let index = self.inner.state.lock();
        let mut asked = Vec::new();
        for (sequence, _) in index.open.iter().filter(|(_, open)| open.asked && !open.here) {
            let record = index.table.at(*sequence)?.filter(|record| record.state == State::Scheduled);
            asked.extend(record.map(|record| Asked { uid: record.uid, attributes: record.attributes }));
        }
        Ok(asked)
    }

    /// What the performer in this process has not ended yet.
    pub fn mine(&self) -> Result<Vec<Mine>> {
        let index = self.inner.state.lock();
        let mut mine = Vec::new();
        for (sequence, _) in index.open.iter().filter(|(_, open)| open.here) {
            if let Some(Record { uid, state, shown, attributes, .. }) = index.table.at(*sequence)? {
                mine.push(Mine { uid, state, shown, attributes });
            }
        }
        Ok(mine)
    }

    /// What the performer in this process is to give up.
    pub fn to_cancel(&self) -> Result<Vec<ToCancel>> {
        let index = self.inner.state.lock();
        let mut to_cancel = Vec::new();
        for (sequence, _) in index.open.iter().filter(|(_, open)| open.here && open.cancel) {
            let Some(Record { uid, shown, cancel, .. }) = index.table.at(*sequence)? else { continue };
            to_cancel.extend(cancel.map(|request| ToCancel { uid, shown, request }));
        }
        Ok(to_cancel)
    }

    /// Shows work of this process as a workitem that is SCHEDULED, and nobody else's to change. Where there is one of that
    /// UID already, or was one, nothing happens.
    pub fn show(&self, uid: &str, attributes: Attributes) -> Result<()> {
        let new = create::accept(Some(uid), attributes, self.now())?;
        let mut index = self.inner.state.lock();
        match index.refuse_taken(uid) {
            Err(Error::Exists { .. }) => return Ok(()),
            result => result?,
        }
        let record = index.new_record(new.uid, new.attributes, true);
        self.add(&mut index, record, false)
    }

    /// Begins a workitem, under a Transaction UID that nobody knows; whether it was SCHEDULED.
    pub fn begin(&self, uid: &str) -> Result<bool> {
        let mut index = self.inner.state.lock();
        let before = index.record(uid)?;
        if before.state != State::Scheduled {
            return Ok(false);
        }
        let mut after = Record { here: true, transaction_uid: Some(fresh_uid()), ..before.clone() };
        after.enter(State::InProgress);
        index.open.insert(before.sequence, Open::of(&after));
        self.change(&mut index, &before, after)?;
        Ok(true)
    }

    /// Tells how far a workitem is that this process performs, 0 to 100. It reaches the table and those who watch; a crash
    /// may lose it.
    pub fn progress(&self, uid: &str, percent: u8, description: &str) -> Result<()> {
        let index = self.inner.state.lock();
        let before = index.record(uid)?;
        if before.state != State::InProgress || !before.here {
            return Ok(());
        }
        let mut after = before.clone();
        change_progress(&mut after.attributes, |item| {
            let told = [
                (tags::PROCEDURE_STEP_PROGRESS, Value::from(percent.min(100))),
                (tags::PROCEDURE_STEP_PROGRESS_DESCRIPTION, description.into()),
            ];
            item.extend(told.map(|(tag, value)| (key(tag), element(tag, vec![value]))));
        });
        index.table.show(&after)?;
        self.report(&index, &after, event::of_change(uid, Some(&before.attributes), &after.attributes));
        Ok(())
    }

    /// Completes a workitem that this process performs, with what was done.
    pub fn complete(&self, uid: &str, performed: Performed) -> Result<()> {
        let mut index = self.inner.state.lock();
        let before = index.record(uid)?;
        if before.state != State::InProgress || !before.here {
            return Ok(());
        }
        let mut after = before.clone();
        let sequence = tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE;
        after.attributes.insert(key(sequence), element(sequence, vec![Value::Object(performed)]));
        change_progress(&mut after.attributes, |item| {
            let tag = tags::PROCEDURE_STEP_PROGRESS;
            item.insert(key(tag), element(tag, vec![100.into()]));
        });
        let missing = missing(&after.attributes, State::Completed);
        if !missing.is_empty() {
            return NotFinalSnafu { uid, state: State::Completed, missing }.fail();
        }
        after.enter(State::Completed);
        self.change(&mut index, &before, after)
    }

    /// Gives up a workitem that has not ended.
    pub fn discontinue(&self, uid: &str, why: Discontinuation) -> Result<()> {
        let mut index = self.inner.state.lock();
        let before = index.record(uid)?;
        match before.state.is_final() {
            true => Ok(()),
            false => self.discontinue_record(&mut index, before, why),
        }
    }

    /// From SCHEDULED the way leads through IN PROGRESS (CC.2.2.3).
    fn discontinue_record(&self, index: &mut Index, before: Record, why: Discontinuation) -> Result<()> {
        let mut begun = before.clone();
        if before.state == State::Scheduled {
            begun.transaction_uid = Some(fresh_uid());
            begun.enter(State::InProgress);
        }
        let mut after = begun.clone();
        change_progress(&mut after.attributes, |item| {
            if let Some(reason) = &why.reason {
                let tag = tags::REASON_FOR_CANCELLATION;
                item.insert(key(tag), element(tag, vec![reason.as_str().into()]));
            }
            let tag = tags::PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE;
            let codes = if why.codes.is_empty() { vec![unspecified()] } else { why.codes };
            item.insert(key(tag), element(tag, codes));
        });
        date_cancellation(&mut after.attributes, self.now());
        after.enter(State::Canceled);
        self.change_by_way_of(index, &[&before, &begun], after)
    }

    fn refuse_larger(&self, attributes: &Attributes) -> Result<()> {
        let limit = self.inner.options.max_bytes;
        match serde_json::to_vec(attributes).context(RecordSnafu)?.len() > limit {
            true => TooLargeSnafu { limit }.fail(),
            false => Ok(()),
        }
    }

    fn now(&self) -> time::OffsetDateTime {
        (self.inner.options.now)()
    }

    fn performer(&self) -> Option<Arc<dyn Performer>> {
        self.inner.performer.lock().as_ref().and_then(Weak::upgrade)
    }

    fn takes(&self, attributes: &Attributes) -> Result<bool> {
        let taken = self.performer().map_or(Ok(false), |performer| performer.takes(attributes));
        taken.or_else(|reason| NotPerformableSnafu { reason }.fail())
    }

    fn wake(&self) {
        if let Some(performer) = self.performer() {
            performer.wake();
        }
    }

    fn add(&self, index: &mut Index, record: Record, asked: bool) -> Result<()> {
        index.table.keep(vec![record.clone()])?;
        index.open.insert(record.sequence, Open { asked, ..Open::of(&record) });
        self.report(index, &record, event::of_change(&record.uid, None, &record.attributes));
        self.tidy(index)
    }

    /// Keeps a workitem as it now stands, durably, and tells its subscribers.
    fn change(&self, index: &mut Index, before: &Record, after: Record) -> Result<()> {
        self.change_by_way_of(index, &[before], after)
    }

    /// The same, telling of each step on the way.
    fn change_by_way_of(&self, index: &mut Index, steps: &[&Record], mut after: Record) -> Result<()> {
        if after.state.is_final() && after.ended.is_none() {
            after.ended = Some(index.count());
        }
        index.table.keep(vec![after.clone()])?;
        index.place(&after);
        let next = steps.iter().skip(1).copied().chain([&after]);
        for (before, after) in steps.iter().zip(next) {
            let reports = event::of_change(&after.uid, Some(&before.attributes), &after.attributes);
            self.report(index, after, reports);
        }
        self.tidy(index)
    }

    /// Sends reports to who is subscribed to the workitem; whether anyone was there.
    fn report(&self, index: &Index, record: &Record, reports: Vec<EventReport>) -> bool {
        if reports.is_empty() {
            return false;
        }
        let subscribers = index.globals.subscribers(record);
        let mut sent = false;
        for report in reports.into_iter().map(Arc::new) {
            for ae_title in subscribers.keys() {
                sent |= self.inner.channels.send(ae_title, &report);
            }
        }
        sent
    }

    /// Lets go of what is kept no longer, and keeps the journal short.
    fn tidy(&self, index: &mut Index) -> Result<()> {
        index.let_go(self.inner.options.keep_final)?;
        index.trim()
    }
}

/// CID 9300.
fn unspecified() -> Value {
    crate::attributes::code("110513", "DCM", "Discontinued for unspecified reason")
}

impl Index {
    fn new(table: Table, kept: Kept, options: &WorklistOptions) -> Result<Self> {
        let Kept { records, mut gone, globals } = kept;
        let surplus = gone.len().saturating_sub(options.keep_final);
        gone.drain(..surplus);
        let next =
            records.values().flat_map(|record| record.ended.into_iter().chain([record.sequence])).max();
        let mut index = Index {
            table,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            gone,
            globals: Globals::default(),
            restored: globals.keys().map(|(ae_title, _)| ae_title.clone()).collect(),
            next: next.map_or(0, |last| last.saturating_add(1)),
        };
        for ((ae_title, _), global) in globals {
            index.next = index.next.max(global.until.unwrap_or_default());
            index.globals.insert(ae_title, global)?;
        }
        for record in records.values() {
            index.place(record);
        }
        let mut entries = index.others();
        entries.extend(records.into_values().map(|record| Entry::Workitem(Box::new(record))));
        index.table.reset(&entries)?;
        index.let_go(options.keep_final)?;
        Ok(index)
    }

    fn count(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    fn new_record(&mut self, uid: String, attributes: Attributes, here: bool) -> Record {
        Record {
            uid,
            sequence: self.count(),
            ended: None,
            state: State::Scheduled,
            transaction_uid: None,
            here,
            shown: here,
            cancel: None,
            subscribers: BTreeMap::new(),
            attributes,
        }
    }

    fn record(&self, uid: &str) -> Result<Record> {
        match self.table.find(uid)? {
            Some(record) => Ok(record),
            None if self.gone.iter().any(|gone| gone == uid) => GoneSnafu { uid }.fail(),
            None => NoSuchWorkitemSnafu { uid }.fail(),
        }
    }

    fn refuse_taken(&self, uid: &str) -> Result<()> {
        match self.record(uid) {
            Err(Error::NoSuchWorkitem { .. }) => Ok(()),
            Ok(_) | Err(Error::Gone { .. }) => ExistsSnafu { uid }.fail(),
            Err(error) => Err(error),
        }
    }

    /// Puts a workitem where it belongs in memory.
    fn place(&mut self, record: &Record) {
        match record.ended {
            Some(ended) => {
                self.open.remove(&record.sequence);
                let locked = self.globals.lock(record);
                self.ended.insert(ended, Ended { sequence: record.sequence, locked });
            }
            None => {
                let asked = self.open.get(&record.sequence).is_some_and(|open| open.asked);
                self.open.insert(record.sequence, Open { asked, ..Open::of(record) });
            }
        }
    }

    fn locked(&self) -> usize {
        self.ended.values().filter(|ended| ended.locked).count()
    }

    /// Looks anew who holds deletion locks.
    fn look_for_locks(&mut self) -> Result<()> {
        for ended in self.ended.values_mut() {
            if let Some(record) = self.table.at(ended.sequence)? {
                ended.locked = self.globals.lock(&record);
            }
        }
        Ok(())
    }

    fn end_global(&mut self, ae_title: &AeTitle, filtered: bool) -> Result<()> {
        if self.globals.get(ae_title, filtered).is_some() {
            self.table.note(&[Entry::Unsubscribed(ae_title.clone(), filtered)])?;
            self.globals.remove(ae_title, filtered);
        }
        Ok(())
    }

    /// Lets go of the oldest that ended, beyond `keep` without a deletion lock and `keep` with one.
    fn let_go(&mut self, keep: usize) -> Result<()> {
        for locked in [false, true] {
            let of_sort = || self.ended.iter().filter(|(_, ended)| ended.locked == locked);
            let surplus = of_sort().count().saturating_sub(keep);
            let surplus: Vec<u64> = of_sort().take(surplus).map(|(number, _)| *number).collect();
            for number in surplus {
                let Some(ended) = self.ended.remove(&number) else { continue };
                let Some(record) = self.table.at(ended.sequence)? else { continue };
                if locked {
                    tracing::warn!(
                        workitem = record.uid,
                        "let go of a workitem in spite of its deletion lock"
                    );
                }
                self.table.remove(&record)?;
                self.gone.push_back(record.uid);
            }
        }
        while self.gone.len() > keep {
            self.gone.pop_front();
        }
        Ok(())
    }

    /// What the journal holds beside workitems.
    fn others(&self) -> Vec<Entry> {
        let gone = self.gone.iter().cloned().map(Entry::Removed);
        let globals = self.globals.iter();
        let globals = globals.map(|(ae_title, global)| Entry::Subscribed(ae_title.clone(), global.clone()));
        gone.chain(globals).collect()
    }

    fn trim(&mut self) -> Result<()> {
        let needed = self.open.len() + self.ended.len() + self.gone.len() + self.globals.len();
        if !self.table.is_overgrown(needed) {
            return Ok(());
        }
        let mut entries = self.others();
        for record in self.table.oldest_first() {
            entries.push(Entry::Workitem(Box::new(record?)));
        }
        self.table.rewrite(&entries)
    }
}
