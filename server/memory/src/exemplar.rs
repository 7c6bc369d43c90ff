//! What an exemplar is.
//!
//! An annotated slice has one retrieval vector, shared by every label of the SEG that annotates it: an
//! [`ExemplarSlice`] with a [`SliceLabel`] each. A label with no pixel on a slice of a complete annotation is a
//! negative: `present` is false and its memory is that of an empty mask, of which a slice has only one, whatever
//! the number of its negatives.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::{Array1, Array3};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::pack::{Location, Shape};

/// Identity of an [`ExemplarSlice`], never used twice in a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SliceId(pub u64);

/// Identity of an [`Exemplar`]: a label on a slice. Written `SLICE-ENTRY`, such as `17-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExemplarId {
    /// The slice.
    pub slice: SliceId,
    /// The label's number on that slice; it stays when other labels of the slice go.
    pub entry: u16,
}

impl fmt::Display for ExemplarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.slice.0, self.entry)
    }
}

impl FromStr for ExemplarId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (slice, entry) = text.split_once('-')?;
            Some(Self { slice: SliceId(slice.parse().ok()?), entry: entry.parse().ok()? })
        };
        parse().ok_or_else(|| Error::ParseExemplarId { text: text.to_owned() })
    }
}

/// How much of the slice a memory was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// The whole slice.
    Whole,
    /// The part around the object, [`SliceLabel::crop`].
    Crop,
}

/// The image a slice was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentity {
    /// Study Instance UID.
    pub study_instance_uid: String,
    /// Series Instance UID.
    pub series_instance_uid: String,
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Frame number in the instance, from 1.
    pub frame: u32,
    /// Patient ID, empty where the file has none.
    pub patient_id: String,
    /// Modality, such as `CT`.
    pub modality: String,
}

/// A rectangle on a slice, in pixels of its native grid: row and column of its corner, then its extent. It may
/// reach beyond the slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rectangle {
    /// First row.
    pub row: f32,
    /// First column.
    pub column: f32,
    /// Number of rows.
    pub rows: f32,
    /// Number of columns.
    pub columns: f32,
}

/// A label as its annotation wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelDefinition {
    /// Stable text of its coded identity; labels are compared by it.
    pub key: String,
    /// Its meaning, for people; never compared.
    pub name: String,
    /// Whatever the caller needs to write the label again, such as its codes as JSON. Opaque to the bank.
    pub codes: String,
}

/// An annotated slice in the bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExemplarSlice {
    /// Its identity.
    pub id: SliceId,
    /// The image.
    pub image: ImageIdentity,
    /// Its index along the volume's normal, from 0.
    pub slice_index: u32,
    /// The same as a fraction of the volume's extent, 0..1.
    pub slice_position: f32,
    /// The collection it belongs to.
    pub collection: String,
    /// The bundle that its vector and memories were computed with.
    pub bundle_id: String,
    /// The SEG that annotates it.
    pub seg_sop_instance_uid: String,
    /// When it was made, seconds since 1970, as the caller said.
    pub created: u64,
    /// Its labels, negatives included.
    pub labels: Vec<SliceLabel>,
    /// The pack that holds its memories.
    pub(crate) pack: u64,
    /// The memory of the empty mask, shared by its negatives.
    pub(crate) empty: Option<Location>,
}

/// A label on an annotated slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceLabel {
    /// Its number on the slice, see [`ExemplarId::entry`].
    pub entry: u16,
    /// The label's key.
    pub label_key: String,
    /// Whether it has pixels on this slice; if not, this is a negative.
    pub present: bool,
    /// Fraction of the slice's pixels it covers, 0..1.
    pub area_fraction: f32,
    /// What [`View::Crop`] shows, where there is such a memory.
    pub crop: Option<Rectangle>,
    /// Where its memory of the whole slice lies; none for negatives.
    pub(crate) whole: Option<Location>,
    /// Where its memory of the crop lies.
    pub(crate) close: Option<Location>,
}

/// One label on one annotated slice: what the method conditions on.
#[derive(Debug, Clone)]
pub struct Exemplar {
    /// Its identity.
    pub id: ExemplarId,
    /// The slice.
    pub slice: Arc<ExemplarSlice>,
    /// The label on it.
    pub label: SliceLabel,
}

/// What a slice is remembered by.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Memory features `[M, h, h]`.
    pub features: Array3<f32>,
    /// Object pointer, for bundles that use them.
    pub pointer: Option<Array1<f32>>,
}

impl Memory {
    /// Numbers it consists of.
    pub fn numbers(&self) -> usize {
        self.features.len() + self.pointer.as_ref().map_or(0, Array1::len)
    }

    pub(crate) fn has(&self, shape: Shape) -> bool {
        let pointer = self.pointer.as_ref().map_or(0, Array1::len);
        self.features.shape() == shape.features && pointer == shape.pointer
    }
}

impl From<Array3<f32>> for Memory {
    fn from(features: Array3<f32>) -> Self {
        Self { features, pointer: None }
    }
}

/// A slice to be taken into the bank.
#[derive(Debug, Clone)]
pub struct NewSlice {
    /// The image.
    pub image: ImageIdentity,
    /// Its index along the volume's normal, from 0.
    pub slice_index: u32,
    /// The same as a fraction of the volume's extent, 0..1.
    pub slice_position: f32,
    /// The collection it belongs to.
    pub collection: String,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// Its retrieval vector; the bank normalises it.
    pub vector: Vec<f32>,
    /// The labels that have pixels on it.
    pub present: Vec<NewLabel>,
    /// The labels that are known to have none.
    pub absent: Vec<NewAbsence>,
    /// Memory of the empty mask; needed where `absent` names a label.
    pub empty: Option<Memory>,
}

/// A label that has pixels on a slice to be taken into the bank.
#[derive(Debug, Clone)]
pub struct NewLabel {
    /// The label's key.
    pub label_key: String,
    /// Fraction of the slice's pixels it covers, 0..1.
    pub area_fraction: f32,
    /// Its memory from the whole slice.
    pub whole: Memory,
    /// What a closer look at it shows.
    pub crop: Option<NewCrop>,
}

/// A label that is known to have no pixel on a slice to be taken into the bank.
#[derive(Debug, Clone)]
pub struct NewAbsence {
    /// The label's key.
    pub label_key: String,
    /// What a closer look at where its volume has it shows here.
    pub crop: Option<NewCrop>,
}

/// A part of a slice to be taken into the bank.
#[derive(Debug, Clone)]
pub struct NewCrop {
    /// The part.
    pub rectangle: Rectangle,
    /// Its memory.
    pub memory: Memory,
}
