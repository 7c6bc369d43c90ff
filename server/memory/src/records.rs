//! The bank's records in its sled tree.
//!
//! One tree, so that one batch changes all of it or nothing. Keys: `s` and a slice's identity (u64, big-endian) ->
//! [`ExemplarSlice`] as JSON; `v` and the identity -> its unit vector, f32 little-endian; `l` and a label's key ->
//! [`LabelDefinition`] as JSON; `next` -> the next identity, u64 big-endian; `generation` -> 16 random bytes, new
//! whenever the bank is emptied, so that an index of earlier slices is never taken for one of these.

use sled::{Batch, IVec, Tree};
use snafu::{OptionExt, ResultExt};
use uuid::Uuid;

use crate::Result;
use crate::error::{DatabaseSnafu, RecordLengthSnafu, RecordSnafu};
use crate::exemplar::{ExemplarSlice, LabelDefinition};

const SLICE: u8 = b's';
const VECTOR: u8 = b'v';
const LABEL: u8 = b'l';
const NEXT: &[u8] = b"next";
const GENERATION: &[u8] = b"generation";
/// Records removed between two flushes when the bank is emptied: sled 0.34 can stand still for ever when its log
/// shrinks under many buffers that wait to be written.
const PIECE: usize = 1000;

/// The records of a bank.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    tree: Tree,
}

/// Changes that are made together.
#[derive(Default)]
pub(crate) struct Changes {
    batch: Batch,
}

impl Changes {
    pub(crate) fn put_slice(&mut self, slice: &ExemplarSlice) -> Result<()> {
        self.batch.insert(&key(SLICE, slice.id.0), json(slice, "slice")?);
        Ok(())
    }

    pub(crate) fn put_vector(&mut self, id: u64, vector: &[f32]) {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.batch.insert(&key(VECTOR, id), bytes);
    }

    pub(crate) fn put_label(&mut self, label: &LabelDefinition) -> Result<()> {
        self.batch.insert(label_key(&label.key), json(label, "label")?);
        Ok(())
    }

    pub(crate) fn put_next(&mut self, next: u64) {
        self.batch.insert(NEXT, &next.to_be_bytes());
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.batch.remove(&key(SLICE, id));
        self.batch.remove(&key(VECTOR, id));
    }
}

impl Records {
    pub(crate) fn new(tree: Tree) -> Self {
        Self { tree }
    }

    /// Makes the changes, all or none; they survive a crash when this returns.
    pub(crate) fn commit(&self, changes: Changes) -> Result<()> {
        let action = "write exemplars";
        self.tree.apply_batch(changes.batch).context(DatabaseSnafu { action })?;
        self.tree.flush().context(DatabaseSnafu { action })?;
        Ok(())
    }

    /// Every slice's record that can be understood, in the order of identities; the others are reported.
    pub(crate) fn slices(&self) -> impl Iterator<Item = Result<ExemplarSlice>> {
        self.tree.scan_prefix([SLICE]).map(|entry| {
            let (key, value) = entry.context(DatabaseSnafu { action: "read exemplars" })?;
            parse(&key, &value)
        })
    }

    /// The slice that came last.
    pub(crate) fn latest_slice(&self) -> Result<Option<ExemplarSlice>> {
        let latest = self.tree.scan_prefix([SLICE]).next_back();
        let latest = latest.transpose().context(DatabaseSnafu { action: "read exemplars" })?;
        latest.map(|(key, value)| parse(&key, &value)).transpose()
    }

    pub(crate) fn slice(&self, id: u64) -> Result<Option<ExemplarSlice>> {
        let key = key(SLICE, id);
        let value = self.tree.get(key).context(DatabaseSnafu { action: "read an exemplar" })?;
        value.map(|value| parse(&key, &value)).transpose()
    }

    pub(crate) fn vector(&self, id: u64) -> Result<Option<Vec<f32>>> {
        let value = self.tree.get(key(VECTOR, id)).context(DatabaseSnafu { action: "read a vector" })?;
        Ok(value.map(|bytes| bytes.as_chunks::<4>().0.iter().map(|n| f32::from_le_bytes(*n)).collect()))
    }

    pub(crate) fn label(&self, label: &str) -> Result<Option<LabelDefinition>> {
        let key = label_key(label);
        let value = self.tree.get(&key).context(DatabaseSnafu { action: "read a label" })?;
        value.map(|value| parse(&key, &value)).transpose()
    }

    /// The identity that the next slice gets.
    pub(crate) fn next(&self) -> Result<u64> {
        let value = self.tree.get(NEXT).context(DatabaseSnafu { action: "read the next identity" })?;
        let Some(value) = value else { return Ok(0) };
        let bytes = value.as_ref().try_into().ok().context(RecordLengthSnafu { key: "next" })?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The bank's generation, made on the first call.
    pub(crate) fn generation(&self) -> Result<Uuid> {
        let action = "read the generation";
        if let Some(value) = self.tree.get(GENERATION).context(DatabaseSnafu { action })? {
            return Uuid::from_slice(&value).ok().context(RecordLengthSnafu { key: "generation" });
        }
        self.renew()
    }

    /// Removes everything; identities start anew under a new generation.
    pub(crate) fn clear(&self) -> Result<Uuid> {
        let action = "empty the bank";
        let keys: Vec<IVec> =
            self.tree.iter().keys().collect::<Result<_, _>>().context(DatabaseSnafu { action })?;
        for piece in keys.chunks(PIECE) {
            let mut batch = Batch::default();
            piece.iter().for_each(|key| batch.remove(key));
            self.tree.apply_batch(batch).context(DatabaseSnafu { action })?;
            self.tree.flush().context(DatabaseSnafu { action })?;
        }
        self.renew()
    }

    fn renew(&self) -> Result<Uuid> {
        let action = "write the generation";
        let generation = Uuid::new_v4();
        self.tree.insert(GENERATION, generation.as_bytes()).context(DatabaseSnafu { action })?;
        self.tree.flush().context(DatabaseSnafu { action })?;
        Ok(generation)
    }
}

fn key(kind: u8, id: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

fn label_key(label: &str) -> Vec<u8> {
    [&[LABEL], label.as_bytes()].concat()
}

fn json<T: serde::Serialize>(value: &T, key: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context(RecordSnafu { key })
}

fn parse<T: serde::de::DeserializeOwned>(key: &[u8], value: &IVec) -> Result<T> {
    serde_json::from_slice(value).with_context(|_| RecordSnafu { key: hex::encode(key) })
}
