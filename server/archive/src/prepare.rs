//! Before the commit: each received object is verified and its bytes are synced, several at once.

use crate::{
    Incoming, StoreError, StoreFailure, StoreOutcome, StoreRequirements, budget::Share, error::is_full,
    part10::Inspected, shared::Shared, writer::Command,
};
use crossbeam_channel::{Receiver, Sender};
use std::{io, sync::mpsc};

/// Where an instance's answer goes. A caller that no longer waits is no failure.
pub(crate) type Answer = mpsc::SyncSender<Result<StoreOutcome, StoreFailure>>;

/// A received object, to be prepared.
pub(crate) struct Received {
    pub incoming: Incoming,
    pub requirements: StoreRequirements,
    pub answer: Answer,
}

/// A verified object whose bytes are synced.
pub(crate) struct Prepared {
    pub incoming: Incoming,
    pub inspected: Inspected,
    pub answer: Answer,
    /// Of the memory for what waits.
    pub share: Share,
}

/// Prepares objects until no more can come.
pub(crate) fn run(shared: &Shared, received: &Receiver<Received>, commands: &Sender<Command>) {
    for Received { mut incoming, requirements, answer } in received {
        match prepare(shared, &mut incoming, &requirements) {
            Ok(inspected) => {
                let share = shared.waiting.take(inspected.json.text.len() as u64);
                let prepared = Prepared { incoming, inspected, answer, share };
                if let Err(unsent) = commands.send(Command::Store(Box::new(prepared)))
                    && let Command::Store(prepared) = unsent.0
                {
                    let _ = prepared.answer.send(Err(crate::Error::Closed.into()));
                }
            }
            Err(failure) => {
                // A refusal leaves nothing behind by the time it is heard.
                drop(incoming);
                let _ = answer.send(Err(failure));
            }
        }
    }
}

fn prepare(
    shared: &Shared,
    incoming: &mut Incoming,
    requirements: &StoreRequirements,
) -> Result<Inspected, StoreFailure> {
    shared.refuse_if_broken()?;
    let inspected = incoming.inspect(&shared.limits());
    if let Some(error) = incoming.failure() {
        // The object is cut short by what failed, so that is the reason; but its identity may have arrived.
        return Err(match inspected {
            Err(failure) => StoreFailure { error, ..failure },
            Ok(inspected) => with_identity(error, &inspected),
        });
    }
    let inspected = inspected?;
    if let Some(wanted) = &requirements.study_instance_uid
        && *wanted != inspected.uids.study_instance_uid
    {
        let found = inspected.uids.study_instance_uid.clone();
        return Err(with_identity(StoreError::OtherStudy { wanted: wanted.clone(), found }, &inspected));
    }
    match incoming.sync() {
        Ok(()) => Ok(inspected),
        Err(error) => Err(with_identity(unsynced(error), &inspected)),
    }
}

fn unsynced(error: io::Error) -> StoreError {
    if is_full(&error) { StoreError::NoSpace } else { StoreError::Unreadable { offset: 0, source: error } }
}

/// A refusal that names the instance.
pub(crate) fn with_identity(error: StoreError, inspected: &Inspected) -> StoreFailure {
    StoreFailure {
        error,
        sop_class_uid: Some(inspected.sop_class_uid.clone()),
        sop_instance_uid: Some(inspected.uids.sop_instance_uid.clone()),
    }
}
