"""Datasets as files (PS3.10 7): what as_dicom and dicom_seg have in common."""

import io

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from . import VERSION

IMPLEMENTATION_CLASS_UID = "2.25.326407926364023149716325904861239174512"
PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber")
"""Type 1 and 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)."""

PATIENT_AND_STUDY_OPTIONAL = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "OtherPatientIDs",
    "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod")
"""Optional ones that belong to what is made of the study's images, too."""


def written(dataset: Dataset) -> bytes:
    """The dataset as a Part 10 file in Explicit VR Little Endian, text in UTF-8."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION_CLASS_UID, f"ENGRAM {VERSION}"
    dataset.file_meta = meta
    buffer = io.BytesIO()
    if int(pydicom.__version__.split(".")[0]) >= 3:
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    else:
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        pydicom.dcmwrite(buffer, dataset, write_like_original=False)
    return buffer.getvalue()


def copy_patient_and_study(source: Dataset, target: Dataset) -> None:
    for keyword in PATIENT_AND_STUDY:
        setattr(target, keyword, source.get(keyword) or "")
    for keyword in PATIENT_AND_STUDY_OPTIONAL:
        if source.get(keyword):
            setattr(target, keyword, source.get(keyword))
