//! What the catalogue says about a study, a series and an instance.

use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;

/// The three UIDs that place an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceUids {
    /// StudyInstanceUID (0020,000D).
    pub study_instance_uid: String,
    /// SeriesInstanceUID (0020,000E).
    pub series_instance_uid: String,
    /// SOPInstanceUID (0008,0018).
    pub sop_instance_uid: String,
}

impl InstanceUids {
    /// From the three UIDs, the study's first.
    pub fn new(study: &str, series: &str, sop: &str) -> Self {
        InstanceUids {
            study_instance_uid: study.to_owned(),
            series_instance_uid: series.to_owned(),
            sop_instance_uid: sop.to_owned(),
        }
    }

    pub(crate) fn are_valid(&self) -> bool {
        [&self.study_instance_uid, &self.series_instance_uid, &self.sop_instance_uid]
            .into_iter()
            .all(|uid| crate::uid::is_valid(uid))
    }
}

/// A study as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyEntry {
    /// StudyInstanceUID (0020,000D).
    pub study_instance_uid: String,
    /// PatientID (0010,0020); empty where the study has none.
    pub patient_id: String,
    /// Patient and study attributes in the DICOM JSON model (PS3.18 Annex F), as the study's first instance gave them.
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

/// A series as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesEntry {
    /// StudyInstanceUID (0020,000D).
    pub study_instance_uid: String,
    /// SeriesInstanceUID (0020,000E).
    pub series_instance_uid: String,
    /// Modality (0008,0060); empty where the series has none.
    pub modality: String,
    /// How many instances the series holds.
    pub instances: u64,
    /// Series attributes in the DICOM JSON model, as the series' first instance gave them.
    pub attributes: serde_json::Map<String, serde_json::Value>,
}

/// An instance as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceEntry {
    /// Where the instance belongs.
    pub uids: InstanceUids,
    /// SOPClassUID (0008,0016).
    pub sop_class_uid: String,
    /// TransferSyntaxUID (0002,0010) of the stored object.
    pub transfer_syntax_uid: String,
    /// The Part 10 object file. It is never changed while it exists; a deletion unlinks it.
    pub path: PathBuf,
    /// Bytes of that file.
    pub size: u64,
    /// Where in the file the data set begins: after preamble, prefix and file meta information.
    pub data_set_offset: u64,
    /// BLAKE3 of the data set's bytes, as hexadecimal digits.
    pub data_set_digest: String,
    /// InstanceNumber (0020,0013), where there is one.
    pub instance_number: Option<i64>,
    /// NumberOfFrames (0028,0008); 1 where it is absent.
    pub frames: u32,
    /// Its pixels, where they lie in the file as a client can use them.
    pub native_pixels: Option<NativePixels>,
}

/// Uncompressed pixels, little endian, and what the Image Pixel module (PS3.3 section C.7.6.3) says of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NativePixels {
    /// Where PixelData's (7FE0,0010) value lies: byte offsets in the object file.
    pub value: Range<u64>,
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// SamplesPerPixel (0028,0002); 1 where it is absent.
    pub samples_per_pixel: u16,
    /// BitsAllocated (0028,0100).
    pub bits_allocated: u16,
    /// BitsStored (0028,0101); as many as are allocated where it is absent.
    pub bits_stored: u16,
    /// PixelRepresentation (0028,0103).
    pub signed: bool,
    /// PhotometricInterpretation (0028,0004).
    pub photometric_interpretation: String,
}
