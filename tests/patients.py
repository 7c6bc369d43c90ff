"""Small made-up MR patients with DICOM-SEG by highdicom: a bright ball and a dark ball in a grey body."""

import datetime
from functools import cache
from io import BytesIO

import highdicom as hd
import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SIZE, SLICES = 64, 10
LIVER = Code("10200004", "SCT", "Liver")
SPLEEN = Code("78961009", "SCT", "Spleen")
ORGAN = Code("123037004", "SCT", "Anatomical Structure")
LIVER_KEY, SPLEEN_KEY = "SCT:10200004", "SCT:78961009"


def uid(*parts) -> str:
    return generate_uid(entropy_srcs=["engram-tests", *map(str, parts)])


def ball(centre, radius) -> np.ndarray:
    z, y, x = np.mgrid[:SLICES, :SIZE, :SIZE]
    return ((z - centre[0]) * 4) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


@cache
def anatomy(number: int) -> tuple[np.ndarray, dict[Code, np.ndarray]]:
    """Voxels and masks by code, the same for the same number."""
    random = np.random.default_rng(number)
    shift = random.integers(-2, 3, size=(2, 2))
    masks = {
        LIVER: ball((4.5, 26 + shift[0, 0], 22 + shift[0, 1]), 12),
        SPLEEN: ball((5.5, 36 + shift[1, 0], 46 + shift[1, 1]), 8) & ~ball((4.5, 26, 22), 14),
    }
    voxels = 300 * ball((4.5, 32, 32), 30) + 500 * masks[LIVER] - 200 * masks[SPLEEN]
    voxels = voxels + random.normal(0, 15, voxels.shape)
    return np.clip(voxels, 0, 4095).astype(np.uint16), masks


def images(number: int, modality: str = "MR", image_type: str = "ORIGINAL\\PRIMARY") -> list[Dataset]:
    """The patient's series, a dataset a slice."""
    voxels, _ = anatomy(number)
    return [image(number, index, plane, modality, image_type) for index, plane in enumerate(voxels)]


def image(number: int, index: int, plane: np.ndarray, modality: str, image_type: str) -> Dataset:
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MRImageStorage
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid(number, modality, "image", index)
    one.StudyInstanceUID, one.SeriesInstanceUID = uid(number, "study"), uid(number, modality, "series")
    one.FrameOfReferenceUID = uid(number, "frame of reference")
    one.PatientID, one.PatientName = f"T{number}", f"Test^Patient{number}"
    one.PatientBirthDate = one.PatientSex = one.StudyTime = one.ReferringPhysicianName = ""
    one.StudyDate, one.StudyID, one.AccessionNumber = "20240101", str(number), ""
    one.SeriesNumber, one.InstanceNumber, one.Modality = 1, index + 1, modality
    one.Manufacturer, one.ImageType, one.PositionReferenceIndicator = "Test", image_type.split("\\"), ""
    one.Rows = one.Columns = SIZE
    one.PixelSpacing, one.SliceThickness, one.SpacingBetweenSlices = [1.5, 1.5], 4, 4
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 4.0 * index], [1, 0, 0, 0, 1, 0]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    one.PixelData = plane.tobytes()
    return dcmread(BytesIO(part10(one)))


def part10(dataset: Dataset) -> bytes:
    """The dataset as a complete file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def segmentation(
    number: int,
    codes=(LIVER, SPLEEN),
    algorithm: str = "MANUAL",
    slices: list[int] | None = None,
    version: int = 1,
    sources: list[Dataset] | None = None,
) -> hd.seg.Segmentation:
    """The patient's SEG; `slices` limits it to some, `version` makes a later one."""
    sources = sources or images(number)
    _, masks = anatomy(number)
    chosen = slices if slices is not None else range(SLICES)
    identification = None if algorithm == "MANUAL" else hd.AlgorithmIdentificationSequence(
        name="test", family=Code("123109", "DCM", "Manual Processing"), version="1")
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=segment, segment_label=code.meaning, segmented_property_category=ORGAN,
            segmented_property_type=code, algorithm_type=algorithm, algorithm_identification=identification)
        for segment, code in enumerate(codes, start=1)
    ]
    made = hd.seg.Segmentation(
        source_images=[sources[index] for index in chosen],
        pixel_array=np.stack([masks[code][list(chosen)] for code in codes], axis=-1).astype(np.uint8),
        segmentation_type="BINARY", segment_descriptions=descriptions,
        series_instance_uid=uid(number, "seg series", version), series_number=100 + version,
        sop_instance_uid=uid(number, "seg", version, algorithm, codes, slices), instance_number=1,
        manufacturer="Test", manufacturer_model_name="Test", software_versions="1", device_serial_number="1",
        omit_empty_frames=slices is None)
    made.ContentDate = f"2024010{version}"
    made.ContentTime = datetime.time(12, 0).strftime("%H%M%S")
    return made


def dice(a: np.ndarray, b: np.ndarray) -> float:
    total = a.sum() + b.sum()
    return 2.0 * np.logical_and(a, b).sum() / total if total else 1.0
