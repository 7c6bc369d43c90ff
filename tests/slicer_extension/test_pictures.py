"""The pictures of the docs: the panel drawn by Qt, and a result drawn from the MRML nodes that the panel made.

`ENGRAM_PICTURES=FOLDER` keeps them there; `docs/pictures` and `slicer_extension/Screenshots` hold such a run's.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import slicer_core
from PIL import Image

import cases
from EngramLib import confidence, mrml
from steps import ended, items, loaded, nodes, until

ZOOM = 6
SLICES = (2, 4, 6)


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = Path(os.environ.get("ENGRAM_PICTURES", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def slice_picture(voxels: np.ndarray, masks: list, colours: list) -> Image.Image:
    """A slice in grey, and outlines of the segments in their colours."""
    grey = np.clip(voxels / np.percentile(voxels, 99.5) * 255, 0, 255).astype(np.uint8)
    large = np.kron(np.stack([grey] * 3, -1), np.ones((ZOOM, ZOOM, 1), np.uint8))
    for mask, colour in zip(masks, colours, strict=True):
        solid = np.kron(mask, np.ones((ZOOM, ZOOM), bool))
        inner = solid.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            inner &= np.roll(solid, 2 * step, axis)
        large[solid & ~inner] = np.rint(np.array(colour) * 255)
    return Image.fromarray(large)


def test_the_panel_and_a_result_are_drawn(taught, running, open_panel, tmp_path, pictures):
    volume = loaded(running, cases.make(80, "axial", tmp_path / "images"))
    volume.SetName("MR abdomen")
    panel = open_panel(taught.base)
    ui = panel.ui
    until(running, lambda: ui.labelList.count == 2)
    ui.creatorEdit.text = "Reader^Rita"
    ui.segmentButton.click()
    assert ended(running, panel).startswith("Done.")
    _, result, slices = panel.reviewed
    panel.showSlice(4)
    ui.casesButton.click()
    ended(running, panel)
    assert items(ui.casesList)
    panel.say("Done.")

    # The address of a test's server would be another in every run.
    ui.addressEdit.text = "http://127.0.0.1:8080"
    window = panel.parent.real
    window.setStyleSheet("QListWidget { max-height: 96px } QWidget { font-size: 11px }")
    window.resize(420, 980)
    window.show()
    running.qt_application.processEvents()
    panel.drawStrips()
    assert window.grab().save(str(pictures / "panel.png"))
    window.close()

    (node,) = nodes(running)
    grid = result.located.grid
    found = mrml.segments_of(slicer_core, node, volume, grid)
    colours = [node.GetSegmentation().GetSegment(one).GetColor() for one in found]
    voxels = mrml.voxels_of(volume)
    drawn = [slice_picture(voxels[at], [one.mask[at] for one in found.values()], colours) for at in SLICES]
    width, height = drawn[0].size
    sheet = Image.new("RGB", (width * len(drawn), height + 28))
    for index, one in enumerate(drawn):
        sheet.paste(one, (index * width, 0))
    strip = confidence.strip(slices, sheet.width, 24, 4)
    sheet.paste(Image.fromarray(strip), (0, height + 4))
    sheet.save(pictures / "result.png", optimize=True)

    panel_picture = np.array(Image.open(pictures / "panel.png").convert("RGB"))
    assert len(np.unique(panel_picture.reshape(-1, 3), axis=0)) > 100, "the panel is blank"
    outlined = np.array(sheet)
    assert (outlined.max(-1).astype(int) - outlined.min(-1) > 60).any(axis=(0, 1)), "nothing is outlined"
