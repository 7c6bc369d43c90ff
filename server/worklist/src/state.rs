//! The states of a workitem and how it changes from one to another (PS3.4 CC.1.1).
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part04.html#sect_CC.1.1>

use crate::{
    Error, Result,
    error::{
        AlreadyInProgressSnafu, EndedSnafu, NeverScheduledAgainSnafu, NotInProgressSnafu,
        TransactionMissingSnafu, TransactionWrongSnafu,
    },
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Procedure Step State (0074,1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// It waits for a performer.
    #[serde(rename = "SCHEDULED")]
    Scheduled,
    /// Somebody performs it.
    #[serde(rename = "IN PROGRESS")]
    InProgress,
    /// It was done.
    #[serde(rename = "COMPLETED")]
    Completed,
    /// It was given up.
    #[serde(rename = "CANCELED")]
    Canceled,
}

impl State {
    /// Every state.
    pub const ALL: [State; 4] = [State::Scheduled, State::InProgress, State::Completed, State::Canceled];

    /// The state of that name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The value of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            State::Scheduled => "SCHEDULED",
            State::InProgress => "IN PROGRESS",
            State::Completed => "COMPLETED",
            State::Canceled => "CANCELED",
        }
    }

    /// Whether it will never change again.
    pub fn is_final(self) -> bool {
        matches!(self, State::Completed | State::Canceled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The Transaction UID that came, beside the one that the performer claimed the workitem with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// None came.
    Missing,
    /// Another one came.
    Wrong,
    /// It is the one, or the workitem has none yet.
    Right,
}

impl Lock {
    pub(crate) fn compare(kept: Option<&str>, given: Option<&str>) -> Lock {
        match (kept, given) {
            (_, None) => Lock::Missing,
            (None, Some(_)) => Lock::Right,
            (Some(kept), Some(given)) if kept == given => Lock::Right,
            _ => Lock::Wrong,
        }
    }
}

/// What a request to change the state comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The state changes.
    Change,
    /// It is that state already: B304H or B306H.
    Already,
}

/// Table CC.1.1-2: what a request for the state `wanted` comes to in the state `current`.
pub(crate) fn transition(uid: &str, current: State, wanted: State, lock: Lock) -> Result<Transition> {
    use State::{Canceled, Completed, InProgress, Scheduled};
    let ended = |state| EndedSnafu { uid, state }.fail();
    match (wanted, lock, current) {
        (Scheduled, _, _) => NeverScheduledAgainSnafu { uid }.fail(),
        (_, Lock::Missing, _) => TransactionMissingSnafu { uid }.fail(),
        (InProgress, _, Scheduled) => Ok(Transition::Change),
        (InProgress, _, InProgress) => AlreadyInProgressSnafu { uid }.fail(),
        (InProgress, _, Completed | Canceled) => ended(current),
        (_, Lock::Wrong, _) => TransactionWrongSnafu { uid }.fail(),
        (_, Lock::Right, Scheduled) => NotInProgressSnafu { uid }.fail(),
        (_, Lock::Right, InProgress) => Ok(Transition::Change),
        (_, Lock::Right, _) if wanted == current => Ok(Transition::Already),
        (_, Lock::Right, Completed | Canceled) => ended(current),
    }
}

/// Whether an update is let through in that state (Table CC.1.1-2, N-SET).
pub(crate) fn update(uid: &str, current: State, lock: Lock) -> Result<(), Error> {
    match (current, lock) {
        (State::Completed | State::Canceled, _) => EndedSnafu { uid, state: current }.fail(),
        (State::Scheduled, Lock::Missing) | (State::InProgress, Lock::Right) => Ok(()),
        (State::Scheduled, _) => Err(Error::NotClaimed { uid: uid.to_owned() }),
        (State::InProgress, Lock::Missing) => TransactionMissingSnafu { uid }.fail(),
        (State::InProgress, Lock::Wrong) => TransactionWrongSnafu { uid }.fail(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Canceled, Completed, InProgress, Scheduled};

    /// The status of PS3.4 that an outcome stands for.
    fn status(outcome: Result<Transition>, wanted: State) -> &'static str {
        match outcome {
            Ok(Transition::Change) => "change",
            Ok(Transition::Already) if wanted == Canceled => "B304",
            Ok(Transition::Already) => "B306",
            Err(Error::Ended { .. }) => "C300",
            Err(Error::TransactionMissing { .. } | Error::TransactionWrong { .. }) => "C301",
            Err(Error::AlreadyInProgress { .. }) => "C302",
            Err(Error::NeverScheduledAgain { .. }) => "C303",
            Err(Error::NotInProgress { .. }) => "C310",
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn states_change_as_the_table_says() {
        use Lock::{Missing, Right, Wrong};
        for (wanted, lock, statuses) in [
            (Scheduled, Right, ["C303", "C303", "C303", "C303"]),
            (Scheduled, Missing, ["C303", "C303", "C303", "C303"]),
            (InProgress, Right, ["change", "C302", "C300", "C300"]),
            (InProgress, Wrong, ["change", "C302", "C300", "C300"]),
            (InProgress, Missing, ["C301", "C301", "C301", "C301"]),
            (Completed, Right, ["C310", "change", "B306", "C300"]),
            (Completed, Wrong, ["C301", "C301", "C301", "C301"]),
            (Completed, Missing, ["C301", "C301", "C301", "C301"]),
            (Canceled, Right, ["C310", "change", "C300", "B304"]),
            (Canceled, Wrong, ["C301", "C301", "C301", "C301"]),
            (Canceled, Missing, ["C301", "C301", "C301", "C301"]),
        ] {
            for (current, expected) in State::ALL.into_iter().zip(statuses) {
                let found = status(transition("1.2", current, wanted, lock), wanted);
                assert_eq!(found, expected, "{current} to {wanted}, {lock:?}");
            }
        }
    }

    #[test]
    fn updates_need_the_lock_while_somebody_holds_it() {
        use Lock::{Missing, Right, Wrong};
        for (lock, let_through) in [
            (Missing, [true, false, false, false]),
            (Right, [false, true, false, false]),
            (Wrong, [false, false, false, false]),
        ] {
            for (current, expected) in State::ALL.into_iter().zip(let_through) {
                assert_eq!(update("1.2", current, lock).is_ok(), expected, "{current}, {lock:?}");
            }
        }
    }
}
