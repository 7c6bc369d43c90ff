//! Works on a queue for ever and says what is durable, line by line: what the crash test kills.
//!
//! `job_loop FOLDER`: enqueues jobs (`queued ID`), claims and finishes them (`finished ID`).

use engram_jobs::{NewJob, Queue, QueueOptions};
use std::{error::Error, io::Write, path::Path, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: job_loop FOLDER")?;
    let folder = Path::new(&folder);
    let db = sled::open(folder.join("db"))?;
    let options =
        QueueOptions { max_attempts: u32::MAX, max_finished: usize::MAX, ..QueueOptions::default() };
    let queue = Queue::open(db.open_tree("jobs")?, &folder.join("jobs.journal"), options)?;
    let say = |what: &str, id| {
        let mut out = std::io::stdout();
        writeln!(out, "{what} {id}").and_then(|()| out.flush())
    };
    loop {
        for _ in 0..2 {
            let job = queue.enqueue(NewJob::new("loop", serde_json::Value::Null))?;
            say("queued", job.id)?;
        }
        if let Some(claimed) = queue.claim(&["loop"], Duration::ZERO) {
            let id = claimed.job().id;
            claimed.stage("only", 2);
            claimed.progress(1);
            claimed.finish(Ok(serde_json::json!({"of": id})))?;
            say("finished", id)?;
        }
    }
}
