//! The audit log: one JSON line for every access, in `audit.jsonl` of the data folder.
//!
//! A line is promised before the access begins: its place in the queue is reserved, and where none is free the access
//! waits. So nothing is lost because the disk is slower than the clients. A thread of its own writes; what it cannot
//! write goes to the server's log, as an error, with every line. Lines are handed to the system, not synced one by one:
//! but for those of the last milliseconds they survive the server's crash; a power cut may cost the last seconds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::{self, OwnedPermit};

use crate::cli::Failure;
use crate::config::{Audit, mebibytes};

/// Accesses whose line is promised or waits to be written.
const QUEUE: usize = 4096;
/// Lines written together at the most.
const BATCH: usize = 256;
/// After a write, lines gather for so long: waking the thread for each was an eighth of what a small request costs.
const GATHER: Duration = Duration::from_millis(5);
/// Longest path or query that is kept, in characters.
const MAX_TEXT: usize = 2048;
/// The file's name, without the number of a rotated one and the extension.
const NAME: &str = "audit";

/// Who did what to which object, when, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Record {
    /// When it began, RFC 3339, UTC.
    pub time: String,
    /// The token's name; `local` where none is asked for; none where the access was refused for want of one. For
    /// DIMSE the calling AE title.
    pub who: Option<String>,
    /// Address and port that it came from.
    pub peer: Option<String>,
    /// The HTTP method, or the DIMSE service, such as `C-STORE`.
    pub action: String,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The query, which may hold patients' names and numbers; of C-FIND, C-MOVE and C-GET the PatientID asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// StudyInstanceUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
    /// SeriesInstanceUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// SOPInstanceUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Matches that a C-FIND told, or instances that a C-GET or C-MOVE sent, or that a node took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// The HTTP or DIMSE status; none: the client went away before there was one.
    pub status: Option<u16>,
    /// Bytes of the answer's body that were sent, or of the object received, or of those that a node took.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether the answer was sent whole, or everything taken.
    pub complete: bool,
}

impl Record {
    /// What is done by us, known to `peer` as `who`.
    pub fn of_ours(who: &str, peer: String, action: &str) -> Self {
        Self { who: Some(who.to_owned()), peer: Some(peer), action: action.to_owned(), ..Self::default() }
    }
}

/// A line that is promised: it is written when this goes, whichever way.
pub struct Line {
    slot: Option<OwnedPermit<Message>>,
    began: Instant,
    /// What will be written.
    pub record: Record,
}

impl Line {
    fn new(slot: Option<OwnedPermit<Message>>, record: Record) -> Self {
        Self { slot, began: Instant::now(), record: Record { time: now(), ..record } }
    }

    /// Writes nothing after all.
    pub fn take_back(mut self) {
        self.slot = None;
    }
}

/// To the millisecond.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}

/// To the microsecond.
fn seconds_since(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e6
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.record.seconds = seconds_since(self.began);
            drop(slot.send(Message::Line(Box::new(std::mem::take(&mut self.record)))));
        }
    }
}

enum Message {
    Line(Box<Record>),
    End,
}

/// The log is closed: the server is ending.
#[derive(Debug)]
pub struct Closed;

/// Where lines are promised. Cheap to clone. By default it is switched off.
#[derive(Clone, Default)]
pub struct AuditLog {
    /// None: switched off.
    queue: Option<mpsc::Sender<Message>>,
    queries: bool,
}

/// The thread that writes.
pub struct Writer {
    queue: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
}

impl AuditLog {
    /// Opens the log in the data folder and starts its writer; no writer where it is switched off.
    pub fn start(data: &Path, config: &Audit) -> Result<(Self, Option<Writer>), Failure> {
        if !config.enabled {
            return Ok((Self::default(), None));
        }
        fs::create_dir_all(data).map_err(|error| {
            Failure::say(format!("could not make the data folder {}: {error}", data.display()))
        })?;
        let mut files = Files::new(data, mebibytes(config.rotate_mb.max(1)), config.keep);
        files.open().map_err(|error| {
            Failure::say(format!("could not open the audit log in {}: {error}", data.display()))
        })?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(receiver, files))
            .map_err(|error| Failure::say(format!("could not start the audit log's thread: {error}")))?;
        let log = Self { queue: Some(sender.clone()), queries: config.queries };
        Ok((log, Some(Writer { queue: sender, thread })))
    }

    /// Whether queries are to be kept.
    pub fn keeps_queries(&self) -> bool {
        self.queries
    }

    /// Promises a line; waits while the queue is full.
    pub async fn promise(&self, record: Record) -> Result<Line, Closed> {
        let Some(queue) = &self.queue else { return Ok(Line::new(None, record)) };
        let slot = queue.clone().reserve_owned().await.map_err(|_| Closed)?;
        Ok(Line::new(Some(slot), record))
    }

    /// Does something, which may add to the line about it, and writes the line, from a thread that may block.
    pub fn write_timed<T>(&self, record: Record, access: impl FnOnce(&mut Record) -> T) -> T {
        let began = Instant::now();
        let mut record = Record { time: now(), ..record };
        let came = access(&mut record);
        self.send(Record { seconds: seconds_since(began), ..record });
        came
    }

    /// Writes a line about what is over, from a thread that may block.
    pub fn write(&self, record: Record) {
        self.send(Record { time: now(), ..record });
    }

    fn send(&self, record: Record) {
        let Some(queue) = &self.queue else { return };
        if let Err(unsent) = queue.blocking_send(Message::Line(Box::new(record)))
            && let Message::Line(record) = unsent.0
        {
            tracing::error!(?record, "the audit log is closed: this access is not in it");
        }
    }
}

impl Writer {
    /// Writes what waits, syncs and ends.
    pub fn stop(self) {
        if self.queue.blocking_send(Message::End).is_err() || self.thread.join().is_err() {
            tracing::error!("the audit log's thread ended before the server");
        }
    }
}

/// As much of a text as is kept.
pub fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn write_all(mut queue: mpsc::Receiver<Message>, mut files: Files) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut lines = Vec::new();
    let mut over = false;
    while !over {
        if queue.blocking_recv_many(&mut batch, BATCH) == 0 {
            break;
        }
        lines.clear();
        for message in batch.drain(..) {
            match message {
                Message::Line(record) => append(&mut lines, &record),
                Message::End => over = true,
            }
        }
        if let Err(error) = files.append(&lines) {
            let lines = String::from_utf8_lossy(&lines);
            tracing::error!(%error, %lines, "could not write to the audit log; its lines follow here");
        }
        if !over {
            thread::sleep(GATHER);
        }
    }
    if let Err(error) = files.sync() {
        tracing::error!(%error, "could not sync the audit log");
    }
}

fn append(lines: &mut Vec<u8>, record: &Record) {
    let start = lines.len();
    match serde_json::to_writer(&mut *lines, record) {
        Ok(()) => lines.push(b'\n'),
        Err(error) => {
            lines.truncate(start);
            tracing::error!(%error, ?record, "could not write an access as JSON");
        }
    }
}

/// `audit.jsonl` and the rotated `audit.1.jsonl`, the youngest, `audit.2.jsonl`, ...
struct Files {
    folder: PathBuf,
    rotate_bytes: u64,
    keep: u32,
    /// The file being written and its length; none once a write has failed, until one succeeds.
    current: Option<(File, u64)>,
}

impl Files {
    fn new(folder: &Path, rotate_bytes: u64, keep: u32) -> Self {
        Self { folder: folder.to_owned(), rotate_bytes, keep, current: None }
    }

    fn path(&self, number: u32) -> PathBuf {
        match number {
            0 => self.folder.join(format!("{NAME}.jsonl")),
            number => self.folder.join(format!("{NAME}.{number}.jsonl")),
        }
    }

    fn open(&mut self) -> io::Result<&mut (File, u64)> {
        let mut file = private().read(true).append(true).create(true).open(self.path(0))?;
        let mut length = file.metadata()?.len();
        if length > 0 && !ends_a_line(&mut file)? {
            // A crash may have cut the last line off: the next one must not continue it.
            file.write_all(b"\n")?;
            length += 1;
        }
        Ok(self.current.insert((file, length)))
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let full = self.current.as_ref().is_some_and(|(_, length)| *length >= self.rotate_bytes);
        if full {
            self.rotate()?;
        }
        let (file, length) = match self.current.take() {
            Some(current) => self.current.insert(current),
            None => self.open()?,
        };
        match file.write_all(lines) {
            Ok(()) => *length += lines.len() as u64,
            Err(error) => {
                self.current = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Moves every file one number up; what would be more than `keep` goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        self.current = None;
        for number in (0..self.keep).rev() {
            match fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep == 0 {
            fs::remove_file(self.path(0))?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.current.as_ref().map_or(Ok(()), |(file, _)| file.sync_data())
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Options of a file that its owner alone may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect()
    }

    #[test]
    fn every_promised_line_is_written_also_of_what_broke_off() {
        let folder = tempfile::tempdir().unwrap();
        let (log, writer) = AuditLog::start(folder.path(), &Audit::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for number in 0..3 * QUEUE {
                let action = if number % 2 == 0 { "GET" } else { "POST" };
                let mut line =
                    log.promise(Record { action: action.into(), ..Record::default() }).await.unwrap();
                line.record.bytes = number as u64;
            }
        });
        log.write(Record { action: "C-STORE\n".into(), ..Record::default() });
        writer.unwrap().stop();
        let lines = lines(&folder.path().join("audit.jsonl"));
        assert_eq!(lines.len(), 3 * QUEUE + 1);
        assert_eq!((&lines[7]["action"], &lines[7]["bytes"]), (&"POST".into(), &7.into()));
        assert!(lines[7]["status"].is_null() && lines[7]["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(lines[3 * QUEUE]["action"], "C-STORE\n");
        assert!(runtime.block_on(log.promise(Record::default())).is_err());
    }

    #[test]
    fn full_files_move_up_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let mut files = Files::new(folder.path(), 4, 2);
        for line in ["1234\n", "2\n", "34\n", "4567\n", "5678\n"] {
            files.append(line.as_bytes()).unwrap();
        }
        assert_eq!(read("audit.jsonl"), "5678\n");
        assert_eq!((read("audit.1.jsonl"), read("audit.2.jsonl")), ("4567\n".into(), "2\n34\n".into()));
        assert!(!folder.path().join("audit.3.jsonl").exists());
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("audit.jsonl"), "{\"a\":1}\n{\"b").unwrap();
        let mut files = Files::new(folder.path(), 1000, 2);
        files.append(b"{\"c\":1}\n").unwrap();
        let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"b\n{\"c\":1}\n");
    }
}
