"""Stand-ins for what of Slicer is not in `slicer_core`: its widgets, application and DICOM database.

MRML, vtk and `slicer.util` are Slicer's own. What stands in has no name that `names.json` does not list, which was taken from
the headers of Slicer and CTK that it names; anything else is an `AttributeError`.
"""

import json
import sys
import types
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import slicer
import slicer.util
import slicer_core
import vtk
from PySide6 import QtCore, QtWidgets

import pythonqt
from serving import ROOT

MODULE = ROOT / "slicer_extension" / "Engram"
NAMES = json.loads((Path(__file__).parent / "names.json").read_text())


def listed(name: str) -> set[str]:
    entry = NAMES[name]
    return {*entry["properties"], *entry["methods"], *(one.split("(")[0] for one in entry["signals"] + entry["slots"])}


class Recorded:
    """An object of a class of Slicer, of which the given functions are played; others that it has fail as not played, and what it
    does not have as `AttributeError`."""

    def __init__(self, kind: str, **played):
        unknown = played.keys() - listed(kind)
        assert not unknown, f"{kind} has no {unknown}"
        self._kind = kind
        self.__dict__.update(played)

    def __getattr__(self, name):
        if name in listed(self._kind):
            raise NotImplementedError(f"{self._kind}.{name} is not played")
        raise AttributeError(f"{self._kind} has no {name}")


class VtkSignal:
    """A signal whose argument is an object of vtk. (Emitting one of PySide's own from Python takes references to True away,
    and Python ends with `bool_dealloc`.)"""

    def __init__(self):
        self._slots = []

    def connect(self, slot):
        self._slots.append(slot)

    def emit(self, value):
        for slot in self._slots:
            slot(value)


class qMRMLWidget(QtWidgets.QWidget):
    VTK_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "sceneChanged"}

    def __init__(self, parent=None):
        super().__init__(parent)
        self.sceneChanged = VtkSignal()

    def setMRMLScene(self, scene):
        self.sceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of some classes. Its properties are those that the .ui file sets."""

    VTK_SIGNALS = {"currentNodeChanged(vtkMRMLNode*)": "nodeChanged"}

    def __init__(self, parent=None):
        super().__init__(parent)
        self.nodeChanged = VtkSignal()
        self._scene, self._nodes, self._current = None, [], None
        self._box = QtWidgets.QComboBox(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(lambda index: self._choose((self._nodes)[index]))

    def setMRMLScene(self, scene):
        self._scene = scene
        for event in (slicer_core.vtkMRMLScene.NodeAddedEvent, slicer_core.vtkMRMLScene.NodeRemovedEvent):
            scene.AddObserver(event, lambda *_: self._list())
        self._list()

    def _list(self):
        of_scene = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        none = [None] if self.property("noneEnabled") else []
        self._nodes = none + [one for one in of_scene if one.GetClassName() in self.property("nodeTypes")]
        self._box.clear()
        self._box.addItems([self.property("noneDisplay") if one is None else one.GetName() for one in self._nodes])
        self._choose(self._current if self._current in self._nodes else next(iter(self._nodes), None))

    def _choose(self, node):
        if node in self._nodes:
            self._box.setCurrentIndex(self._nodes.index(node))
        if node is not self._current:
            self._current = node
            self.nodeChanged.emit(node)

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        self._choose(node)


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    """Its text as a title; it does not collapse."""

    def event(self, event):
        if event.type() == QtCore.QEvent.DynamicPropertyChange:
            self.setTitle(self.property("text"))
        return super().event(event)


class qMRMLSliceWidget(QtWidgets.QWidget):
    def __init__(self, node):
        super().__init__()
        self._node = node
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(QtWidgets.QLabel("view"))

    def mrmlSliceNode(self):
        return self._node


WIDGETS = {one.__name__: one for one in (qMRMLWidget, qMRMLNodeComboBox, ctkCollapsibleButton)}


def connect_vtk(root, path: str):
    """The .ui file's connections of vtk's types, which Qt without Slicer cannot make."""
    for one in ElementTree.parse(path).iter("connection"):
        sender, signal, receiver, slot = (one.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
        if "vtk" not in signal:
            continue
        find = {root.objectName(): root}
        source = find.get(sender) or root.findChild(QtCore.QObject, sender)
        sink = find.get(receiver) or root.findChild(QtCore.QObject, receiver)
        getattr(source, type(source).VTK_SIGNALS[signal]).connect(getattr(sink, slot.split("(")[0]))


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name):
        return str(MODULE / "Resources" / name)

    def setup(self):
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        pass


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message):
        pass


def scripted_module():
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    for one in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest):
        setattr(module, one.__name__, one)
    return module


class Slicer:
    """A Slicer with a scene, a Red view and an empty DICOM database; `panel()` opens the module."""

    def __init__(self, folder: Path):
        self.qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["tests"])
        self.scene = slicer_core.vtkMRMLScene()
        self.files = {}
        self.settings = QtCore.QSettings(str(folder / "Slicer.ini"), QtCore.QSettings.IniFormat)
        red = slicer_core.vtkMRMLSliceNode()
        red.SetName("Red")
        red.SetLayoutName("Red")
        self.red = qMRMLSliceWidget(self.scene.AddNode(red))
        manager = Recorded("qMRMLLayoutManager", sliceWidget=lambda name: pythonqt.wrap(self.red) if name == "Red" else None)
        slicer.mrmlScene = self.scene
        slicer.app = Recorded("qSlicerApplication", layoutManager=lambda: manager, userSettings=lambda: self.settings)
        slicer.dicomDatabase = Recorded(
            "ctkDICOMDatabase", fileForInstance=lambda uid: self.files.get(uid, ""), instanceValue=self.instance_value)
        slicer.ScriptedLoadableModule = scripted_module()
        sys.modules["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule
        sys.modules["qt"] = pythonqt.QtModule(pythonqt.ui_loader(WIDGETS, connect_vtk))
        sys.modules["ctk"] = types.ModuleType("ctk")
        sys.modules["vtk"] = vtk

    def instance_value(self, uid: str, tag: str) -> str:
        import pydicom

        if uid not in self.files:
            return ""
        return str(pydicom.dcmread(self.files[uid], stop_before_pixels=True)[tag.replace(",", "")].value)

    def panel(self):
        import Engram

        holder = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(holder)
        widget = Engram.EngramWidget(pythonqt.wrap(holder))
        widget.setup()
        return widget
