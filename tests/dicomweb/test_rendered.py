"""Pictures: rendered and thumbnail at every level, held against pydicom's own LUTs, and segmentations over their
source, held against blending by hand with colours from LittleCMS."""

import io

import highdicom as hd
import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from highdicom.color import CIELabColor
from PIL import Image, ImageCms
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_windowing
from pydicom.sr.codedict import codes

from answers import gif_frames, parts, picture
from small_ct import SERIES, STUDY, make_ct, part10

MULTI_SERIES, BLANK_SERIES = f"{STUDY}.8", f"{STUDY}.9"
PNG_PARTS = 'multipart/related; type="image/png"'


def shown(slice_, center=None, width=None, pixels=None) -> np.ndarray:
    """The slice as a viewer shows it, 0 to 255, by pydicom."""
    slice_ = pydicom.dcmread(io.BytesIO(part10(slice_)))
    stored = slice_.pixel_array if pixels is None else pixels
    if center is not None:
        slice_.WindowCenter, slice_.WindowWidth = center, width
    values = apply_windowing(apply_modality_lut(stored, slice_), slice_)
    lowest = slice_.RescaleSlope * -(2**15) + slice_.RescaleIntercept
    return (values - lowest) / (slice_.RescaleSlope * (2**16 - 1)) * 255


def near(found, expected, tolerance=1):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


def make_multi_frame(frames=5):
    """Several frames of secondary capture; pixel values count up from frame to frame."""
    ds = make_ct(1, series=MULTI_SERIES)
    ds.SOPClassUID = pydicom.uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    del ds.WindowCenter, ds.WindowWidth, ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    ds.SeriesNumber, ds.NumberOfFrames, ds.FrameTime = 8, frames, "40"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    pixels = (np.arange(16 * 12).reshape(16, 12) + 10 * np.arange(frames)[:, None, None]).astype(np.uint8)
    ds.PixelData = pixels.tobytes()
    return ds, pixels


def make_blank():
    """An object without pixels, in a series of its own."""
    ds = make_ct(1, series=BLANK_SERIES)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.RawDataStorage
    ds.Modality, ds.SeriesNumber = "OT", 9
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(ds, keyword)
    return ds


@pytest.fixture(scope="module")
def house(server, stored):
    """The server with five slices, an object of several frames and one without pixels, in one study."""
    DICOMwebClient(url=server.dicomweb).store_instances([make_multi_frame()[0], make_blank()])
    return server


def get(server, path, accept=None, status=200):
    answer = requests.get(server.dicomweb + path, headers={"Accept": accept} if accept else {}, timeout=120)
    assert answer.status_code == status, answer.text
    return answer


def of(instance) -> str:
    series = f"/studies/{instance.StudyInstanceUID}/series/{instance.SeriesInstanceUID}"
    return f"{series}/instances/{instance.SOPInstanceUID}"


# Rendered


def test_an_instance_is_shown_through_its_window(house, stored):
    for kind, media_type in (("PNG", "image/png"), ("GIF", "image/gif"), ("JPEG2000", "image/jp2")):
        answer = get(house, f"{of(stored[0])}/rendered", media_type)
        assert answer.headers["Content-Type"] == media_type
        grey = picture(answer.content, kind)
        near(grey if grey.ndim == 2 else grey[..., 0], shown(stored[0]))
    jpeg = picture(get(house, f"{of(stored[0])}/rendered?quality=100").content, "JPEG")
    near(jpeg, shown(stored[0]), tolerance=4)
    windowed = get(house, f"{of(stored[0])}/rendered?window=500,1500,linear", "image/png")
    near(picture(windowed.content, "PNG"), shown(stored[0], 500, 1500))


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_may_be_in_segments(house, client, bits):
    """Discrete, linear and indirect segments (PS3.3 C.7.9.2), expanded by pydicom."""
    ds = make_ct(bits, study="2.25.1007", series="2.25.1007.1")
    ds.PhotometricInterpretation, ds.PixelRepresentation = "PALETTE COLOR", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData, ds["PixelData"].VR = bytes(range(ds.Rows * ds.Columns)), "OB"
    largest = 2**bits - 1
    # 50 entries as they are, then 100 to the largest, 56 back to a fifth of it; of 8 bits 50 as at the beginning once more.
    discrete = [entry * largest // 100 for entry in range(50)]
    codes = [0, 50, *discrete, 1, 100, largest, 1, 56, largest // 5]
    codes += [2, 1, 0, 0, 0, 0] if bits == 8 else [1, 50, 7]
    packed = np.array(codes, "<u1" if bits == 8 else "<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 3, bits])
        ds.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", packed + b"\0" * (len(packed) % 2))
    client.store_instances([ds])
    expected = apply_color_lut(ds.pixel_array, ds).astype(int) >> (bits - 8)
    near(picture(get(house, f"{of(ds)}/rendered", "image/png").content, "PNG"), expected)


def test_a_series_is_parts_one_for_each_instance(house, stored):
    answer = get(house, f"/studies/{STUDY}/series/{SERIES}/rendered", PNG_PARTS)
    pictures = parts(answer)
    assert len(pictures) == 5
    for (headers, content), slice_ in zip(pictures, stored):
        assert headers["content-type"] == "image/png"
        assert headers["content-location"].endswith(f"{of(slice_)}/rendered")
        near(picture(content, "PNG"), shown(slice_))
        assert requests.get(headers["content-location"], headers={"Accept": "image/png"}, timeout=60).content == content
    # A client that knows but one media type gets parts of it: a series has no other form.
    jpegs = parts(get(house, f"/studies/{STUDY}/series/{SERIES}/rendered", "image/jpeg"))
    assert [headers["content-type"] for headers, _ in jpegs] == ["image/jpeg"] * 5


def test_a_study_is_every_picture_there_is(house):
    pictures = parts(get(house, f"/studies/{STUDY}/rendered", PNG_PARTS))
    assert len(pictures) == 5 + 5, "five slices, five frames, and nothing of the object without pixels"
    assert sum("/frames/" in headers["content-location"] for headers, _ in pictures) == 5
    moving = parts(get(house, f"/studies/{STUDY}/rendered", 'multipart/related; type="image/gif"'))
    assert sorted(len(gif_frames(content)) for _, content in moving) == [1, 1, 1, 1, 1, 5]


def test_several_frames(house):
    multi, pixels = make_multi_frame()
    path = f"{of(multi)}/rendered"
    assert get(house, path, "*/*").headers["content-type"] == "image/jpeg", "the first stands for all"
    for (_, content), frame in zip(parts(get(house, path, PNG_PARTS)), pixels, strict=True):
        assert np.array_equal(picture(content, "PNG"), frame)
    assert np.array_equal(picture(get(house, path, "image/png").content, "PNG"), pixels[0])
    frames = gif_frames(get(house, path, "image/gif").content)
    assert [duration for _, duration in frames] == [40] * 5
    for (found, _), frame in zip(frames, pixels, strict=True):
        assert np.array_equal(found, np.repeat(frame[..., None], 3, axis=2))


def test_lists_of_frames_keep_their_order(house):
    multi, pixels = make_multi_frame()
    some = parts(get(house, f"{of(multi)}/frames/4,2,2/rendered", PNG_PARTS))
    assert [headers["content-location"].split("/frames/")[1] for headers, _ in some] == [
        "4/rendered", "2/rendered", "2/rendered"]
    for (_, content), number in zip(some, (4, 2, 2), strict=True):
        assert np.array_equal(picture(content), pixels[number - 1])
    assert len(gif_frames(get(house, f"{of(multi)}/frames/1,3/rendered", "image/gif").content)) == 2
    one = get(house, f"{of(multi)}/frames/3/rendered", "image/png")
    assert np.array_equal(picture(one.content), pixels[2])
    assert get(house, f"{of(multi)}/frames/2,6/rendered", "image/gif", 404).json()["code"] == "no_such_frame"


def test_viewports_cut_and_scale(house, stored):
    whole = shown(stored[0])
    cut = picture(get(house, f"{of(stored[0])}/rendered?viewport=8,10,2,3,8,10", "image/png").content)
    near(cut, whole[3:13, 2:10])
    rest = picture(get(house, f"{of(stored[0])}/rendered?viewport=8,10,4,6", "image/png").content)
    near(rest, whole[6:, 4:])
    for sides, expected in (("-8,10", cut[:, ::-1]), ("8,-10", cut[::-1]), ("-8,-10", cut[::-1, ::-1])):
        mirrored = picture(get(house, f"{of(stored[0])}/rendered?viewport=8,10,2,3,{sides}", "image/png").content)
        assert np.array_equal(mirrored, expected)
    assert picture(get(house, f"{of(stored[0])}/rendered?viewport=100,32", "image/png").content).shape == (32, 24)


def test_what_is_not_done_is_said(house, stored):
    path = f"{of(stored[0])}/rendered"
    warning = get(house, f"{path}?annotation=patient,technique").headers["Warning"]
    assert warning == '299 engram "The following annotation values are not supported: patient,technique"'
    assert "Warning" not in get(house, f"{path}?iccprofile=no").headers
    for query in ("iccprofile=cmyk", "window=1", "viewport=0,0", "quality=0", "annotation=%0a"):
        assert get(house, f"{path}?{query}", status=400).json()["code"] == "bad_query"
    assert get(house, path, "video/mp4", 406).json()["code"] == "not_acceptable"
    assert get(house, f"{of(make_blank())}/rendered", status=406).json()["code"] == "no_picture"
    assert get(house, f"/studies/{STUDY}/series/{BLANK_SERIES}/rendered", status=404).json()["code"] == "not_found"


# Thumbnail


def test_thumbnails_show_the_middle_of_the_first_image_series(house, stored):
    middle = picture(get(house, f"{of(stored[2])}/rendered?viewport=128,128", "image/png").content)
    for level in (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}", of(stored[2]), f"{of(stored[2])}/frames/1"):
        small = get(house, f"{level}/thumbnail", "image/png")
        assert np.array_equal(picture(small.content, "PNG"), middle)
        assert picture(small.content).shape == (128, 96)
        assert picture(get(house, f"{level}/thumbnail").content, "JPEG").shape == (128, 96)
        assert picture(get(house, f"{level}/thumbnail?viewport=12,12", "image/gif").content, "GIF").shape[:2] == (12, 9)


def test_thumbnails_of_several_frames_and_of_none(house):
    multi, pixels = make_multi_frame()
    for level in (f"/studies/{STUDY}/series/{MULTI_SERIES}", of(multi)):
        middle = picture(get(house, f"{level}/thumbnail?viewport=12,16", "image/png").content)
        assert np.array_equal(middle, pixels[2])
    second = get(house, f"{of(multi)}/frames/2/thumbnail?viewport=12,16", "image/png")
    assert np.array_equal(picture(second.content), pixels[1])
    for path in (f"/studies/{STUDY}/series/{BLANK_SERIES}/thumbnail", "/studies/2.25.404/thumbnail"):
        assert get(house, path, status=404).json()["code"] == "not_found"
    assert get(house, f"/studies/{STUDY}/thumbnail", PNG_PARTS, 406).json()["code"] == "not_acceptable"


# Segmentations

# L* as a share of 255, a*, b*: whole numbers, as LittleCMS takes them in 8 bits.
LABS = [(140, 60, 40), (200, -50, 50)]


def srgb(lab) -> np.ndarray:
    """The sRGB colour of a CIELab value under D50, by LittleCMS."""
    pixel = Image.frombytes("LAB", (1, 1), bytes([lab[0], lab[1] % 256, lab[2] % 256]))
    turned = ImageCms.profileToProfile(pixel, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"),
                                       renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB")
    return np.asarray(turned).astype(int)[0, 0]


def masks(count=5) -> np.ndarray:
    """Two segments apart from each other: [slice, row, column, segment]."""
    grid = np.zeros((count, 16, 12, 2), dtype=np.uint8)
    for index in range(count):
        grid[index, 2 : 6 + index, 1:5, 0] = 1
        grid[index, 4:8, 7 : 9 + index // 2, 1] = 1
    return grid


def make_seg(slices, kind, number, colours=True):
    """A SEG by highdicom of the two segments on `slices`."""
    describe = [
        hd.seg.SegmentDescription(
            segment_number=index + 1, segment_label=f"Segment {index + 1}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=[codes.SCT.Liver, codes.SCT.Spleen][index],
            algorithm_type="MANUAL", tracking_uid=hd.UID(), tracking_id=f"{index}",
            display_color=CIELabColor(lab[0] / 2.55, lab[1], lab[2]) if colours else None)
        for index, lab in enumerate(LABS)
    ]
    pixels = masks(len(slices))
    if kind == "FRACTIONAL":
        pixels = pixels * np.array([0.4, 1.0])
    elif kind == "LABELMAP":
        pixels = (pixels[..., 0] + 2 * pixels[..., 1]).astype(np.uint8)
    seg = hd.seg.Segmentation(
        source_images=slices, pixel_array=pixels, segmentation_type=kind, segment_descriptions=describe,
        series_instance_uid=f"{STUDY}.7.{number}", series_number=70 + number, sop_instance_uid=f"{STUDY}.7.{number}.1",
        instance_number=1, manufacturer="tests", manufacturer_model_name="tests", software_versions="1",
        device_serial_number="1", omit_empty_frames=False)
    return pydicom.dcmread(io.BytesIO(part10(seg)))


def blended(below, colour, inside, opacity=0.5):
    """`colour` over a grey picture where `inside` is."""
    picture_ = np.repeat(np.asarray(below, dtype=float)[..., None], 3, axis=2)
    picture_[inside] = picture_[inside] * (1 - opacity) + np.asarray(colour) * opacity
    return picture_


def frame_of(seg, frame):
    """Which slice (from 0) and segment (from 1) a frame (from 1) is of; the segment None in a LABELMAP."""
    groups = seg.PerFrameFunctionalGroupsSequence[frame - 1]
    slice_ = round(float(groups.PlanePositionSequence[0].ImagePositionPatient[2]) / 2.5) - 1
    identification = groups.get("SegmentIdentificationSequence")
    return slice_, identification[0].ReferencedSegmentNumber if identification else None


def expected_overlay(seg, frame, slices, under=True, colours=None, opacity=(0.5, 0.5)):
    index, number = frame_of(seg, frame)
    drawn = np.repeat((shown(slices[index]) if under else np.zeros((16, 12)))[..., None], 3, axis=2)
    for segment in (1, 2) if number is None else (number,):
        colour = (colours or [srgb(lab) for lab in LABS])[segment - 1]
        inside = masks()[index, ..., segment - 1] == 1
        drawn[inside] = drawn[inside] * (1 - opacity[segment - 1]) + np.asarray(colour) * opacity[segment - 1]
    return drawn


def overlay(server, seg, frame, query=""):
    found = picture(get(server, f"{of(seg)}/frames/{frame}/rendered{query}", "image/png").content, "PNG")
    assert found.ndim == 3
    return found


@pytest.mark.parametrize("number, kind", [(1, "BINARY"), (2, "FRACTIONAL"), (3, "LABELMAP")])
def test_a_segmentation_lies_over_its_source(house, stored, client, number, kind):
    seg = make_seg(stored, kind, number)
    client.store_instances([seg])
    # The share of a FRACTIONAL pixel is a whole number of 255.
    opacity = (0.5 * 102 / 255, 0.5) if kind == "FRACTIONAL" else (0.5, 0.5)
    assert seg.NumberOfFrames == (5 if kind == "LABELMAP" else 10)
    for frame in range(1, seg.NumberOfFrames + 1):
        near(overlay(house, seg, frame), expected_overlay(seg, frame, stored, opacity=opacity), 2)
    assert len(parts(get(house, f"{of(seg)}/rendered", PNG_PARTS))) == seg.NumberOfFrames
    thumbnail = picture(get(house, f"{of(seg)}/thumbnail?viewport=12,16", "image/png").content)
    middle = (seg.NumberOfFrames + 1) // 2
    near(thumbnail, expected_overlay(seg, middle, stored, opacity=opacity), 2)


def test_the_window_is_for_the_source(house, stored, client):
    seg = make_seg(stored, "BINARY", 4)
    client.store_instances([seg])
    index, segment = frame_of(seg, 1)
    inside = masks()[index, ..., segment - 1] == 1
    expected = blended(shown(stored[index], 500, 1500), srgb(LABS[segment - 1]), inside)
    near(overlay(house, seg, 1, "?window=500,1500"), expected, 2)


def test_frames_that_name_no_image_go_by_position(house, stored, client):
    seg = make_seg(stored, "LABELMAP", 5)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        groups.pop("DerivationImageSequence", None)
    for groups in seg.SharedFunctionalGroupsSequence:
        groups.pop("DerivationImageSequence", None)
    client.store_instances([seg])
    for frame in range(1, 6):
        near(overlay(house, seg, frame), expected_overlay(seg, frame, stored), 2)


def test_without_its_source_a_segmentation_lies_over_black(house, client):
    elsewhere = [make_ct(number, study="2.25.1009", series="2.25.1009.1") for number in range(1, 6)]
    for number, colours in ((6, True), (7, False)):
        seg = make_seg(elsewhere, "BINARY", number, colours)
        client.store_instances([seg])
        found = overlay(house, seg, 1)
        index, segment = frame_of(seg, 1)
        inside = masks()[index, ..., segment - 1] == 1
        assert (found[~inside] == 0).all()
        assert len(np.unique(found[inside], axis=0)) == 1
        if colours:
            near(found, expected_overlay(seg, 1, elsewhere, under=False), 2)
        else:
            assert np.ptp(found[inside][0]) > 50, "a colour, not a grey"


# Pixel data


def test_pixel_data_of_instances_series_and_studies(house, stored):
    octets = 'multipart/related; type="application/octet-stream"'
    for accept, content in (
        ("application/octet-stream", lambda answer: answer.content),
        (octets, lambda answer: parts(answer)[0][1]),
    ):
        assert content(get(house, f"{of(stored[0])}/pixeldata", accept)) == stored[0].PixelData
    series = parts(get(house, f"/studies/{STUDY}/series/{SERIES}/pixeldata", octets))
    assert [content for _, content in series] == [slice_.PixelData for slice_ in stored]
    assert [headers["content-location"] for headers, _ in series] == [
        f"{house.dicomweb}{of(slice_)}/pixeldata" for slice_ in stored]
    study = parts(get(house, f"/studies/{STUDY}/pixeldata"))
    assert {make_multi_frame()[1].tobytes(), *(slice_.PixelData for slice_ in stored)} <= {part for _, part in study}
    assert get(house, f"/studies/{STUDY}/series/{BLANK_SERIES}/pixeldata", status=404).json()["code"] == "not_found"


def test_compressed_pixel_data_comes_decoded(house, client):
    packed = make_ct(1, series="2.25.1001.10")
    pixels = packed.PixelData
    packed.compress(pydicom.uid.RLELossless)
    client.store_instances([packed])
    (one,) = parts(get(house, f"/studies/{STUDY}/series/2.25.1001.10/pixeldata"))
    assert one[0]["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert one[1] == pixels
