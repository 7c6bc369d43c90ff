"""Every file of transfer-syntaxes decodes to pydicom's pixel values: exactly, or within a codec's rounding where
the codec is a DCT and two implementations of it need not agree."""

import csv
import io
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import unpack_bits

# Largest difference allowed, by file: DCT only. The oracle's inverse DCT is an integer approximation, ours is not.
ROUNDING = {
    "JPEG_Baseline-CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": 1,
    "JPEG_Baseline-JPEGBaseline_1s_1f_u_08_08.dcm": 1,
    "JPEG_Baseline-SC_rgb_dcmtk_+eb+cy+s2.dcm": 1,
    "JPEG_Baseline-SC_rgb_jpeg_app14_dcmd.dcm": 1,
    "JPEG_Extended-CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": 1,
    "JPEG_Extended-CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": 2,
    "JPEG_Extended-MR4_JPLY.dcm": 1,
    "JPEG_Extended-XA1_JPLY.dcm": 1,
}
# Their scans say 0 to 0 where a sequential one can only be 0 to 63: pydicom's decoders refuse them until it is mended.
WRONG_SPECTRAL_END = {"JPEG_Extended-MR4_JPLY.dcm", "JPEG_Extended-XA1_JPLY.dcm"}
# pydicom 3.0 does not know the transfer syntax: the frames are inflated here.
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1-liver_deflate.dcm"


def files(folder):
    with open(folder / "MANIFEST.tsv") as manifest:
        return [row["file"] for row in csv.DictReader(manifest, delimiter="\t")]


def oracle(path):
    dataset = pydicom.dcmread(path)
    if path.name == DEFLATED_FRAMES:
        frames = generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames))
        bits = [unpack_bits(zlib.decompress(frame, -15)) for frame in frames]
        size = dataset.Rows * dataset.Columns
        return np.stack([frame[:size].reshape(dataset.Rows, dataset.Columns) for frame in bits])
    if path.name in WRONG_SPECTRAL_END:
        with pytest.raises(RuntimeError, match="scan stop must be 63"):
            _ = dataset.pixel_array
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        scan = frame.index(b"\xff\xda")
        end = scan + 2 + int.from_bytes(frame[scan + 2 : scan + 4])
        mended = frame[: end - 2] + b"\x3f" + frame[end - 1 :]
        dataset.PixelData = encapsulate([mended])
    return dataset.pixel_array


def test_every_file_decodes_as_pydicom_does(transfer_syntaxes, dump_pixels):
    names = files(transfer_syntaxes)
    assert len(names) == 50
    worst = {}
    for name in names:
        path = transfer_syntaxes / name
        ours = dump_pixels(path)
        assert not isinstance(ours, str), f"{name}: {ours}"
        theirs = oracle(path)
        pixels = ours.get("rgb", ours["stored"])
        assert pixels.dtype == theirs.dtype.newbyteorder("="), name
        difference = np.abs(pixels.reshape(theirs.shape).astype(np.int64) - theirs.astype(np.int64)).max()
        assert difference <= ROUNDING.get(name, 0), f"{name}: differs by {difference}"
        worst[name] = difference
    for name in ROUNDING:
        print(f"{name}: at most {worst[name]}")


def test_the_wg04_images_are_near_their_lossless_originals(transfer_syntaxes, dump_pixels):
    lossy = dump_pixels(transfer_syntaxes / "JPEG_Extended-MR4_JPLY.dcm")["stored"].astype(int)
    lossless = dump_pixels(transfer_syntaxes / "JPEG_Lossless_Non-Hierarchical_First-Ord-MR4_JPLL.dcm")["stored"].astype(int)
    assert np.abs(lossy - lossless).mean() < 10


def test_stored_chrominance_is_kept(transfer_syntaxes, dump_pixels):
    path = transfer_syntaxes / "JPEG_Baseline-SC_rgb_dcmtk_+eb+cy+s2.dcm"
    ours = dump_pixels(path)
    assert ours["photometric"] == "YBR_FULL"
    stored = ours["stored"].reshape(100, 100, 3).astype(int)
    assert np.abs(stored - pixel_array(path, raw=True).astype(int)).max() <= 1


def dataset(pixels, bits_stored=None, photometric="MONOCHROME2", signed=0):
    """A secondary capture of `pixels`: (rows, columns), or (rows, columns, 3)."""
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        image.PlanarConfiguration = 0
    image.PhotometricInterpretation = photometric
    image.BitsAllocated = 8 * pixels.dtype.itemsize
    image.BitsStored = bits_stored or image.BitsAllocated
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = signed
    image.PixelData = pixels.tobytes()
    return image


def coded(image, syntax, *frames):
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate(list(frames))
    image["PixelData"].VR = "OB"
    return image


def both(image, tmp_path, dump_pixels):
    path = tmp_path / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    ours = dump_pixels(path)
    assert not isinstance(ours, str), ours
    return ours.get("rgb", ours["stored"]), pydicom.dcmread(path).pixel_array


def picture(kind, shape, bits, signed=False):
    """Smooth, noisy, or with long runs, over the whole range of `bits`."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    wave = (np.sin(rows / 5) * np.cos(columns / 7) + 1) / 2
    values = {
        "smooth": wave,
        "noise": random.random(shape[:2]),
        "runs": np.where(wave > 0.6, 1.0, np.where(rows < 9, wave, 0.0)),
    }[kind]
    if len(shape) == 3:
        values = np.stack([values, 1 - values, np.roll(values, 3)], axis=-1)
    levels = np.round(values * (2**bits - 1)).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    name = f"{'' if signed else 'u'}int{8 if bits <= 8 else 16}"
    return np.ascontiguousarray(levels.astype(name))


@pytest.mark.parametrize("kind", ["smooth", "noise", "runs"])
@pytest.mark.parametrize("bits, near", [(2, 0), (7, 0), (7, 2), (8, 0), (8, 2), (12, 0), (12, 2), (16, 0), (16, 2)])
def test_jpeg_ls_of_every_depth(kind, bits, near, tmp_path, dump_pixels):
    import jpeg_ls

    pixels = picture(kind, (37, 53), bits)
    frame = bytes(jpeg_ls.encode_array(pixels, lossy_error=near))
    syntax = pydicom.uid.JPEGLSNearLossless if near else pydicom.uid.JPEGLSLossless
    ours, theirs = both(coded(dataset(pixels, bits), syntax, frame), tmp_path, dump_pixels)
    assert np.array_equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize("kind", ["smooth", "noise", "runs"])
@pytest.mark.parametrize("interleave", [0, 1, 2])
@pytest.mark.parametrize("near", [0, 3])
def test_jpeg_ls_colour_in_every_interleave_mode(kind, interleave, near, tmp_path, dump_pixels):
    import jpeg_ls

    pixels = picture(kind, (31, 45, 3), 8)
    source = np.ascontiguousarray(pixels.transpose(2, 0, 1)) if interleave == 0 else pixels
    frame = bytes(
        jpeg_ls.encode_pixel_data(
            source.tobytes(),
            rows=31,
            columns=45,
            samples_per_pixel=3,
            bits_stored=8,
            lossy_error=near,
            interleave_mode=interleave,
        )
    )
    image = coded(dataset(pixels, photometric="RGB"), pydicom.uid.JPEGLSNearLossless, frame)
    ours, theirs = both(image, tmp_path, dump_pixels)
    assert np.array_equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("restart", [0, 2])
@pytest.mark.parametrize("size", [(48, 64), (35, 41)])
def test_jpeg_baseline_subsampling_and_restarts(subsampling, restart, size, tmp_path, dump_pixels):
    from PIL import Image

    pixels = picture("smooth", (*size, 3), 8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, "JPEG", quality=90, subsampling=subsampling, restart_marker_blocks=restart, keep_rgb=False
    )
    image = coded(dataset(pixels, photometric="YBR_FULL_422"), pydicom.uid.JPEGBaseline8Bit, stream.getvalue())
    ours, theirs = both(image, tmp_path, dump_pixels)
    # A level in luminance and one in each chrominance make up to three in a colour.
    assert np.abs(ours.reshape(theirs.shape).astype(int) - theirs.astype(int)).max() <= 3


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000_signs_and_depths(signed, bits, tmp_path, dump_pixels):
    pixels = picture("smooth", (40, 33), bits, signed)
    image = dataset(pixels, bits, signed=int(signed))
    image.compress(pydicom.uid.JPEG2000Lossless)
    ours, theirs = both(image, tmp_path, dump_pixels)
    assert np.array_equal(ours.reshape(theirs.shape), theirs)
    assert np.array_equal(theirs, pixels)


def test_native_layouts(tmp_path, dump_pixels):
    colour = picture("noise", (5, 6, 3), 8)
    planar = dataset(colour, photometric="RGB")
    planar.PlanarConfiguration = 1
    planar.PixelData = colour.transpose(2, 0, 1).tobytes()
    halved = dataset(colour, photometric="YBR_FULL_422")
    halved.PixelData = picture("noise", (5, 12), 8).tobytes()
    twelve = dataset(picture("noise", (5, 6), 16), bits_stored=12)
    signed = dataset(picture("noise", (5, 6), 16), bits_stored=12, signed=1)
    floats = dataset(picture("noise", (5, 6), 16))
    del floats.PixelData, floats.BitsStored, floats.HighBit, floats.PixelRepresentation
    floats.BitsAllocated = 32
    floats.FloatPixelData = np.linspace(-1, 1, 30, dtype="<f4").tobytes()
    bits = dataset(picture("noise", (5, 7), 8))
    bits.BitsAllocated, bits.BitsStored, bits.HighBit, bits.NumberOfFrames = 1, 1, 0, 3
    bits.PixelData = bytes(range(100, 114))
    for image in (planar, twelve, signed, floats, bits):
        ours, theirs = both(image, tmp_path, dump_pixels)
        assert np.array_equal(ours.reshape(theirs.shape), theirs)
    # Converted to RGB by equations that round differently.
    ours, theirs = both(halved, tmp_path, dump_pixels)
    assert np.abs(ours.reshape(theirs.shape).astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("table", ["none", "basic", "extended"])
def test_frames_of_several_fragments(table, tmp_path, dump_pixels):
    import jpeg_ls
    from pydicom.encaps import encapsulate_extended

    pictures = [picture(kind, (20, 20), 8) for kind in ("smooth", "noise", "runs")]
    frames = [bytes(jpeg_ls.encode_array(pixels)) for pixels in pictures]
    frames = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    image = coded(dataset(pictures[0]), pydicom.uid.JPEGLSLossless)
    image.NumberOfFrames = 3
    if table == "extended":
        extended = encapsulate_extended(frames)
        image.PixelData, image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = extended
    else:
        image.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=table == "basic")
    image["PixelData"].VR = "OB"
    path = tmp_path / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    ours = dump_pixels(path)
    assert np.array_equal(ours["stored"][..., 0], np.stack(pictures))


def test_malformed_files_are_refused_with_a_reason(transfer_syntaxes, tmp_path, dump_pixels):
    """Each is one that pydicom refuses as well, or makes pixels up for that the sound file does not have."""

    def spoilt(name, spoil):
        image = pydicom.dcmread(transfer_syntaxes / name)
        sound = image.pixel_array
        spoil(image)
        path = tmp_path / "spoilt.dcm"
        image.save_as(path)
        try:
            theirs = pydicom.dcmread(path).pixel_array
        except Exception:
            return dump_pixels(path)
        assert not np.array_equal(theirs, sound), f"{name}: nothing is wrong with it"
        return dump_pixels(path)

    def cut(image):
        (frame,) = generate_frames(image.PixelData, number_of_frames=1)
        image.PixelData = encapsulate([frame[:120]])

    def shorten(image):
        image.PixelData = image.PixelData[:100]

    def more_frames(image):
        image.NumberOfFrames = 9

    def two_more_columns(image):
        image.Columns += 2

    cases = [
        ("RLE_Lossless-rtdose_rle_1frame.dcm", cut, "codestream"),
        ("RLE_Lossless-rtdose_rle_1frame.dcm", two_more_columns, "past the end"),
        ("JPEG-LS_Lossless_Image_Compression-MR_small_jpeg_ls_lossless.dcm", cut, "codestream"),
        ("JPEG-LS_Lossless_Image_Compression-MR_small_jpeg_ls_lossless.dcm", more_frames, "fewer fragments"),
        ("JPEG_2000_Image_Compression-693_J2KR.dcm", cut, "codestream"),
        ("JPEG_Baseline-JPEGBaseline_1s_1f_u_08_08.dcm", cut, "codestream"),
        ("JPEG_Lossless_Non-Hierarchical_First-Ord-MR4_JPLL.dcm", cut, "codestream"),
        ("Implicit_VR_Little_Endian-MR_small_implicit.dcm", shorten, "pixel data has 100 bytes where 8192"),
    ]
    for name, spoil, reason in cases:
        error = spoilt(name, spoil)
        assert isinstance(error, str) and reason in error, f"{name}, {spoil.__name__}: {error}"
