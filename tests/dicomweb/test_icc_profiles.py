"""Colours of images with an ICC profile, and pictures in well-known spaces, held against LittleCMS (Pillow's ImageCms)."""

import io
import struct
from pathlib import Path

import highdicom
import numpy as np
import pytest
import requests
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.uid import ColorSoftcopyPresentationStateStorage, VLPhotographicImageStorage

from answers import gif_frames
from small_ct import make_ct, part10

STUDY = "2.25.8801"
SPACES = {"srgb": "sRGB", "adobergb": "Adobe RGB", "rommrgb": "ProPhoto", "displayp3": "Display P3"}


def icc(tags: dict[bytes, bytes], space: bytes, version: int) -> bytes:
    """A profile (ICC.1) of an input device in RGB, by its tags."""
    tags = {b"desc": text("a made-up camera"), b"cprt": text("none"), b"wtpt": xyz(0.9642, 1.0, 0.8249), **tags}
    table, data, offset = b"", b"", 132 + 12 * len(tags)
    for signature, content in tags.items():
        content += bytes(-len(content) % 4)
        table += signature + struct.pack(">II", offset + len(data), len(content))
        data += content
    size = offset + len(data)
    header = struct.pack(">I4sI4s4s4s12x4s24x3i", size, b"", version << 24, b"scnr", b"RGB ", space, b"acsp", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def text(words: str) -> bytes:
    encoded = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def by_matrix() -> bytes:
    """Primaries of Adobe RGB with a gamma of 1.8."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256))
    return icc({b"rXYZ": xyz(0.6097, 0.3111, 0.0195), b"gXYZ": xyz(0.2053, 0.6257, 0.0609), b"bXYZ": xyz(0.1492, 0.0632, 0.7446),
                b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}, b"XYZ ", 4)


def by_tables(grid: int = 33) -> bytes:
    """As of a scanner: tables from RGB to CIELab. It sees reds too yellow and everything a little dark; over 200 kB."""
    red, green, blue = np.meshgrid(*[np.linspace(0, 1, grid)] * 3, indexing="ij")
    light = 100 * (0.3 * red + 0.6 * green + 0.1 * blue) ** 0.9
    lab = np.stack([light * 652.8, (60 * (red - green) + 128) * 256, (60 * (0.7 * red + 0.5 * green - 1.2 * blue) + 128) * 256], -1)
    line = struct.pack(">HH", 0, 65535)
    table = b"mft2\0\0\0\0" + struct.pack(">BBBx9iHH", 3, 3, grid, *(65536 * np.eye(3, dtype=int)).ravel().tolist(), 2, 2)
    table += line * 3 + lab.clip(0, 65535).astype(">u2").tobytes() + line * 3
    return icc({b"A2B0": table}, b"Lab ", 2)


PROFILES = {"matrix": by_matrix(), "tables": by_tables()}
NUMBERS = {"matrix": 7, "tables": 8}


def colours() -> np.ndarray:
    """Colours that all spaces have, in patches that a picture's compression leaves alone."""
    levels = np.array([90, 120, 150, 180], np.uint8)
    patches = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(8, 8, 3)
    return patches.repeat(8, 0).repeat(8, 1)


def photograph(number: int, profile: bytes | None) -> Dataset:
    ds = make_ct(number, STUDY, f"{STUDY}.{number}")
    pixels = colours()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
        delattr(ds, keyword)
    ds.Modality, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = "XC", 3, "RGB", 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, pixels.tobytes()
    if profile is not None:
        # OB is of even length.
        ds.ICCProfile = profile + bytes(len(profile) % 2)
    return ds


@pytest.fixture(scope="module")
def pictures(server):
    """A function that gets a picture of an instance: its bytes, and as Pillow opens it."""
    def store(ds: Dataset) -> str:
        answer = requests.post(f"{server.dicomweb}/studies", data=part10(ds), headers={"Content-Type": "application/dicom"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return f"{server.dicomweb}/studies/{STUDY}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"

    urls = {}

    def get(ds: Dataset, query: str = "", accept: str = "image/png", resource: str = "rendered") -> tuple[bytes, Image.Image]:
        url = urls.get(ds.SOPInstanceUID) or urls.setdefault(ds.SOPInstanceUID, store(ds))
        answer = requests.get(f"{url}/{resource}?{query}", headers={"Accept": accept}, timeout=60)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == accept, answer.text
        return answer.content, Image.open(io.BytesIO(answer.content))

    return get


def converted(pixels: np.ndarray, profile: bytes, target: ImageCms.ImageCmsProfile) -> np.ndarray:
    """What LittleCMS makes of colours."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), source, target, ImageCms.Intent.PERCEPTUAL))


def in_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    return converted(pixels, profile, ImageCms.createProfile("sRGB"))


def near(found, expected, tolerance: int) -> None:
    off = np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int))
    assert off.max() <= tolerance, off.max()


@pytest.mark.parametrize("kind", PROFILES)
def test_pictures_are_in_srgb(pictures, kind):
    profile = PROFILES[kind]
    expected = in_srgb(colours(), profile)
    assert np.abs(expected.astype(int) - colours()).max() > 20, "the profile makes a difference"
    ds = photograph(NUMBERS[kind], profile)
    for query in ("", "iccprofile=no"):
        _, shown = pictures(ds, query)
        assert "icc_profile" not in shown.info
        near(shown, expected, 3)
    _, thumbnail = pictures(ds, "viewport=64,64", resource="thumbnail")
    assert "icc_profile" not in thumbnail.info
    near(thumbnail, expected, 3)
    content, _ = pictures(ds, accept="image/gif")
    near(gif_frames(content)[0][0], expected, 12)
    _, jpeg = pictures(ds, accept="image/jpeg")
    assert "icc_profile" not in jpeg.info
    near(jpeg, expected, 6)


@pytest.mark.parametrize("kind", PROFILES)
def test_a_picture_may_keep_its_colours_and_say_what_they_mean(pictures, kind):
    profile = PROFILES[kind]
    ds = photograph(NUMBERS[kind], profile)
    _, png = pictures(ds, "iccprofile=yes")
    assert png.info["icc_profile"] == profile and np.array_equal(np.asarray(png), colours())
    _, jpeg = pictures(ds, "iccprofile=yes&quality=95", "image/jpeg")
    assert jpeg.info["icc_profile"] == profile
    near(jpeg, colours(), 5)
    # What JPEG 2000 has a word for needs no profile.
    content, jp2 = pictures(ds, "iccprofile=yes", "image/jp2")
    assert b"colr\x01\0\0" + struct.pack(">I", 16) in content
    near(jp2, in_srgb(colours(), profile), 3)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", PROFILES)
def test_pictures_come_in_well_known_spaces(pictures, kind, space):
    profile = PROFILES[kind]
    ds = photograph(NUMBERS[kind], profile)
    _, png = pictures(ds, f"iccprofile={space}")
    told = ImageCms.ImageCmsProfile(io.BytesIO(png.info["icc_profile"]))
    assert SPACES[space] in ImageCms.getProfileDescription(told)
    near(png, converted(colours(), profile, told), 3)
    _, jpeg = pictures(ds, f"iccprofile={space}", "image/jpeg")
    assert jpeg.info["icc_profile"] == png.info["icc_profile"]
    content, jp2 = pictures(ds, f"iccprofile={space}", "image/jp2")
    near(jp2, np.asarray(png), 0)
    assert (b"colr\x02\0\0" + png.info["icc_profile"] in content) == (space != "srgb")


def test_an_image_without_a_profile_is_in_srgb(pictures):
    ds = photograph(20, None)
    for query in ("", "iccprofile=no"):
        _, shown = pictures(ds, query)
        assert "icc_profile" not in shown.info and np.array_equal(np.asarray(shown), colours())
    for query in ("iccprofile=yes", "iccprofile=srgb"):
        _, shown = pictures(ds, query)
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(shown.info["icc_profile"])))
        assert np.array_equal(np.asarray(shown), colours())
    _, shown = pictures(ds, "iccprofile=adobergb")
    near(in_srgb(np.asarray(shown), shown.info["icc_profile"]), colours(), 2)


def test_a_grey_picture_that_says_its_colours_has_them(pictures):
    ds = make_ct(21, STUDY, f"{STUDY}.21")
    _, grey = pictures(ds)
    assert grey.mode == "L" and "icc_profile" not in grey.info
    _, coloured = pictures(ds, "iccprofile=yes")
    assert coloured.mode == "RGB" and coloured.info["icc_profile"]
    assert np.array_equal(np.asarray(coloured), np.asarray(grey)[..., None].repeat(3, 2))


def test_a_profile_may_be_that_of_the_optical_path(pictures):
    ds = photograph(22, None)
    other, path = Dataset(), Dataset()
    other.OpticalPathIdentifier, other.ICCProfile = "1", PROFILES["matrix"]
    path.OpticalPathIdentifier, path.ICCProfile = "2", PROFILES["tables"]
    ds.OpticalPathSequence = [other, path]
    named, shared = Dataset(), Dataset()
    named.OpticalPathIdentifier = "2"
    shared.OpticalPathIdentificationSequence = [named]
    ds.SharedFunctionalGroupsSequence = [shared]
    near(pictures(ds)[1], in_srgb(colours(), PROFILES["tables"]), 3)


@pytest.mark.parametrize(("number", "wrong"), [
    (23, b"no profile at all"), (24, PROFILES["matrix"][:200]), (25, PROFILES["matrix"].replace(b"RGB ", b"CMYK")),
    (26, PROFILES["matrix"].replace(b"rTRC", b"xTRC")),
])
def test_a_profile_that_does_not_read_is_taken_for_none(pictures, number, wrong):
    near(pictures(photograph(number, wrong))[1], colours(), 0)
    _, own = pictures(photograph(number, wrong), "iccprofile=yes")
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(own.info["icc_profile"])))


@pytest.mark.parametrize(("number", "space"), [(40, "adobergb"), (41, "rommrgb"), (42, "srgb")])
def test_an_image_may_name_its_space(pictures, number, space):
    ds = photograph(number, None)
    ds.ColorSpace = space.upper()
    _, own = pictures(ds, "iccprofile=yes")
    assert np.array_equal(np.asarray(own), colours())
    assert SPACES[space] in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(own.info["icc_profile"])))
    near(pictures(ds)[1], in_srgb(colours(), own.info["icc_profile"]), 3)


def test_colours_of_srgb_stay_what_they_are(pictures):
    """Also where tables say how they would look on paper, as those of the profile do that highdicom puts in."""
    profile = (Path(highdicom.__file__).parent / "_icc_profiles" / "sRGB_v4_ICC_preference.icc").read_bytes()
    near(pictures(photograph(43, profile))[1], colours(), 0)
    named = photograph(44, PROFILES["tables"])
    named.ColorSpace = "SRGB"
    near(pictures(named)[1], colours(), 0)


@pytest.mark.parametrize("kept", [b"A2B0", b"A2B1", b"A2B2"])
def test_tables_of_another_intent_than_the_profile_names_will_do(pictures, kept):
    number = 30 + kept[3] - ord("0")
    profile = bytearray(PROFILES["tables"].replace(b"A2B0", kept))
    profile[64:68] = struct.pack(">I", 1)
    near(pictures(photograph(number, bytes(profile)))[1], in_srgb(colours(), PROFILES["tables"]), 3)


def test_a_presentation_state_says_what_colours_mean(pictures, server):
    image = photograph(27, None)
    pictures(image)
    state = make_ct(28, STUDY, f"{STUDY}.28")
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
                    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
        delattr(state, keyword)
    state.SOPClassUID = state.file_meta.MediaStorageSOPClassUID = ColorSoftcopyPresentationStateStorage
    state.Modality, state.ICCProfile = "PR", PROFILES["matrix"]
    reference, series = Dataset(), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedImageSequence = image.SeriesInstanceUID, [reference]
    state.ReferencedSeriesSequence = [series]
    near(pictures(state)[1], in_srgb(colours(), PROFILES["matrix"]), 3)


def test_wado_uri_has_it_too(pictures, server):
    ds = photograph(7, PROFILES["matrix"])
    pictures(ds)
    query = {"requestType": "WADO", "studyUID": STUDY, "seriesUID": ds.SeriesInstanceUID, "objectUID": ds.SOPInstanceUID,
             "contentType": "image/png"}
    plain = requests.get(f"{server.dicomweb}/wado", params=query, timeout=60)
    near(Image.open(io.BytesIO(plain.content)), in_srgb(colours(), PROFILES["matrix"]), 3)
    own = requests.get(f"{server.dicomweb}/wado", params={**query, "iccprofile": "yes"}, timeout=60)
    assert Image.open(io.BytesIO(own.content)).info["icc_profile"] == PROFILES["matrix"]
    assert requests.get(f"{server.dicomweb}/wado", params={**query, "iccprofile": "lab"}, timeout=60).status_code == 400

