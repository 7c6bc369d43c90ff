"""Instances and frames in transfer syntaxes that they are not stored in, as other decoders see them."""

import copy
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from small_ct import make_ct, part10

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
COMPRESSED = {
    JPEGLSLossless: "image/jls",
    JPEG2000Lossless: "image/jp2",
    HTJ2KLossless: "image/jphc",
    RLELossless: "image/dicom-rle",
    JPEGLosslessSV1: "image/jpeg",
}
JPEG_2000 = {JPEG2000Lossless, HTJ2KLossless}
STUDY = "2.25.2001"

# Name: bits allocated, bits stored, signed, samples a pixel, planar, photometric interpretation, frames.
KINDS = {
    "ct": (16, 16, 1, 1, 0, "MONOCHROME2", 1),
    "signed-12": (16, 12, 1, 1, 0, "MONOCHROME2", 1),
    "unsigned-12": (16, 12, 0, 1, 0, "MONOCHROME1", 1),
    "unsigned-16": (16, 16, 0, 1, 0, "MONOCHROME2", 1),
    "frames": (16, 10, 0, 1, 0, "MONOCHROME2", 5),
    "grey-8": (8, 8, 0, 1, 0, "MONOCHROME2", 3),
    "signed-8": (8, 8, 1, 1, 0, "MONOCHROME2", 1),
    "rgb": (8, 8, 0, 3, 0, "RGB", 2),
    "planes": (8, 8, 0, 3, 1, "RGB", 2),
    "ybr": (8, 8, 0, 3, 0, "YBR_FULL", 1),
    "palette": (8, 8, 0, 1, 0, "PALETTE COLOR", 1),
}


def make(name: str, rows: int = 37, columns: int = 51):
    """An image of smooth and noisy parts that uses every bit it stores; of odd size."""
    allocated, stored, signed, samples, planar, photometric, frames = KINDS[name]
    ds = copy.deepcopy(make_ct(list(KINDS).index(name) + 1, study=STUDY, series=f"{STUDY}.{len(name)}"))
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, stored, stored - 1, signed
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = samples, photometric, rows, columns
    if samples == 3:
        ds.PlanarConfiguration = planar
    if frames > 1:
        ds.NumberOfFrames = frames
    if photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            keyword = f"{colour}PaletteColorLookupTable"
            ds.add_new(f"{keyword}Descriptor", "US", [256, 0, 8])
            ds.add_new(f"{keyword}Data", "OW", bytes(range(256)))
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    shape = (frames, samples, rows, columns) if planar else (frames, rows, columns, samples)
    random = np.random.default_rng(len(name))
    slope = np.linspace(low, high, int(np.prod(shape))).reshape(shape)
    noise = random.integers(low, high, shape, endpoint=True)
    values = np.where(random.random(shape) < 0.2, noise, slope).astype(f"{'i' if signed else 'u'}{allocated // 8}")
    pixels = values.tobytes()
    ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return pydicom.dcmread(io.BytesIO(part10(ds)))


def store(server, *objects: bytes) -> list[str]:
    """The URLs under which objects were stored."""
    urls = []
    for sent in objects:
        answer = requests.post(f"{server.dicomweb}/studies", data=sent, timeout=60,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200, answer.text
        urls.append(answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0])
    return urls


def retrieve(url: str, accept: str) -> requests.Response:
    return requests.get(url, headers={"Accept": accept}, timeout=60)


def in_syntax(syntax: str) -> str:
    return f"application/dicom; transfer-syntax={syntax}"


def decoded(ds, plugin: str = "") -> np.ndarray:
    """Samples as they are stored. By default neither by GDCM, which ends the process on some of the real files, nor by
    Pillow, which reads less."""
    syntax = ds.file_meta.TransferSyntaxUID
    if not plugin and syntax.is_encapsulated:
        plugin = next(name for name in get_decoder(syntax).available_plugins if name not in ("gdcm", "pillow"))
    return pixel_array(ds, raw=True, decoding_plugin=plugin)


def complaints(tmp_path: Path, name: str, content: bytes) -> set[str]:
    """What dicom3tools' validator finds wrong with an object."""
    path = tmp_path / name
    path.write_bytes(content)
    tool = Path(sys.executable).parent / "dciodvfy"
    run = subprocess.run([tool, path], capture_output=True, text=True, timeout=60)
    return {line for line in run.stderr.splitlines() if line.startswith("Error")}


@pytest.fixture(scope="module")
def images(server):
    objects = {name: make(name) for name in KINDS}
    urls = store(server, *(part10(ds) for ds in objects.values()))
    return {name: (ds, url) for (name, ds), url in zip(objects.items(), urls)}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("syntax", [*NATIVE[1:], *COMPRESSED])
def test_samples_are_the_same_to_every_decoder(images, name, syntax, tmp_path):
    original, url = images[name]
    answer = retrieve(url, in_syntax(syntax))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == in_syntax(syntax)
    ds = pydicom.dcmread(io.BytesIO(answer.content))
    assert ds.file_meta.TransferSyntaxUID == syntax
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID
    transformed = syntax in JPEG_2000 and original.PhotometricInterpretation == "RGB"
    assert ds.PhotometricInterpretation == ("YBR_RCT" if transformed else original.PhotometricInterpretation)
    if syntax in COMPRESSED:
        assert ds["PixelData"].is_undefined_length and ds.get("PlanarConfiguration", 0) == 0
        frames = int(original.get("NumberOfFrames", 1))
        assert len(list(generate_frames(ds.PixelData, number_of_frames=frames))) == frames
    expected = decoded(original)
    plugins = get_decoder(syntax).available_plugins if syntax in COMPRESSED else ("",)
    for plugin in plugins:
        assert np.array_equal(decoded(ds, plugin), expected), plugin
    known = complaints(tmp_path, "before.dcm", part10(original))
    found = complaints(tmp_path, "after.dcm", answer.content)
    # That of a CT in colour is about the colour.
    assert {line.replace("YBR_RCT", "RGB") for line in found} <= known
    # Nothing but the pixels and what describes them differs.
    changed = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    for element in original:
        assert element.keyword in changed or ds[element.tag].value == element.value, element


# The client does not know HTJ2K.
@pytest.mark.parametrize("syntax", [syntax for syntax in COMPRESSED if syntax != HTJ2KLossless])
def test_the_public_client_gets_what_it_names(client, images, syntax):
    original, _ = images["frames"]
    uids = original.StudyInstanceUID, original.SeriesInstanceUID, original.SOPInstanceUID
    ds = client.retrieve_instance(*uids, media_types=(("application/dicom", syntax),))
    assert ds.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(decoded(ds), decoded(original))
    frames = client.retrieve_instance_frames(*uids, [2, 5], media_types=((COMPRESSED[syntax], syntax),))
    stored = list(generate_frames(ds.PixelData, number_of_frames=5))
    # Within an object a frame is padded to an even length.
    assert [frame + b"\0" * (len(frame) % 2) for frame in frames] == [stored[1], stored[4]]


def test_a_frame_has_its_media_type(images):
    _, url = images["grey-8"]
    for syntax, media_type in [*COMPRESSED.items(), (JPEGBaseline8Bit, "image/jpeg")]:
        answer = retrieve(f"{url}/frames/2", f"{media_type}; transfer-syntax={syntax}")
        assert answer.headers["Content-Type"] == f"{media_type}; transfer-syntax={syntax}"
    # PS3.18 Table 8.7.3-5 has lossless as the default.
    answer = retrieve(f"{url}/frames/2", "image/jpeg")
    assert answer.headers["Content-Type"] == f"image/jpeg; transfer-syntax={JPEGLosslessSV1}"
    assert retrieve(f"{url}/frames/2", "*/*").headers["Content-Type"].startswith("multipart/related")


def test_loss_is_for_frames_only(images):
    from PIL import Image

    original, url = images["rgb"]
    answer = retrieve(f"{url}/frames/1", f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)
    assert np.mean(np.abs(picture - decoded(original)[0])) < 40
    assert retrieve(url, in_syntax(JPEGBaseline8Bit)).status_code == 406
    _, sixteen = images["unsigned-16"]
    answer = retrieve(f"{sixteen}/frames/1", f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}")
    assert answer.status_code == 406


@pytest.fixture(scope="module")
def mixed(server):
    """The URL of a study in several transfer syntaxes, a segmentation of single bits and a report among them."""
    study = "2.25.2002"
    plain = make_ct(1, study=study, series=f"{study}.1")
    packed = make_ct(2, study=study, series=f"{study}.1")
    packed.compress(RLELossless, generate_instance_uid=False)
    bits = make_ct(3, study=study, series=f"{study}.2")
    bits.BitsAllocated, bits.BitsStored, bits.HighBit, bits.PixelRepresentation = 1, 1, 0, 0
    bits.PixelData, bits["PixelData"].VR = bytes(range(24)), "OB"
    report = make_ct(4, study=study, series=f"{study}.3")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
                    "SamplesPerPixel", "PhotometricInterpretation"):
        delattr(report, keyword)
    report = pydicom.dcmread(io.BytesIO(part10_as(report, implicit=True)))
    urls = store(server, *(part10(ds) for ds in (plain, packed, bits, report)))
    return f"{server.dicomweb}/studies/{study}", urls


def part10_as(ds, implicit: bool) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, implicit_vr=implicit, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()


def test_a_study_of_several_syntaxes_comes_in_one(client, mixed):
    study = mixed[0].rsplit("/", 1)[1]
    for syntax, others in [(JPEGLSLossless, ExplicitVRLittleEndian), (ExplicitVRLittleEndian, None)]:
        instances = client.retrieve_study(study, media_types=(("application/dicom", syntax),))
        found = {ds.InstanceNumber: ds.file_meta.TransferSyntaxUID for ds in instances}
        # What has no pixels, or single bits, comes as the compressed syntaxes encode the rest.
        assert found == {1: syntax, 2: syntax, 3: others or syntax, 4: others or syntax}
        pixels = {ds.InstanceNumber: ds for ds in instances}
        assert np.array_equal(decoded(pixels[1]), decoded(make_ct(1)))
        assert np.array_equal(decoded(pixels[2]), decoded(make_ct(2)))
        assert pixels[3].PixelData == bytes(range(24))


def test_what_cannot_be_held_says_so(mixed):
    _, (_, _, bits, _) = mixed
    answer = retrieve(bits, in_syntax(JPEGLSLossless))
    assert answer.status_code == 406
    assert answer.json()["code"] == "not_acceptable" and ExplicitVRLittleEndian in answer.json()["message"]
    assert JPEGLSLossless not in answer.json()["message"].split("was asked for")[1]
    fallback = f"{in_syntax(JPEGLSLossless)}, {in_syntax(ImplicitVRLittleEndian)}; q=0.5"
    assert retrieve(bits, fallback).headers["Content-Type"] == in_syntax(ImplicitVRLittleEndian)


def test_damaged_pixels_have_a_reason(server):
    broken = make_ct(5, study="2.25.2003", series="2.25.2003.1")
    broken.compress(JPEGLSLossless, generate_instance_uid=False)
    content = bytearray(part10(broken))
    at = content.index(b"\xff\xd8\xff\xf7")
    content[at + 5:at + 9] = b"\x10\x00\x09\x00"
    (url,) = store(server, bytes(content))
    answer = retrieve(url, in_syntax(ExplicitVRLittleEndian))
    assert answer.status_code == 500
    assert answer.json()["code"] == "transcode" and "frame 1" in answer.json()["message"]
    assert retrieve(url, in_syntax("*")).content == bytes(content)
    # In the middle of a series it breaks the connection off, instead of leaving a part out.
    store(server, part10(make_ct(1, study="2.25.2003", series="2.25.2003.1")))
    with pytest.raises(requests.exceptions.RequestException):
        multipart = f'multipart/related; type="application/dicom"; transfer-syntax={RLELossless}'
        answer = retrieve(url.rsplit("/instances/", 1)[0], multipart)
        answer.raise_for_status()


# A directory, which is no image; and a transfer syntax that pydicom cannot write.
LEFT_OUT = {"Explicit_VR_Little_Endian-bbmri.dcmdir.dcm", "1.2.840.10008.1.2.8.1-liver_deflate.dcm"}
LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
            "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


def test_real_files_keep_their_samples(server, shared):
    compared = 0
    for path in sorted((shared / "data" / "transfer-syntaxes").rglob("*.dcm")):
        if path.name in LEFT_OUT:
            continue
        ds = pydicom.dcmread(path)
        source = ds.file_meta.TransferSyntaxUID
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.2004", generate_uid()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        if "PixelData" not in ds:
            continue
        (url,) = store(server, part10(ds))
        native = retrieve(url, in_syntax(ImplicitVRLittleEndian))
        assert native.status_code == 200, f"{path.name}: {native.text}"
        expected = decoded(pydicom.dcmread(io.BytesIO(native.content)))
        if source in LOSSLESS and "bad" not in path.name:
            assert np.array_equal(expected, decoded(ds)), path.name
        for syntax in COMPRESSED:
            answer = retrieve(url, in_syntax(syntax))
            if answer.status_code == 406 and ds.BitsAllocated in (1, 32):
                continue
            assert answer.status_code == 200, f"{path.name} to {syntax}: {answer.text}"
            found = decoded(pydicom.dcmread(io.BytesIO(answer.content)))
            assert np.array_equal(found, expected), f"{path.name} to {syntax}"
            compared += 1
    assert compared >= 100
