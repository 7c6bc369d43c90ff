"""A volume that is not from DICOM (NRRD, NIfTI) as a DICOM series, with the identifiers that the user consented to."""

import datetime
import hashlib
from typing import List, NamedTuple, Tuple

import numpy as np
from pydicom.dataset import Dataset

from . import part10
from .dicom_seg import MANUFACTURER, MODEL, decimal
from .errors import EngramError
from .geometry import FLIP_RAS

SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
"""Modalities that a volume can be written as: what its numbers mean is known of these."""

MOST_LEVELS = 65535
MOST_CHARACTERS = 64


class Identifiers(NamedTuple):
    """What the series is to say of the patient, and what was shown to the user before. Dates are YYYYMMDD, or empty."""

    patient_name: str
    patient_id: str
    modality: str
    birth_date: str = ""
    sex: str = ""
    study_description: str = ""
    series_description: str = ""


def check(identifiers: Identifiers) -> None:
    """Raises `EngramError` where they are not what a series can say."""
    if identifiers.modality not in SOP_CLASSES:
        raise EngramError("other_modality", f"A volume cannot be written as {identifiers.modality or 'nothing'}.",
                          f"Choose one of {', '.join(SOP_CLASSES)}.")
    if not identifiers.patient_id.strip():
        raise EngramError("bad_request", "The patient has no ID.", "Enter one: it keeps patients apart.")
    if identifiers.birth_date and not _is_date(identifiers.birth_date):
        raise EngramError("bad_request", f'"{identifiers.birth_date}" is no date.', "Write it as YYYYMMDD, or leave it empty.")
    for text in (identifiers.patient_name, identifiers.patient_id, identifiers.study_description, identifiers.series_description):
        # LO and PN have room for so many (PS3.5 6.2), and a backslash would begin another value.
        if len(text) > MOST_CHARACTERS or "\\" in text:
            raise EngramError("bad_request", f'"{text}" is too long, or has a backslash.',
                              f"Use at most {MOST_CHARACTERS} characters, and no backslash.")


def _is_date(text: str) -> bool:
    try:
        return len(text) == 8 and bool(datetime.datetime.strptime(text, "%Y%m%d"))
    except ValueError:
        return False


def write(voxels: np.ndarray, matrix: np.ndarray, identifiers: Identifiers) -> List[Tuple[str, bytes]]:
    """A series of the voxels `[k, j, i]`, whose matrix takes i, j, k to RAS: for each slice k its SOP Instance UID, and its file.

    The same volume with the same identifiers gets the same UIDs, so that it is stored once however often it is sent.
    Numbers are kept to 16 bits: exactly where they are whole, else by rescaling.

    Raises `EngramError` for identifiers that `check` refuses, a volume that is not of one number a voxel, has
    none but these (NaN), or whose axes are not at right angles.
    """
    check(identifiers)
    if voxels.ndim != 3 or not np.isfinite(voxels).all():
        raise EngramError("not_a_volume", "The volume is not of one finite number a voxel.", "Choose another volume.")
    lps = FLIP_RAS @ np.asarray(matrix, float)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise EngramError("not_a_volume", "The volume's axes are not at right angles.",
                          "Harden its transform and resample it (module Crop Volume).")
    stored, slope, intercept = _stored(voxels)
    identity = _identity(voxels, lps, identifiers)
    header = _header(identifiers, identity)
    return [
        _slice(header, identity, k, plane, lps, spacing, directions, slope, intercept)
        for k, plane in enumerate(stored)]


def _stored(voxels: np.ndarray) -> Tuple[np.ndarray, float, float]:
    """Voxels as int16, and what takes them back: slope, intercept."""
    low, high = float(voxels.min()), float(voxels.max())
    limits = np.iinfo(np.int16)
    is_whole = np.issubdtype(voxels.dtype, np.integer) or bool((voxels == np.rint(voxels)).all())
    if is_whole and limits.min <= low and high <= limits.max:
        return voxels.astype("<i2"), 1.0, 0.0
    # The text of a DS has room for fewer digits than a float: what is written is what is reckoned with.
    slope = float(decimal((high - low) / MOST_LEVELS or 1.0))
    intercept = float(decimal(low - limits.min * slope))
    return np.clip(np.rint((voxels - intercept) / slope), limits.min, limits.max).astype("<i2"), slope, intercept


def _identity(voxels: np.ndarray, lps: np.ndarray, identifiers: Identifiers) -> bytes:
    digest = hashlib.sha256(repr((identifiers, voxels.shape, voxels.dtype.str)).encode())
    digest.update(np.ascontiguousarray(lps).tobytes())
    digest.update(np.ascontiguousarray(voxels).tobytes())
    return digest.digest()


def _uid(identity: bytes, *parts: object) -> str:
    """A UID of the form of a UUID (PS3.5 B.2), the same for the same parts."""
    digest = hashlib.sha256(identity + repr(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _header(identifiers: Identifiers, identity: bytes) -> Dataset:
    """What all slices have in common."""
    one = Dataset()
    one.SOPClassUID, one.Modality = SOP_CLASSES[identifiers.modality], identifiers.modality
    one.PatientName, one.PatientID = identifiers.patient_name, identifiers.patient_id
    one.PatientBirthDate, one.PatientSex = identifiers.birth_date, identifiers.sex
    one.StudyInstanceUID, one.SeriesInstanceUID = _uid(identity, "study"), _uid(identity, "series")
    one.FrameOfReferenceUID, one.PositionReferenceIndicator = _uid(identity, "frame of reference"), ""
    # When the images were made the volume does not tell. When they were written is left out: the same UID means the same bytes.
    one.StudyDate = one.StudyTime = ""
    one.StudyID, one.SeriesNumber, one.AccessionNumber, one.ReferringPhysicianName = "1", 1, "", ""
    one.StudyDescription, one.SeriesDescription = identifiers.study_description, identifiers.series_description
    one.Manufacturer, one.ManufacturerModelName, one.ImageType = MANUFACTURER, MODEL, ["DERIVED", "SECONDARY", "OTHER"]
    # Whether the body part is one of a pair is not known.
    one.PatientPosition = one.Laterality = ""
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
    one.AcquisitionNumber = ""
    if identifiers.modality == "CT":
        one.KVP = ""
    else:
        one.ScanningSequence, one.SequenceVariant, one.ScanOptions = "RM", "NONE", ""
        one.MRAcquisitionType = one.RepetitionTime = one.EchoTime = one.EchoTrainLength = ""
    return one


def _slice(header: Dataset, identity: bytes, k: int, plane: np.ndarray, lps, spacing, directions, slope, intercept):
    one = Dataset()
    one.update(header)
    one.SOPInstanceUID, one.InstanceNumber = _uid(identity, "image", k), k + 1
    one.Rows, one.Columns = plane.shape
    one.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    one.SliceThickness = decimal(spacing[2])
    one.ImageOrientationPatient = [decimal(value) for value in (*directions[:, 0], *directions[:, 1])]
    one.ImagePositionPatient = [decimal(value) for value in (lps @ np.array([0, 0, k, 1]))[:3]]
    one.RescaleSlope, one.RescaleIntercept = decimal(slope), decimal(intercept)
    one.RescaleType = "HU" if one.Modality == "CT" else "US"
    one.PixelData = plane.tobytes()
    one["PixelData"].VR = "OW"
    return one.SOPInstanceUID, part10.written(one)
