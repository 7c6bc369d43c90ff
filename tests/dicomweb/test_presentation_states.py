"""Presentation states, made by highdicom and pydicom: grey levels and turns held against DCMTK's dcmp2pgm, which knows neither
sigmoids nor shutters, overlays and graphics; those against pydicom, numpy and Pillow."""

import copy
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from highdicom.color import CIELabColor
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from answers import gif_frames, parts, picture
from small_ct import STUDY, make_ct, part10
from test_rendered import get, make_multi_frame, near, of, shown
from test_wado_uri import wado

ROWS, COLUMNS = 48, 64
SERIES = f"{STUDY}.20"
PNG_PARTS = 'multipart/related; type="image/png"'


def make_image(number: int) -> Dataset:
    """A slice wider than it is high, without symmetry, of HU from -1024 to 500 or so."""
    image = make_ct(number, series=SERIES)
    image.Rows, image.Columns = ROWS, COLUMNS
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    pixels = 20 * columns + 5 * rows + 17 * ((columns // 7 + rows // 5) % 3) + 31 * number
    image.PixelData = pixels.astype(np.int16).tobytes()
    return image


IMAGES = [make_image(1), make_image(2)]


def area(top_left=(1, 1), bottom_right=(COLUMNS, ROWS), **attributes) -> Sequence:
    item = Dataset()
    item.DisplayedAreaTopLeftHandCorner, item.DisplayedAreaBottomRightHandCorner = list(top_left), list(bottom_right)
    item.PresentationSizeMode, item.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


NEXT = iter(range(1, 1000))
RESCALE = hd.ModalityLUTTransformation(rescale_intercept=-1024.0, rescale_slope=1.0, rescale_type="HU")
WINDOW = hd.pr.SoftcopyVOILUTTransformation(window_center=-300.0, window_width=900.0)
LAYER = hd.pr.GraphicLayer("LAYER1", order=1, display_color=CIELabColor(100.0, 0.0, 0.0))


def make_state(images=IMAGES[:1], cls=hd.pr.GrayscaleSoftcopyPresentationState, **parts_) -> Dataset:
    parts_ = {
        "modality_lut_transformation": RESCALE,
        "voi_lut_transformations": [WINDOW],
        "presentation_lut_transformation": hd.PresentationLUTTransformation(presentation_lut_shape="IDENTITY"),
    } | parts_
    number = next(NEXT)
    state = cls(
        referenced_images=images, series_instance_uid=f"{STUDY}.21", series_number=21,
        sop_instance_uid=f"{STUDY}.21.{number}", instance_number=number, manufacturer="x",
        manufacturer_model_name="x", software_versions="1", device_serial_number="1", content_label="STATE",
        **{name: value for name, value in parts_.items() if value is not None},
    )  # fmt: skip
    state.DisplayedAreaSelectionSequence = area()
    return state


def add_overlay(dataset: Dataset, group: int, bits: np.ndarray, origin=(1, 1)):
    dataset.add_new((group, 0x0010), "US", bits.shape[0])
    dataset.add_new((group, 0x0011), "US", bits.shape[1])
    dataset.add_new((group, 0x0040), "CS", "G")
    dataset.add_new((group, 0x0050), "SS", list(origin))
    dataset.add_new((group, 0x0100), "US", 1)
    dataset.add_new((group, 0x0102), "US", 0)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset.add_new((group, 0x3000), "OW", packed + b"\0" * (len(packed) % 2))


def grey_layers(**layers: int) -> Sequence:
    """Layers by name, each with its grey level of 16 bits."""
    items = []
    for order, (name, value) in enumerate(layers.items()):
        item = Dataset()
        item.GraphicLayer, item.GraphicLayerOrder = name, order + 1
        item.GraphicLayerRecommendedDisplayGrayscaleValue = value
        items.append(item)
    return Sequence(items)


@pytest.fixture(scope="module")
def house(server, stored):
    DICOMwebClient(url=server.dicomweb).store_instances([*IMAGES, make_multi_frame()[0]])
    return server


def store(house, state: Dataset) -> Dataset:
    DICOMwebClient(url=house.dicomweb).store_instances([state])
    return state


def grey(pixels: np.ndarray) -> np.ndarray:
    """Grey levels of what may have come in colour because something lies above it."""
    if pixels.ndim == 3:
        assert (pixels == pixels[..., :1]).all()
        return pixels[..., 0]
    return pixels


def rendered(house, state: Dataset, **query) -> np.ndarray:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return picture(get(house, f"{of(state)}/rendered?{text}", "image/png").content, "PNG")


def by_dcmtk(tmp_path, image: Dataset, state: Dataset, frame: int = 1) -> np.ndarray:
    paths = [tmp_path / name for name in ("state.dcm", "image.dcm", "out.pgm")]
    paths[0].write_bytes(part10(state))
    paths[1].write_bytes(part10(image))
    command = ["dcmp2pgm", "-p", paths[0], "-f", str(frame), paths[1], paths[2]]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return np.asarray(Image.open(paths[2])).astype(int)


def state_cases() -> dict[str, Dataset]:
    ramp = np.linspace(0.0, 1.0, 1024)
    steps = hd.VOILUT(first_mapped_value=0, lut_data=(np.sqrt(ramp[::2]) * 65535).astype(np.uint16))
    # highdicom knows no tables that begin below zero.
    steps.add_new("LUTDescriptor", "SS", [512, -900, 16])
    curve = hd.PresentationLUT(first_mapped_value=0, lut_data=(ramp**2 * 65535).astype(np.uint16))
    stored = hd.ModalityLUT(
        lut_type="US", first_mapped_value=0, lut_data=(3000 - np.arange(1600)).astype(np.uint16), lut_explanation="x"
    )
    inverse = hd.PresentationLUTTransformation(presentation_lut_shape="INVERSE")
    return {
        "window": make_state(),
        "inverse": make_state(presentation_lut_transformation=inverse),
        "voi table": make_state(voi_lut_transformations=[hd.pr.SoftcopyVOILUTTransformation(voi_luts=[steps])]),
        "presentation table": make_state(
            presentation_lut_transformation=hd.PresentationLUTTransformation(presentation_lut=curve)
        ),
        "modality table": make_state(
            modality_lut_transformation=hd.ModalityLUTTransformation(modality_lut=stored),
            voi_lut_transformations=[hd.pr.SoftcopyVOILUTTransformation(window_center=2500.0, window_width=1000.0)],
        ),
    }


@pytest.mark.parametrize("case", list(state_cases()))
def test_grey_levels(house, tmp_path, case):
    state = store(house, state_cases()[case])
    near(rendered(house, state), by_dcmtk(tmp_path, IMAGES[0], state))


def test_a_sigmoid(house):
    sigmoid = hd.pr.SoftcopyVOILUTTransformation(window_center=-300.0, window_width=900.0, voi_lut_function="SIGMOID")
    image = copy.deepcopy(IMAGES[0])
    image.VOILUTFunction = "SIGMOID"
    state = store(house, make_state(voi_lut_transformations=[sigmoid]))
    near(rendered(house, state), shown(image, -300, 900))


def test_without_a_voi_all_values_are_shown(house):
    state = make_state()
    del state.SoftcopyVOILUTSequence
    stored = IMAGES[0].pixel_array.astype(int)
    near(rendered(house, store(house, state)), np.round((stored + 2**15) / (2**16 - 1) * 255).astype(int))


def test_the_client_s_window_stands_above_the_state_s(house):
    state, wide = store(house, make_state()), hd.pr.SoftcopyVOILUTTransformation(window_center=0.0, window_width=2000.0)
    same = store(house, make_state(voi_lut_transformations=[wide]))
    assert np.array_equal(rendered(house, state, window="0,2000,linear"), rendered(house, same))


@pytest.mark.parametrize("turn", [(0, "Y"), (90, "N"), (180, "N"), (270, "N"), (90, "Y"), (270, "Y")])
def test_turns(house, tmp_path, turn):
    state = make_state()
    state.ImageRotation, state.ImageHorizontalFlip = turn
    store(house, state)
    near(rendered(house, state), by_dcmtk(tmp_path, IMAGES[0], state))


def mask(draw) -> np.ndarray:
    """Where Pillow draws."""
    canvas = Image.new("1", (COLUMNS, ROWS))
    draw(ImageDraw.Draw(canvas))
    return np.asarray(canvas)


RECTANGLE = {
    "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 10, "ShutterRightVerticalEdge": 50,
    "ShutterUpperHorizontalEdge": 5, "ShutterLowerHorizontalEdge": 30,
}  # fmt: skip
CIRCLE = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [20, 30], "RadiusOfCircularShutter": 15}
POLYGON = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [5, 10, 8, 60, 44, 33]}
OPEN = {
    "rectangle": (RECTANGLE, mask(lambda d: d.rectangle((9, 4, 49, 29), fill=1))),
    "circle": (CIRCLE, mask(lambda d: d.ellipse((14, 4, 44, 34), fill=1))),
    "polygon": (POLYGON, mask(lambda d: d.polygon([(9, 4), (59, 7), (32, 43)], fill=1))),
    "rectangle and circle": (
        RECTANGLE | CIRCLE | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"]},
        mask(lambda d: d.rectangle((9, 4, 49, 29), fill=1)) & mask(lambda d: d.ellipse((14, 4, 44, 34), fill=1)),
    ),
}


@pytest.mark.parametrize("shape", OPEN)
def test_shutters(house, shape):
    attributes, opening = OPEN[shape]
    state, without = make_state(), rendered(house, store(house, make_state()))
    for keyword, value in attributes.items():
        setattr(state, keyword, value)
    state.ShutterPresentationValue = 0x6060
    found = grey(rendered(house, store(house, state)))
    wrong = found != np.where(opening, without, 0x60)
    # On which side of a slanted edge a pixel lies that the edge goes through, Pillow may see otherwise.
    assert wrong.mean() < (0.03 if "rectangle" != shape else 1e-9)


def test_a_shutter_has_a_colour(house):
    state = make_state()
    for keyword, value in RECTANGLE.items():
        setattr(state, keyword, value)
    state.ShutterPresentationColorCIELabValue = list(CIELabColor(53.0, 80.0, 67.0).value)
    red, green, blue = rendered(house, store(house, state))[0, 0]
    assert red > 240 and green < 30 and blue < 30


def test_a_bitmap_is_a_shutter(house):
    state, bits = make_state(), np.zeros((ROWS, COLUMNS), bool)
    bits[:20, 30:] = True
    add_overlay(state, 0x6002, bits)
    state.ShutterShape, state.ShutterOverlayGroup, state.ShutterPresentationValue = "BITMAP", 0x6002, 0x8080
    without = rendered(house, store(house, make_state()))
    assert np.array_equal(grey(rendered(house, store(house, state))), np.where(bits, 0x80, without))


@pytest.mark.parametrize("of_image", [False, True])
def test_overlays_that_are_switched_on(house, of_image):
    bits = np.indices((20, 25)).sum(0) % 3 == 0
    image = store(house, make_image(5))
    if of_image:
        image = make_image(6)
        add_overlay(image, 0x6000, bits, origin=(7, 11))
        store(house, image)
    without = rendered(house, store(house, make_state(images=[image])))
    state = make_state(images=[image])
    if not of_image:
        add_overlay(state, 0x6000, bits, origin=(7, 11))
    state.add_new((0x6000, 0x1001), "CS", "ONE")
    state.GraphicLayerSequence = grey_layers(ONE=0x9090)
    covered = np.pad(bits, ((6, 22), (10, 29)))
    assert np.array_equal(grey(rendered(house, store(house, state))), np.where(covered, 0x90, without))


def test_an_overlay_may_have_frames(house):
    image, pixels = make_multi_frame()
    bits = np.zeros((2, 16, 12), bool)
    bits[0, 0], bits[1, 1] = True, True
    state = make_state_of_frames(image)
    add_overlay(state, 0x6000, bits.reshape(32, 12))
    state[0x6000, 0x0010].value = 16
    state.add_new((0x6000, 0x0015), "IS", 2)
    state.add_new((0x6000, 0x0051), "US", 3)
    state.add_new((0x6000, 0x1001), "CS", "ONE")
    state.GraphicLayerSequence = grey_layers(ONE=0xFFFF)
    store(house, state)
    for number, row in [(2, None), (3, 0), (4, 1), (5, None)]:
        expected = pixels[number - 1].astype(int)
        if row is not None:
            expected[row] = 255
        near(grey(picture(get(house, f"{of(state)}/frames/{number}/rendered", "image/png").content)), expected)


def test_the_displayed_area(house):
    whole = rendered(house, store(house, make_state()))
    inside = make_state()
    inside.DisplayedAreaSelectionSequence = area((11, 6), (30, 40))
    assert np.array_equal(rendered(house, store(house, inside)), whole[5:40, 10:30])
    beyond = make_state()
    beyond.DisplayedAreaSelectionSequence = area((-3, 1), (COLUMNS, ROWS + 5))
    assert np.array_equal(rendered(house, store(house, beyond)), np.pad(whole, ((0, 5), (4, 0))))
    # The corners are those of what is seen.
    turned = make_state()
    turned.ImageRotation, turned.ImageHorizontalFlip = 180, "N"
    turned.DisplayedAreaSelectionSequence = area((30, 40), (11, 6))
    assert np.array_equal(rendered(house, store(house, turned)), whole[5:40, 10:30][::-1, ::-1])


def test_proportions_and_magnification(house):
    def size(**attributes):
        state = make_state()
        state.DisplayedAreaSelectionSequence = area(**attributes)
        return rendered(house, store(house, state)).shape

    assert size(PresentationPixelAspectRatio=[2, 1]) == (2 * ROWS, COLUMNS)
    assert size(PresentationPixelAspectRatio=[1, 2]) == (ROWS, 2 * COLUMNS)
    assert size(PresentationPixelSpacing=[0.75, 0.5]) == (ROWS * 3 // 2, COLUMNS)
    magnified = {"PresentationSizeMode": "MAGNIFY", "PresentationPixelMagnificationRatio": 3.0}
    assert size(**magnified) == (3 * ROWS, 3 * COLUMNS)
    state = make_state()
    state.DisplayedAreaSelectionSequence = area(**magnified | {"PresentationPixelMagnificationRatio": 1e6})
    too_large = get(house, f"{of(store(house, state))}/rendered", "image/png", status=406)
    assert too_large.json()["code"] == "no_picture"


def drawn(house, kind: str, points, filled=False, turn=(0, "N"), units="PIXEL") -> np.ndarray:
    """Where a graphic is drawn, on a slice that is black."""
    black = hd.pr.SoftcopyVOILUTTransformation(window_center=30000.0, window_width=100.0)
    graphic = hd.pr.GraphicObject(kind, np.array(points, float), units, is_filled=filled)
    annotation = hd.pr.GraphicAnnotation(IMAGES[:1], LAYER, graphic_objects=[graphic])
    state = make_state(voi_lut_transformations=[black], graphic_annotations=[annotation], graphic_layers=[LAYER])
    state.ImageRotation, state.ImageHorizontalFlip = turn
    return grey(rendered(house, store(house, state)))


def overlap(found: np.ndarray, draw) -> float:
    """Dice of what is drawn with what Pillow draws."""
    canvas = Image.new("L", (COLUMNS, ROWS))
    draw(ImageDraw.Draw(canvas))
    one, other = found > 127, np.asarray(canvas) > 127
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_filled_graphics(house):
    triangle = [(10, 5), (55, 20), (20, 40), (10, 5)]
    assert overlap(drawn(house, "POLYLINE", triangle, filled=True), lambda d: d.polygon(triangle, fill=255)) > 0.95
    circle = drawn(house, "CIRCLE", [(30, 24), (30, 39)], filled=True)
    assert overlap(circle, lambda d: d.ellipse((15, 9, 45, 39), fill=255)) > 0.95
    ellipse = drawn(house, "ELLIPSE", [(10, 24), (50, 24), (30, 14), (30, 34)], filled=True)
    assert overlap(ellipse, lambda d: d.ellipse((10, 14, 50, 34), fill=255)) > 0.95


def test_lines_and_points(house):
    line = drawn(house, "POLYLINE", [(5.5, 10.5), (50.5, 10.5)])
    assert (line[10, 6:50] > 200).all() and (line > 127).sum() <= 46
    curve = drawn(house, "INTERPOLATED", [(5, 24), (20, 10), (40, 38), (60, 24)])
    for x, y in [(20, 10), (40, 38)]:
        assert curve[y - 2 : y + 2, x - 2 : x + 2].max() > 127, "it goes through its points"
    assert (curve[:, 6:58].max(0) > 60).all(), "and has no gap"
    point = drawn(house, "POINT", [(20, 30)])
    assert (point[28:32, 18:22] > 127).all() and (point > 127).sum() < 40


def test_graphics_turn_with_the_image(house):
    triangle = [(10, 5), (55, 20), (20, 40), (10, 5)]
    straight = drawn(house, "POLYLINE", triangle, filled=True)
    for degrees, flip in [(90, "N"), (180, "N"), (270, "Y")]:
        turned = np.rot90(straight, -degrees // 90)
        turned = turned[:, ::-1] if flip == "Y" else turned
        near(drawn(house, "POLYLINE", triangle, filled=True, turn=(degrees, flip)), turned, tolerance=8)
    # Shares of what is shown do not turn.
    box = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75), (0.25, 0.25)]
    shares = drawn(house, "POLYLINE", box, filled=True, turn=(90, "N"), units="DISPLAY")
    assert shares.shape == (COLUMNS, ROWS) and (shares[17:47, 13:35] == 255).all() and shares[:15].max() == 0


def test_text_and_colours(house):
    yellow = CIELabColor(97.0, -21.0, 94.0)
    layer = hd.pr.GraphicLayer("YELLOW", order=1, display_color=yellow)
    text = hd.pr.TextObject("OK", "PIXEL", bounding_box=(20.0, 10.0, 50.0, 30.0))
    annotation = hd.pr.GraphicAnnotation(IMAGES[:1], layer, text_objects=[text])
    state = store(house, make_state(graphic_annotations=[annotation], graphic_layers=[layer]))
    found, without = rendered(house, state), rendered(house, store(house, make_state()))
    changed = (found != without[..., None]).any(-1)
    rows, columns = np.nonzero(changed)
    assert 30 < changed.sum() < 200
    assert 10 <= rows.min() and rows.max() < 28 and 20 <= columns.min() and columns.max() < 38
    red, green, blue = found[changed].T
    assert (red > 230).all() and (green > 230).all() and (blue < 80).all()


def test_a_palette(house):
    entries = np.arange(256)
    palette = [
        hd.PaletteColorLUT(first_mapped_value=0, lut_data=data.astype(np.uint16) * 257, color=colour)
        for data, colour in ((entries, "red"), (255 - entries, "green"), ((entries * 2) % 256, "blue"))
    ]
    table = hd.PaletteColorLUTTransformation(*palette)
    state = make_state(
        cls=hd.pr.PseudoColorSoftcopyPresentationState, palette_color_lut_transformation=table,
        presentation_lut_transformation=None, voi_lut_transformations=None,
    )  # fmt: skip
    # highdicom 0.28 takes none for this class.
    state.SoftcopyVOILUTSequence = Sequence([WINDOW])
    found = rendered(house, store(house, state))
    index = rendered(house, store(house, make_state()))
    near(found[..., 0], index)
    near(found[..., 1], 255 - index)
    assert (np.abs(found[..., 2] - (2 * found[..., 0]) % 256) <= 1).all()


def test_a_state_shows_the_images_that_it_is_for(house, tmp_path):
    narrow = hd.pr.SoftcopyVOILUTTransformation(
        window_center=-300.0, window_width=300.0,
        referenced_images=hd.ReferencedImageSequence(referenced_images=IMAGES[1:]),
    )  # fmt: skip
    wide = hd.pr.SoftcopyVOILUTTransformation(
        window_center=-300.0, window_width=900.0,
        referenced_images=hd.ReferencedImageSequence(referenced_images=IMAGES[:1]),
    )  # fmt: skip
    state = store(house, make_state(images=IMAGES, voi_lut_transformations=[narrow, wide]))
    expected = [by_dcmtk(tmp_path, image, state) for image in IMAGES]
    pictures = parts(get(house, f"{of(state)}/rendered", PNG_PARTS))
    assert [headers["content-location"].split(state.SOPInstanceUID)[1] for headers, _ in pictures] == [
        "/frames/1/rendered", "/frames/2/rendered",
    ]  # fmt: skip
    for (_, content), image in zip(pictures, expected, strict=True):
        near(picture(content, "PNG"), image)
    near(rendered(house, state), expected[0])
    near(picture(get(house, f"{of(state)}/frames/2/rendered", "image/png").content), expected[1])
    assert len(gif_frames(get(house, f"{of(state)}/rendered", "image/gif").content)) == 2
    assert get(house, f"{of(state)}/frames/3/rendered", status=404).json()["code"] == "no_such_frame"
    assert picture(get(house, f"{of(state)}/thumbnail", "image/png").content).shape == (96, 128)


def test_wado_uri_shows_an_object_by_a_state(house, tmp_path):
    state = store(house, make_state(images=IMAGES))
    by_state = {"presentationUID": state.SOPInstanceUID, "presentationSeriesUID": state.SeriesInstanceUID}
    for image in IMAGES:
        answer = wado(house, image, contentType="image/png", **by_state)
        near(picture(answer.content, "PNG"), by_dcmtk(tmp_path, image, state))
    assert wado(house, IMAGES[0], **by_state).headers["Content-Type"] == "image/jpeg"
    other = make_ct(1)
    assert "not for that image" in wado(house, other, 400, **by_state).json()["message"]
    assert wado(house, IMAGES[0], 404, presentationUID="2.25.404").json()["code"] == "not_found"
    assert wado(house, IMAGES[0], 404, **by_state | {"presentationSeriesUID": SERIES}).json()["code"] == "not_found"
    assert wado(house, IMAGES[0], 406, presentationUID=IMAGES[1].SOPInstanceUID).json()["code"] == "no_picture"
    assert wado(house, IMAGES[0], 400, contentType="application/dicom", **by_state).json()["code"] == "bad_query"


def make_state_of_frames(image: Dataset) -> Dataset:
    """A state that shows values from 0 to 255 as they are."""
    wide = hd.pr.SoftcopyVOILUTTransformation(window_center=128.0, window_width=256.0)
    same = hd.ModalityLUTTransformation(rescale_intercept=0.0, rescale_slope=1.0, rescale_type="US")
    state = make_state(images=[image], modality_lut_transformation=same, voi_lut_transformations=[wide])
    state.DisplayedAreaSelectionSequence = area(bottom_right=(12, 16))
    return state


def test_frames_of_an_image(house):
    image, pixels = make_multi_frame()
    state = make_state_of_frames(image)
    state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedFrameNumber = [2, 4]
    store(house, state)
    pictures = parts(get(house, f"{of(state)}/rendered", PNG_PARTS))
    for (_, content), frame in zip(pictures, [1, 3], strict=True):
        near(picture(content), pixels[frame].astype(int))
    by_state = {"presentationUID": state.SOPInstanceUID, "contentType": "image/png"}
    near(picture(wado(house, image, frameNumber=4, **by_state).content), pixels[3].astype(int))
    assert wado(house, image, 400, frameNumber=3, **by_state).json()["code"] == "bad_query"


def test_a_state_without_its_images_is_not_found(house):
    gone = make_ct(77, series=f"{STUDY}.30")
    state = store(house, make_state(images=[gone]))
    assert get(house, f"{of(state)}/rendered", status=404).json()["code"] == "not_found"


def test_a_state_that_cannot_be_applied_is_refused(house):
    state = make_state()
    state.SOPClassUID = state.file_meta.MediaStorageSOPClassUID = pydicom.uid.BlendingSoftcopyPresentationStateStorage
    answer = get(house, f"{of(store(house, state))}/rendered", status=406)
    assert answer.json()["code"] == "no_picture"
