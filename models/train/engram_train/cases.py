"""Synthetic anatomies as annotated DICOM cases, which `engram evaluate` reads.

An anatomy is a folder with a case for each patient: images/NN.dcm and seg.dcm.
"""

from pathlib import Path

import numpy as np
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.sr.coding import CodedConcept
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from engram_train.anatomy import Enlarger, View, make_anatomy, make_instance
from engram_train.appearance import Textures, field_of_view, make_protocol, other_patient, paint
from engram_train.cache import level_of, regions_of, task_mask

SIZE = 192  # pixels of a slice, a side
SLICES = 12
LABELS = 3  # of an anatomy at the most
LEAST = 150  # pixels of a label on the slice where it is largest
SPACING = 1.5  # mm between pixels
STEP = 6.0  # mm between slices
CATEGORY = CodedConcept("91723000", "SCT", "Anatomical Structure")

Array = np.ndarray
Volume = tuple[Array, Array]  # images and regions, uint8 [Z,H,W]


def apart(labels: Array, wanted: int) -> list[int]:
    """Some of the labels, as bits, no two of which have a region in common."""
    chosen: list[int] = []
    for bits in map(int, labels):
        if all(not bits & other for other in chosen) and len(chosen) < wanted:
            chosen.append(bits)
    return chosen


def draw(seed: int, patients: int, textures: Textures) -> tuple[list[Volume], list[int]]:
    """Volumes of so many patients with one anatomy, and its labels as bits."""
    rng = np.random.default_rng(seed)
    large, small = Enlarger(SIZE), Enlarger(48)
    while True:
        anatomy = make_anatomy(rng)
        protocol = make_protocol(anatomy, rng)
        half = rng.uniform(0.45, 0.8) if rng.random() < 0.3 else rng.uniform(0.85, 1.2)
        view = View(rng.normal() * 0.1, rng.normal() * 0.1, half)
        focus = int(rng.choice(anatomy.tasks))
        middle = level_of(make_instance(anatomy, rng), view, focus, rng, small)
        step, fan = rng.uniform(0.04, 0.14), field_of_view(SIZE, rng, protocol.modality)
        volumes = []
        for _ in range(patients):
            instance = make_instance(anatomy, rng)
            mine = View(view.x, view.y, view.half * float(np.exp(rng.normal() * 0.1)))
            first = middle + rng.normal() * 0.08 - step * (SLICES - 1) / 2
            levels = first + step * np.arange(SLICES)
            regions = np.stack([instance.regions(z, mine, SIZE, large) for z in levels])
            images = paint(regions, anatomy, other_patient(protocol, rng), rng, textures)
            if fan is not None:
                images[:, ~fan] = 0
                regions[:, ~fan] = 0
            volumes.append((images, regions))
        seen = [
            bits
            for bits in anatomy.tasks
            if all(task_mask(r, bits).sum((1, 2)).max() > LEAST for _, r in volumes)
        ]
        labels = apart(np.array(seen, np.uint64), LABELS)
        if labels:
            return volumes, labels


def write(folder: Path, volume: Volume, labels: list[int], patient: str) -> None:
    """One case."""
    images, regions = volume
    (folder / "images").mkdir(parents=True, exist_ok=True)
    study, series, frame = (generate_uid() for _ in range(3))
    slices = []
    for number, pixels in enumerate(images):
        dataset = slice_of(pixels, number, patient, study, series, frame)
        dataset.save_as(folder / "images" / f"{number:03d}.dcm", enforce_file_format=True)
        slices.append(dataset)
    masks = np.stack([regions_of(np.uint64(bits))[regions] for bits in labels], axis=-1)
    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=f"Label {number}",
            segmented_property_category=CATEGORY,
            segmented_property_type=CodedConcept(f"L{number}", "99ENGRAM", f"Label {number}"),
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, len(labels) + 1)
    ]
    Segmentation(
        source_images=slices,
        pixel_array=masks.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Engram",
        manufacturer_model_name="engram_train",
        software_versions="1",
        device_serial_number="1",
    ).save_as(folder / "seg.dcm")


def slice_of(
    pixels: Array, number: int, patient: str, study: str, series: str, frame: str
) -> FileDataset:
    """A single-frame MR image of uint8 [H,W]."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName = patient, f"{patient}^"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.StudyDate, dataset.StudyTime = "20000101", "000000"
    dataset.ReferringPhysicianName = ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame, ""
    dataset.Modality, dataset.Manufacturer, dataset.SeriesNumber = "MR", "Engram", 1
    dataset.InstanceNumber = number + 1
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ImagePositionPatient = [0.0, 0.0, number * STEP]
    dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    dataset.PixelSpacing, dataset.SliceThickness = [SPACING, SPACING], STEP
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset["PixelData"].VR = "OB"
    return dataset


def write_anatomy(folder: Path, seed: int, exemplars: int, textures: Textures) -> tuple[list, str]:
    """Cases of one anatomy; answers the names of the exemplars and of the target."""
    volumes, labels = draw(seed, exemplars + 1, textures)
    names = [f"patient{number}" for number in range(len(volumes))]
    for name, volume in zip(names, volumes, strict=True):
        write(folder / name, volume, labels, f"{seed}-{name}")
    return names[:-1], names[-1]
