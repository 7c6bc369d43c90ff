"""What other readers make of an object: pydicom alone, highdicom, dcmqi and dciodvfy."""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


def tool(name):
    """A program that a wheel installed beside this Python."""
    return str(Path(sys.executable).parent / name)


def digest(mask):
    return hashlib.sha256(np.ascontiguousarray(mask, dtype=np.uint8).tobytes()).hexdigest()


def stored_frames(path):
    """The SEG, and its pixel values [frame, row, column] by pydicom."""
    seg = pydicom.dcmread(path)
    frames, rows, columns = int(seg.NumberOfFrames), seg.Rows, seg.Columns
    if seg.file_meta.TransferSyntaxUID == DEFLATED_FRAMES:
        inflated = [zlib.decompress(f, wbits=-15) for f in generate_frames(seg.PixelData, number_of_frames=frames)]
        bits = [np.unpackbits(np.frombuffer(f, np.uint8), bitorder="little")[: rows * columns] for f in inflated]
        return seg, np.stack(bits).reshape(frames, rows, columns)
    return seg, pixel_array(seg).reshape(frames, rows, columns)


def owner(seg, frame):
    """The segment that a frame holds; None in a LABELMAP."""
    if seg.SegmentationType == "LABELMAP":
        return None
    if seg.get("DimensionOrganizationType") == "TILED_FULL":
        return seg.SegmentSequence[frame // (int(seg.NumberOfFrames) // len(seg.SegmentSequence))].SegmentNumber
    groups = seg.PerFrameFunctionalGroupsSequence[frame]
    if "SegmentIdentificationSequence" not in groups:
        groups = seg.SharedFunctionalGroupsSequence[0]
    return groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber


def frame_masks(seg, values, number):
    """The frames of a segment, by index, each a mask."""
    masks = {}
    for frame in range(len(values)):
        whose = owner(seg, frame)
        if whose is None:
            is_in = values[frame] == number
            if "PixelPaddingValue" in seg and seg.PixelPaddingValue == number:
                is_in = np.zeros_like(is_in)
        elif whose != number:
            continue
        elif seg.SegmentationType == "FRACTIONAL":
            is_in = values[frame] / seg.MaximumFractionalValue >= 0.5
        else:
            is_in = values[frame] != 0
        masks[frame] = is_in
    return masks


def images_in(path):
    """Image datasets of a file or folder, sorted along the slice normal; a multi-frame image stays one."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    images = [pydicom.dcmread(file) for file in files]
    if len(images) > 1:
        across = np.array(images[0].ImageOrientationPatient, float).reshape(2, 3)
        normal = np.cross(across[0], across[1])
        images.sort(key=lambda image: float(np.dot(normal, np.array(image.ImagePositionPatient, float))))
    return images


def foreground(seg):
    """Numbers of the segments that stand for something."""
    background = ("125040", "DCM")
    codes = {s.SegmentNumber: s.SegmentedPropertyTypeCodeSequence[0] for s in seg.SegmentSequence}
    return [n for n, code in codes.items() if (code.CodeValue, code.CodingSchemeDesignator) != background]


def referenced_masks(path, images):
    """Masks [slice, row, column] by segment number: frames put on the instance they name, by pydicom alone."""
    seg, values = stored_frames(path)
    order = {image.SOPInstanceUID: index for index, image in enumerate(images)}
    masks = {}
    for number in foreground(seg):
        masks[number] = np.zeros((len(images), seg.Rows, seg.Columns), bool)
        for frame, mask in frame_masks(seg, values, number).items():
            derivation = seg.PerFrameFunctionalGroupsSequence[frame].DerivationImageSequence[0]
            masks[number][order[derivation.SourceImageSequence[0].ReferencedSOPInstanceUID]] |= mask
    return masks


def highdicom_masks(path, images):
    """Masks [slice, row, column] by segment number, read by highdicom at the source images' frames."""
    seg = hd.seg.segread(path)
    numbers = foreground(seg)
    options = dict(
        segment_numbers=numbers, combine_segments=False, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    if "NumberOfFrames" in images[0]:
        frames = frames_along_normal(images[0])
        pixels = seg.get_pixels_by_source_frame(images[0].SOPInstanceUID, frames, **options)
    else:
        pixels = seg.get_pixels_by_source_instance([image.SOPInstanceUID for image in images], **options)
    if seg.segmentation_type == hd.seg.SegmentationTypeValues.FRACTIONAL:
        pixels = pixels >= 0.5
    return {number: pixels[..., index] != 0 for index, number in enumerate(numbers)}


def frames_along_normal(image):
    """Frame numbers of a multi-frame image in the order of their positions."""
    across = image.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    across = np.array(across, float).reshape(2, 3)
    normal = np.cross(across[0], across[1])
    positions = [
        np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for groups in image.PerFrameFunctionalGroupsSequence
    ]
    return [int(index) + 1 for index in np.argsort([np.dot(position, normal) for position in positions])]


def segimage2itkimage(path, folder):
    arguments = [tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd"]
    return subprocess.run(arguments, capture_output=True, text=True)


def dcmqi_refusal(path, folder):
    """What dcmqi says of a SEG that it cannot read."""
    done = segimage2itkimage(path, folder)
    assert done.returncode != 0
    return done.stdout + done.stderr


def dcmqi_masks(path, images, folder):
    """Masks [slice, row, column] by segment number, read by dcmqi's segimage2itkimage."""
    done = segimage2itkimage(path, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    positions = slice_positions(images)
    attributes = json.loads((Path(folder) / "meta.json").read_text())["segmentAttributes"]
    masks = {}
    for group, segments in enumerate(attributes, start=1):
        header, voxels = nrrd(Path(folder) / f"{group}.nrrd")
        directions = np.array(re.findall(r"[-+.\deE]+", header["space directions"]), float).reshape(3, 3)
        origin = np.array(re.findall(r"[-+.\deE]+", header["space origin"]), float)
        # dcmqi crops to the slices that have frames: its positions say which these are.
        for segment in segments:
            mask = np.zeros((len(positions),) + voxels.shape[1:], bool)
            for index, plane in enumerate(voxels):
                distance = np.linalg.norm(positions - (origin + index * directions[2]), axis=1)
                if distance.min() < 0.01:
                    mask[distance.argmin()] = plane == segment["labelID"]
                else:
                    assert not plane.any(), "voxels off every slice"
            masks[segment["labelID"]] = mask
    return masks


def slice_positions(images):
    if "NumberOfFrames" not in images[0]:
        return np.array([image.ImagePositionPatient for image in images], float)
    groups = images[0].PerFrameFunctionalGroupsSequence
    order = frames_along_normal(images[0])
    return np.array([groups[n - 1].PlanePositionSequence[0].ImagePositionPatient for n in order], float)


def nrrd(path):
    """Header fields and voxels [slice, row, column] of a gzipped NRRD of shorts."""
    text, data = path.read_bytes().split(b"\n\n", 1)
    fields = dict(line.split(": ", 1) for line in text.decode().splitlines() if ": " in line)
    kind = {"short": "<i2", "unsigned short": "<u2", "unsigned char": "u1", "uchar": "u1"}[fields["type"]]
    if fields["encoding"] == "gzip":
        data = gzip.decompress(data)
    sizes = [int(size) for size in fields["sizes"].split()]
    return fields, np.frombuffer(data, kind).reshape(sizes[::-1])


def dciodvfy_errors(path, *iods):
    """The errors that dciodvfy finds in an object of one of these IODs, by default a SEG."""
    done = subprocess.run([tool("dciodvfy"), "-new", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line.startswith(iods or ("Segmentation", "LabelMap")) for line in lines), lines[:5]
    return [line for line in lines if line.startswith("Error")]
