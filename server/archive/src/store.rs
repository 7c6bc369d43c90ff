//! Storing: what is asked for and what is answered.

use crate::{InstanceUids, StoreFailure};

/// What the request demands of an instance beyond being storable.
#[derive(Clone, Debug, Default)]
pub struct StoreRequirements {
    /// The study of the request's path; an instance of another study is refused.
    pub study_instance_uid: Option<String>,
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOutcome {
    /// It is stored now, synced.
    Stored(StoredInstance),
    /// The same data set was there already, synced; nothing was stored.
    AlreadyStored(StoredInstance),
}

impl StoreOutcome {
    /// The instance, newly stored or not.
    pub fn instance(&self) -> &StoredInstance {
        match self {
            StoreOutcome::Stored(instance) | StoreOutcome::AlreadyStored(instance) => instance,
        }
    }
}

/// What the rooms above need to know of an instance that is in the archive.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredInstance {
    /// Where it belongs.
    pub uids: InstanceUids,
    /// PatientID (0010,0020); empty where there is none.
    pub patient_id: String,
    /// SOPClassUID (0008,0016).
    pub sop_class_uid: String,
    /// Modality (0008,0060); empty where there is none.
    pub modality: String,
    /// TransferSyntaxUID (0002,0010).
    pub transfer_syntax_uid: String,
    /// Bytes of the object file.
    pub size: u64,
}

/// A store under way. Dropping it does not take the instance back.
#[derive(Debug)]
pub struct StoreTicket {
    pub(crate) answer: std::sync::mpsc::Receiver<Result<StoreOutcome, StoreFailure>>,
}

impl StoreTicket {
    /// Blocks until the instance is synced or refused.
    pub fn wait(self) -> Result<StoreOutcome, StoreFailure> {
        self.answer.recv().unwrap_or_else(|_| Err(crate::Error::Closed.into()))
    }
}
