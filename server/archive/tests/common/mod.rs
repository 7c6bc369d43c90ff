//! Synthetic objects and an archive in a temporary folder.
#![allow(clippy::unwrap_used, dead_code)]

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use engram_archive::{Archive, ArchiveOptions, Incoming, StoreFailure, StoreOutcome, StoreRequirements};
use std::{io::Write, path::Path};

/// What distinguishes one synthetic CT slice from another.
#[derive(Clone, Debug)]
pub struct Slice {
    pub patient: String,
    pub study: String,
    pub series: String,
    pub sop: String,
    pub number: i32,
    pub side: u16,
    pub fill: u16,
}

impl Slice {
    /// Slice `number` of series `series` of study `study`, 16 x 16 pixels.
    pub fn new(study: u32, series: u32, number: i32) -> Self {
        Slice {
            patient: format!("P{study}"),
            study: format!("2.25.{study}"),
            series: format!("2.25.{study}.{series}"),
            sop: format!("2.25.{study}.{series}.{number}"),
            number,
            side: 16,
            fill: 7,
        }
    }

    pub fn object(&self) -> InMemDicomObject {
        let text = |tag: Tag, vr: VR, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let short = |tag: Tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
        let pixels: Vec<u16> = vec![self.fill; usize::from(self.side) * usize::from(self.side)];
        InMemDicomObject::from_element_iter([
            text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
            text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, &self.sop),
            text(tags::STUDY_DATE, VR::DA, "20240229"),
            text(tags::STUDY_TIME, VR::TM, "101500"),
            text(tags::ACCESSION_NUMBER, VR::SH, &format!("A{}", self.patient)),
            text(tags::MODALITY, VR::CS, "CT"),
            text(tags::STUDY_DESCRIPTION, VR::LO, "Synthetic"),
            text(tags::PATIENT_NAME, VR::PN, &format!("Bench^{}", self.patient)),
            text(tags::PATIENT_ID, VR::LO, &self.patient),
            text(tags::SLICE_THICKNESS, VR::DS, "2.50"),
            text(tags::STUDY_INSTANCE_UID, VR::UI, &self.study),
            text(tags::SERIES_INSTANCE_UID, VR::UI, &self.series),
            text(tags::INSTANCE_NUMBER, VR::IS, &self.number.to_string()),
            short(tags::SAMPLES_PER_PIXEL, 1),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            short(tags::ROWS, self.side),
            short(tags::COLUMNS, self.side),
            short(tags::BITS_ALLOCATED, 16),
            short(tags::BITS_STORED, 16),
            short(tags::HIGH_BIT, 15),
            short(tags::PIXEL_REPRESENTATION, 0),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())),
        ])
    }

    /// As a Part 10 file in explicit VR little endian.
    pub fn bytes(&self) -> Vec<u8> {
        part10(self.object(), uids::EXPLICIT_VR_LITTLE_ENDIAN)
    }
}

/// An object as a Part 10 file.
pub fn part10(object: InMemDicomObject, transfer_syntax: &str) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(transfer_syntax);
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

/// The sequence element `(0040,0275)` with one item.
pub fn request_attributes(id: &str) -> DataElement<InMemDicomObject> {
    let item = InMemDicomObject::from_element_iter([DataElement::new(
        tags::SCHEDULED_PROCEDURE_STEP_ID,
        VR::SH,
        dicom_value!(Str, id),
    )]);
    DataElement::new(
        tags::REQUEST_ATTRIBUTES_SEQUENCE,
        VR::SQ,
        dicom_core::value::DataSetSequence::from(vec![item]),
    )
}

/// Opens the archive in `root`, with its database beside it.
pub fn open(root: &Path) -> Archive {
    open_with(root, |_| {})
}

/// Opens the database. One that was open before may be locked for a moment yet: threads of its own still let go of it.
pub fn database(root: &Path) -> sled::Db {
    for _ in 0..100 {
        match sled::open(root.join("db")) {
            Err(sled::Error::Io(_)) => std::thread::sleep(std::time::Duration::from_millis(50)),
            opened => return opened.unwrap(),
        }
    }
    sled::open(root.join("db")).unwrap()
}

/// Opens the archive with other options.
pub fn open_with(root: &Path, change: impl FnOnce(&mut ArchiveOptions)) -> Archive {
    let db = database(root);
    let mut options = ArchiveOptions::new(root.join("db"));
    change(&mut options);
    Archive::open(root, &db, options).unwrap()
}

/// Receives bytes, as far as the archive takes them.
pub fn receive(archive: &Archive, bytes: &[u8]) -> Incoming {
    let mut incoming = archive.incoming().unwrap();
    let _ = incoming.write_all(bytes);
    incoming
}

pub fn store(archive: &Archive, bytes: &[u8]) -> Result<StoreOutcome, StoreFailure> {
    archive.store(receive(archive, bytes), &StoreRequirements::default())
}

/// Fails unless catalogue, files and metadata agree, digests included.
pub fn assert_consistent(archive: &Archive) {
    let report = archive.check(true, &mut |_| {}).unwrap();
    assert_eq!(report.findings, [], "the archive is not consistent");
    assert_eq!(report.statistics, archive.statistics().unwrap());
}
