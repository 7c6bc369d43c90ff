"""What several tests do: with the library and a server, with MRML nodes, and with the panel."""

import contextlib
import socket
import threading
import time

import numpy as np
import slicer_core

import cases
import patients
from EngramLib import mrml, run, target, upload

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
    placement = mrml.placement_in(volume, grid)
    image = mrml.labelmap(slicer_core, placement.to_voxels(mask), placement.matrix)
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


class Wire:
    """A port that leads to a server while it is whole."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.leads_to = None
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(self.leads_to)
            except (OSError, TypeError):
                near.close()
                continue
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def cut(self):
        self.leads_to = None
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def port_of(base: str) -> tuple[str, int]:
    return "127.0.0.1", int(base.rsplit(":", 1)[1])
