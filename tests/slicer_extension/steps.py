"""What several tests do: with the library and a server, with MRML nodes, and with the panel."""

import time

import numpy as np
import patients
import slicer_core
from EngramLib import mrml, run, target, upload

import cases

SECONDS = 60


def silent(_):
    pass


def never() -> bool:
    return False


def locate(client, case):
    parts = tuple(upload.file_part(str(path)) for path in case.files())
    return target.locate(client, target.Target(case.uids, parts), silent, never)


def auto_segment(client, located, **asked):
    return run.finish(client, run.start(client, located, run.Asked(**asked)), located, silent, never)


def to_node(scene, volume, result):
    node = mrml.new_segmentation(scene, volume, "Engram")
    mrml.add_segments(slicer_core, node, volume, result.located.grid, result.segments, result.keys)
    return node


def client_store(client, datasets):
    parts = [upload.bytes_part(patients.part10(one)) for one in datasets]
    upload.send(client, parts, silent, never)


def paint(node, volume, grid, identity: str, mask: np.ndarray):
    """What a person does in the Segment Editor: the segment's labelmap is another."""
    placement = mrml._placement(volume, grid)
    image = mrml._labelmap(slicer_core, placement.to_voxels(mask), placement.matrix)
    assert slicer_core.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, node, identity)


def odd_mask() -> np.ndarray:
    """What no method would find by itself."""
    mask = np.zeros((patients.SIZE, patients.SIZE), bool)
    mask[3:9, 50:60] = True
    return mask


def until(running, condition):
    """Lets the event loop run until the condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        running.qt_application.processEvents()
        time.sleep(0.01)


def ended(running, panel):
    until(running, lambda: panel.task is None)
    return panel.ui.messageText.text


def loaded(running, case):
    """The case as Slicer has it after loading it from its DICOM database."""
    running.files.update({uid: str(path) for uid, path in zip(case.uids, case.files(), strict=True)})
    return cases.load(case, running.scene)


def nodes(running, kind="vtkMRMLSegmentationNode"):
    found = running.scene.GetNodesByClass(kind)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]


def items(box):
    return [box.item(index).text() for index in range(box.count)]
