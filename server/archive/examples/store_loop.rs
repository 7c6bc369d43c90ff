//! Stores and deletes synthetic instances and says what is durable, line by line: what the crash test kills
//! and what a trace of the system calls is taken of.
//!
//! `store_loop FOLDER FIRST COUNT [SIDE]`: stores COUNT series of 8 slices of SIDE x SIDE pixels (COUNT 0:
//! for ever), numbered from FIRST, four series at once. Each line is `storing SOP`, `stored SOP`, `deleting
//! STUDY` or `deleted STUDY`; a line that ends in `ed` was acknowledged.

#[path = "../tests/common/mod.rs"]
mod common;

use common::Slice;
use engram_archive::{Archive, ArchiveOptions, StoreRequirements};
use std::{error::Error, io::Write, path::Path};

type Failure = Box<dyn Error + Send + Sync>;

fn say(what: &str, uid: &str) -> Result<(), Failure> {
    // One write a line, so that a trace shows when each acknowledgement left.
    std::io::stdout().lock().write_all(format!("{what} {uid}\n").as_bytes())?;
    Ok(())
}

/// Stores one series of a study of its own; deletes every third.
fn store_series(archive: &Archive, study: u32, side: u16) -> Result<(), Failure> {
    let mut tickets = Vec::new();
    for number in 1..=8 {
        let slice = Slice { side, ..Slice::new(study, 1, number) };
        let mut incoming = archive.incoming()?;
        incoming.write_all(&slice.bytes())?;
        say("storing", &slice.sop)?;
        tickets.push((archive.submit(incoming, &StoreRequirements::default()), slice.sop));
    }
    for (ticket, sop) in tickets {
        ticket.wait()?;
        say("stored", &sop)?;
    }
    if study.is_multiple_of(3) {
        let study = format!("2.25.{study}");
        say("deleting", &study)?;
        archive.delete_study(&study)?;
        say("deleted", &study)?;
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, first, count, rest @ ..] = arguments.as_slice() else {
        return Err("usage: store_loop FOLDER FIRST COUNT [SIDE]".into());
    };
    let (root, first, count) = (Path::new(root), first.parse::<u32>()?, count.parse::<u32>()?);
    let side = rest.first().map_or(Ok(16), |side| side.parse())?;
    let end = if count == 0 { u32::MAX } else { first + count };
    let db = sled::open(root.join("db"))?;
    let archive = Archive::open(root, &db, ArchiveOptions::new(root.join("db")))?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let archive = archive.clone();
                scope.spawn(move || {
                    (first + worker..end).step_by(4).try_for_each(|study| store_series(&archive, study, side))
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })
}
