//! Storage commitment as its SCU (PS3.4 J.3.2): a node is asked to keep what it was sent, and answers in its own time, on
//! the association that it was asked on or on one that it asks us for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;
use parking_lot::{Condvar, Mutex};

use super::{Agreed, Outgoing};
use crate::command::{Response, action_request};
use crate::commitment::{self, MAX_BYTES, Report, Request};
use crate::message::{Message, receive_message, send_command, send_message};
use crate::node::RemoteNode;
use crate::{CommandField, Error, RefusedSnafu, SilentSnafu, UnexpectedSnafu};

/// How long the association stays that the request went out on, for nodes that answer there.
const STAY: Duration = Duration::from_secs(5);
/// How often is looked whether the answer came, here or there, and whether to go on.
const LOOK: Duration = Duration::from_millis(100);

/// Requests for storage commitment that nodes have not answered yet. What one answers on an association of its own comes
/// here, through the SCP.
#[derive(Debug, Default)]
pub struct Commitments {
    /// By Transaction UID; the report once there is one.
    waiting: Mutex<BTreeMap<String, Option<Report>>>,
    answered: Condvar,
}

impl Commitments {
    /// Takes a report. False where nobody waits for it.
    pub(crate) fn take(&self, report: Report) -> bool {
        let mut waiting = self.waiting.lock();
        let Some(place) = waiting.get_mut(report.transaction_uid()) else { return false };
        *place = Some(report);
        self.answered.notify_all();
        true
    }

    fn expect(&self, transaction_uid: &str) -> Expected<'_> {
        self.waiting.lock().insert(transaction_uid.to_owned(), None);
        Expected { commitments: self, transaction_uid: transaction_uid.to_owned() }
    }
}

/// A request that is waited on; forgotten when this goes.
struct Expected<'a> {
    commitments: &'a Commitments,
    transaction_uid: String,
}

impl Expected<'_> {
    /// The report, if it comes within `patience`.
    fn wait(&self, patience: Duration) -> Option<Report> {
        let mut waiting = self.commitments.waiting.lock();
        let place =
            |waiting: &BTreeMap<_, Option<Report>>| waiting.get(&self.transaction_uid).cloned().flatten();
        if let Some(report) = place(&waiting) {
            return Some(report);
        }
        self.commitments.answered.wait_for(&mut waiting, patience);
        place(&waiting)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.commitments.waiting.lock().remove(&self.transaction_uid);
    }
}

impl Outgoing {
    /// Asks a node to keep instances (N-ACTION), and waits for what it says (N-EVENT-REPORT), for `patience` at the most
    /// and for as long as `go_on` says so. `instances` are SOP class and SOP instance UIDs, `transaction_uid` is new.
    ///
    /// # Errors
    /// [`Error::Refused`] where the node does not take the request, [`Error::Silent`] where no report came.
    pub fn request_commitment(
        node: &RemoteNode,
        commitments: &Commitments,
        transaction_uid: &str,
        instances: Vec<(String, String)>,
        patience: Duration,
        go_on: impl Fn() -> bool,
    ) -> Result<Report, Error> {
        let deadline = Instant::now() + patience;
        let expected = commitments.expect(transaction_uid);
        let request = Request { transaction_uid: transaction_uid.to_owned(), instances };
        if let Some(report) = Self::to_commit(node)?.commit(&request, &expected, deadline)? {
            return Ok(report);
        }
        while Instant::now() < deadline && go_on() {
            if let Some(report) = expected.wait(LOOK) {
                return Ok(report);
            }
        }
        SilentSnafu.fail()
    }

    fn to_commit(node: &RemoteNode) -> Result<Self, Error> {
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        Self::establish(super::options(node).with_abstract_syntax(class), node)
    }

    /// Sends the request, and stays a while for an answer on this association.
    fn commit(
        mut self,
        request: &Request,
        expected: &Expected<'_>,
        deadline: Instant,
    ) -> Result<Option<Report>, Error> {
        let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        let agreed = self.agreed(class)?;
        let message = self.next_message();
        let action = action_request(message, class, commitment::SOP_INSTANCE, commitment::REQUEST)?;
        let data_set = request.data_set(&agreed.transfer_syntax)?;
        send_message(self.link.as_mut(), agreed.context, &action, &data_set)?;
        self.taken(message)?;
        let until = deadline.min(Instant::now() + STAY);
        while Instant::now() < until {
            if let Some(report) = expected.wait(Duration::ZERO) {
                self.release()?;
                return Ok(Some(report));
            }
            if self.link.has_received(LOOK)? {
                let report = self.hear(&agreed, &request.transaction_uid)?;
                self.release()?;
                return Ok(Some(report));
            }
        }
        // A report may cross the release; then the node gets no answer to it, and tells it again.
        if let Err(error) = self.release() {
            tracing::debug!(%error, "an association for storage commitment did not end in good order");
        }
        Ok(None)
    }

    /// The node's answer to the N-ACTION.
    fn taken(&mut self, message: u16) -> Result<(), Error> {
        let Message { command, .. } = receive_message(self.link.as_mut(), MAX_BYTES)?;
        match command.status {
            Some(0) if command.field == CommandField::ActionResponse && command.message_id == message => {
                Ok(())
            }
            Some(status) if command.field == CommandField::ActionResponse => {
                RefusedSnafu { status, comment: command.comment }.fail()
            }
            _ => UnexpectedSnafu { what: "something else than the response" }.fail(),
        }
    }

    /// A report on this association, which is answered.
    fn hear(&mut self, agreed: &Agreed, transaction_uid: &str) -> Result<Report, Error> {
        let Message { context, command, data_set } = receive_message(self.link.as_mut(), MAX_BYTES)?;
        if command.field != CommandField::EventReport {
            return UnexpectedSnafu { what: "something else than the report" }.fail();
        }
        let report = Report::read(&data_set, &agreed.transfer_syntax)?;
        if report.transaction_uid() != transaction_uid {
            return UnexpectedSnafu { what: "the report of another transaction" }.fail();
        }
        send_command(self.link.as_mut(), context, &command.response(&Response::of(0))?)?;
        Ok(report)
    }
}
