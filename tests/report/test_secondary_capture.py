"""The pictures, read by pydicom and DCMTK."""

import subprocess
from io import BytesIO

import numpy as np
import pytest
import requests
from PIL import Image
from scipy.ndimage import binary_erosion

import oracle
import patients
from forms import as_read
from programs import program

# Slices of 64 pixels are enlarged to 512, and have outlines of two pixels.
SCALE, THICKNESS = 8, 2
SIDE = patients.SIZE * SCALE
# Segments without a colour of their own, by number.
PALETTE = {1: (220, 50, 60), 2: (50, 190, 90), 3: (60, 120, 230), 7: (50, 200, 210)}


@pytest.fixture
def pictures(made, name):
    return [as_read(content) for content in made.pictures(name)]


def enlarged(mask: np.ndarray) -> np.ndarray:
    return np.kron(mask, np.ones((SCALE, SCALE), bool))


def outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask, np.ones((2 * THICKNESS + 1,) * 2), border_value=0)


def test_dciodvfy_finds_no_error(made, name, tmp_path):
    for content in made.pictures(name):
        (tmp_path / "picture.dcm").write_bytes(content)
        assert oracle.dciodvfy_errors(tmp_path / "picture.dcm", "SCImage") == []


def test_every_slice_has_a_picture_in_order(pictures, case):
    assert [picture.InstanceNumber for picture in pictures] == list(range(1, len(case.images) + 1))
    sources = [picture.SourceImageSequence[0].ReferencedSOPInstanceUID for picture in pictures]
    assert sources == [image.SOPInstanceUID for image in case.images]
    assert len({picture.SOPInstanceUID for picture in pictures}) == len(pictures)
    assert len({(picture.SeriesInstanceUID, picture.Rows, picture.Columns) for picture in pictures}) == 1


def test_outlines_are_where_the_segments_end(pictures, case):
    for index, picture in enumerate(pictures):
        pixels = picture.pixel_array[:SIDE, :SIDE]
        inside = np.zeros((SIDE, SIDE), bool)
        for number, masks in case.masks.items():
            mask = enlarged(masks[index])
            inside |= mask
            assert (pixels[outline(mask)] == PALETTE[number]).all()
            filled = pixels[mask & ~outline(mask)].astype(int)
            assert (np.ptp(filled, axis=-1) > 0).all()
        assert (np.ptp(pixels[~inside].astype(int), axis=-1) == 0).all()


def test_around_the_segments_the_slice_is_as_it_is_rendered(made, pictures, case):
    index = 4
    image = case.images[index]
    address = (f"{made.api.base}/dicomweb/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}"
               f"/instances/{image.SOPInstanceUID}/rendered?viewport={SIDE},{SIDE}")
    answer = requests.get(address, headers={"Accept": "image/png"}, timeout=30)
    rendered = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB"))
    outside = ~np.any([enlarged(masks[index]) for masks in case.masks.values()], axis=0)
    np.testing.assert_array_equal(pictures[index].pixel_array[:SIDE, :SIDE][outside], rendered[outside])


def test_pictures_lie_where_their_slices_lie(pictures, case):
    for picture, image in zip(pictures, case.images, strict=True):
        assert picture.FrameOfReferenceUID == image.FrameOfReferenceUID
        np.testing.assert_allclose(picture.ImageOrientationPatient, image.ImageOrientationPatient)
        np.testing.assert_allclose(picture.PixelSpacing, np.array(image.PixelSpacing, float) / SCALE)
        np.testing.assert_allclose(corner(picture), corner(image), atol=1e-4)


def corner(image) -> np.ndarray:
    """The outer corner of the first pixel."""
    across = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = np.array(image.PixelSpacing, float)
    first = np.array(image.ImagePositionPatient, float)
    return first - across[0] * between_columns / 2 - across[1] * between_rows / 2


def test_it_says_what_it_is(pictures, case):
    for picture in pictures:
        assert (picture.PatientID, picture.StudyInstanceUID) == (
            case.images[0].PatientID, case.images[0].StudyInstanceUID)
        assert (picture.ConversionType, picture.BurnedInAnnotation) == ("WSD", "YES")
        assert picture.ImageType == ["DERIVED", "SECONDARY"]
        assert picture.LossyImageCompression == "00" and picture.Manufacturer == "Engram"
        labels = [segment.SegmentLabel for segment in case.segments.values()]
        assert picture.SeriesDescription == f"Engram: {', '.join(labels)}"


def test_the_strip_below_is_written_on(pictures):
    for picture in pictures:
        strip = picture.pixel_array[SIDE:]
        assert strip.shape[0] > 40 and (strip == 255).all(axis=-1).sum() > 500


def test_dcmtk_shows_it(made, name, tmp_path):
    content = made.pictures(name)[4]
    (tmp_path / "picture.dcm").write_bytes(content)
    done = subprocess.run([program("dcm2img", "dcm2pnm"), tmp_path / "picture.dcm", tmp_path / "picture.ppm"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = np.asarray(Image.open(tmp_path / "picture.ppm"))
    np.testing.assert_array_equal(shown, as_read(content).pixel_array)


def test_they_are_the_same_each_time(made, name):
    assert made.pictures(name) == made.pictures(name)


def test_a_segmentation_that_is_not_there_is_refused(made):
    answer = made.get("1.2.3", "secondary-capture")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_segmentation")
