"""Geometry, masks and what is refused."""

import numpy as np
import pydicom
import pytest
from conftest import Stack, change, tilted
from engram_registration.case import BadInput, read_exemplar, read_volume

STACKS = {
    "axial": Stack(),
    "oblique": tilted(),
    "coronal": Stack(row=(1, 0, 0), column=(0, 0, -1)),
    "flipped": Stack(row=(-1, 0, 0), column=(0, 1, 0)),  # the normal runs towards the feet
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_voxels_lie_where_the_headers_say(make_case, stack, backwards):
    made = make_case("case", stack, backwards=backwards)
    volume = read_volume(made.folder)
    z, y, x = np.indices(volume.voxels.shape)
    steps = np.stack([x, y, z], axis=-1) * volume.spacing
    points = volume.origin + steps @ volume.direction.T
    np.testing.assert_allclose(points, stack.points(), atol=1e-4)
    assert np.linalg.det(volume.direction) == pytest.approx(1)
    expected = made.scene.intensities(stack.points()) * 2.0 - 100
    np.testing.assert_array_equal(volume.voxels, expected)


@pytest.mark.parametrize("backwards", [False, True])
def test_masks_lie_on_their_slices(make_case, backwards):
    made = make_case("case", tilted(), backwards=backwards)
    exemplar = read_exemplar(made.folder)
    assert [str(label.item.SegmentNumber) for label in exemplar.labels] == ["1", "2"]
    np.testing.assert_array_equal(exemplar.masks[0], made.organ)
    np.testing.assert_array_equal(exemplar.masks[1], made.kidney)


def test_a_frame_that_names_no_image_goes_by_its_position(make_case):
    made = make_case("case", tilted(), backwards=True)
    seg = pydicom.dcmread(made.folder / "seg.dcm")
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    seg.save_as(made.folder / "seg.dcm")
    np.testing.assert_array_equal(read_exemplar(made.folder).masks[1], made.kidney)


def test_slice_distance_is_the_median_of_the_gaps(make_case):
    made = make_case("case")
    (made.folder / "images" / "003.dcm").unlink()
    assert read_volume(made.folder).spacing[2] == pytest.approx(6)


BAD_IMAGES = {
    "2 or more": None,
    "another series": {"SeriesInstanceUID": "1.2.3"},
    "no PixelSpacing": {"PixelSpacing": None},
    "another ImageOrientationPatient": {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]},
    "not stacked": {"ImagePositionPatient": [500, 0, 35]},
    "single-frame": {"NumberOfFrames": 2},
    "another size": {"Rows": 31},
    "pixels of": {"PixelData": b"12"},
}


@pytest.mark.parametrize("message", BAD_IMAGES)
def test_refuses_images(make_case, message):
    folder = make_case("case").folder
    if BAD_IMAGES[message] is None:
        for path in sorted((folder / "images").glob("*.dcm"))[1:]:
            path.unlink()
    else:
        change(folder / "images" / "004.dcm", **BAD_IMAGES[message])
    with pytest.raises(BadInput, match=message) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value)


def test_refuses_two_images_in_one_place(make_case):
    folder = make_case("case").folder
    first = pydicom.dcmread(folder / "images" / "001.dcm")
    change(folder / "images" / "002.dcm", ImagePositionPatient=first.ImagePositionPatient)
    with pytest.raises(BadInput, match="in one place"):
        read_volume(folder)


def test_refuses_segs(make_case):
    folder = make_case("case").folder
    seg = folder / "seg.dcm"
    stranger = make_case("other").folder / "seg.dcm"
    whole = seg.read_bytes()
    for message, content in {
        "no image of the series": stranger.read_bytes(),
        "not readable as DICOM": b"nothing",
        "not a BINARY": (folder / "images" / "001.dcm").read_bytes(),
    }.items():
        seg.write_bytes(content)
        with pytest.raises(BadInput, match=message):
            read_exemplar(folder)
    seg.write_bytes(whole)
    change(seg, PixelData=b"12")
    with pytest.raises(BadInput, match="not a whole"):
        read_exemplar(folder)
    change(seg, SegmentationType="FRACTIONAL")
    with pytest.raises(BadInput, match="not a BINARY"):
        read_exemplar(folder)
    seg.unlink()
    with pytest.raises(BadInput, match=r"seg\.dcm"):
        read_exemplar(folder)
