"""The extension's folder: names that Slicer has, Python that Slicer 5.8 runs, and what the Extensions Index asks for."""

import ast
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema_rs
import pytest
from PIL import Image
from PySide6 import QtWidgets

import pythonqt
import standins
from serving import ROOT

EXTENSION = ROOT / "slicer_extension"
MODULE = EXTENSION / "Engram"
SOURCES = sorted(MODULE.rglob("*.py"))
LIBRARY = sorted((MODULE / "EngramLib").glob("*.py"))
UI_FILES = sorted((MODULE / "Resources" / "UI").glob("*.ui"))
INDEX = json.loads((Path(__file__).parent / "extensions_index.json").read_text())


def cmake(name: str, folder: Path = EXTENSION) -> str:
    """The value of a variable of CMakeLists.txt."""
    text = (folder / "CMakeLists.txt").read_text()
    return re.search(rf'set\({name}\s+"([^"]*)"\)', text).group(1)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_syntax_is_python_3_9s(path):
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_nothing_is_newer_than_python_3_9():
    vermin = Path(sys.executable).parent / "vermin"
    done = subprocess.run([vermin, "--target=3.9-", "--no-tips", "--eval-annotations", "--violations", *SOURCES],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name.split(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_the_library_knows_neither_qt_nor_slicer(path):
    """And nothing that Slicer does not ship. `mrml` alone knows vtk."""
    allowed = {"numpy", "pydicom", "requests", *sys.stdlib_module_names} | ({"vtk"} if path.stem == "mrml" else set())
    assert imports(path) <= allowed


def qt_properties(kind: str) -> set[str]:
    """Properties of a class of Qt."""
    # An abstract class is asked for through one that extends it.
    made = getattr(QtWidgets, {"QAbstractButton": "QPushButton"}.get(kind, kind))()
    meta = made.metaObject()
    while meta.className() != kind:
        meta = meta.superClass()
    return {meta.property(index).name() for index in range(meta.propertyCount())}


@pytest.mark.parametrize("path", UI_FILES, ids=lambda path: path.name)
def test_classes_and_properties_of_the_panel_exist(path):
    """Those of Qt by its own meta-objects, those of Slicer and CTK by their headers."""
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["tests"])
    assert application is not None
    for widget in ElementTree.parse(path).iter("widget"):
        kind = widget.get("class")
        own = standins.NAMES.get(kind, {"properties": [], "extends": kind})
        known = qt_properties(own["extends"]) | set(own["properties"])
        used = {one.get("name") for one in widget.findall("property")}
        assert used <= known, f"{widget.get('name')}: {kind} has no {used - known}"


@pytest.mark.parametrize("path", UI_FILES, ids=lambda path: path.name)
def test_connections_of_the_panel_exist(path):
    tree = ElementTree.parse(path)
    kinds = {one.get("name"): one.get("class") for one in tree.iter("widget")}
    for one in tree.iter("connection"):
        for widget, what, end in (("sender", "signals", "signal"), ("receiver", "slots", "slot")):
            kind = kinds[one.findtext(widget)]
            if kind in standins.NAMES:
                assert one.findtext(end) in standins.NAMES[kind][what], f"{kind} has no {one.findtext(end)}"


def test_every_widget_that_the_module_names_is_in_the_panel():
    named = set(re.findall(r"\bui\.(\w+)", (MODULE / "Engram.py").read_text()))
    there = {one.get("name") for path in UI_FILES for one in ElementTree.parse(path).iter("widget")}
    assert named <= there, named - there


def test_stand_ins_have_no_name_that_slicer_lacks():
    """What the stand-ins add to Qt is listed, with the header that it was taken from."""
    helpers = {"VTK_SIGNALS", "sceneChanged", "nodeChanged", "staticMetaObject"}
    for name, kind in {**standins.WIDGETS, "qMRMLSliceWidget": standins.qMRMLSliceWidget}.items():
        added = {one for one in vars(kind) if not one.startswith("_")} - helpers - {"event"}
        assert added <= standins.listed(name), f"{name}: {added - standins.listed(name)}"
        assert "@" in standins.NAMES[name]["source"]


def test_the_stand_ins_fail_on_what_they_do_not_know():
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["tests"])
    assert application is not None
    button = pythonqt.wrap(QtWidgets.QPushButton("press"))
    assert button.text == "press" and button.enabled
    with pytest.raises(AttributeError, match="QPushButton has no caption"):
        _ = button.caption
    with pytest.raises(AttributeError, match="no property caption"):
        button.caption = "x"
    with pytest.raises(AttributeError, match="no signal"):
        button.connect("pushed()", print)
    qt = pythonqt.QtModule(None)
    with pytest.raises(AttributeError, match="Qt has no QButton"):
        _ = qt.QButton
    database = standins.Recorded("ctkDICOMDatabase", fileForInstance=lambda uid: "")
    with pytest.raises(AttributeError, match="ctkDICOMDatabase has no fileOf"):
        database.fileOf("1.2")
    with pytest.raises(NotImplementedError):
        database.filesForSeries("1.2")
    with pytest.raises(AssertionError, match="has no"):
        standins.Recorded("ctkDICOMDatabase", fileOf=print)


def test_slicers_own_functions_that_the_module_calls_exist():
    import slicer.util

    for name in set(re.findall(r"slicer\.util\.(\w+)", (MODULE / "Engram.py").read_text())):
        assert hasattr(slicer.util, name), name


# What scripts/check_description_files.py of the Extensions Index looks at; that needs the network, this does not.


def test_the_description_is_valid():
    description = json.loads((EXTENSION / "Engram.json").read_text())
    jsonschema_rs.validate(INDEX["schema"], description)
    assert description["$schema"] == INDEX["schema"]["$id"]
    assert description["category"] in INDEX["categories"]
    assert description["scm_url"].startswith(("https://", "git://"))
    repository = Path(description["scm_url"]).stem
    assert "slicer" in repository.lower()
    # Tier 3 and above ask for more than a first submission can show.
    assert description["tier"] == 1


def test_the_project_has_the_descriptions_name():
    text = (EXTENSION / "CMakeLists.txt").read_text()
    assert re.findall(r"project\s*\(\s*([^\s)]+)", text) == ["Engram"]
    assert cmake("EXTENSION_CATEGORY") == json.loads((EXTENSION / "Engram.json").read_text())["category"]


def test_icon_and_screenshots_are_pictures_in_the_folder():
    """Their addresses are those that the files have in the repository that is submitted."""
    base = json.loads((EXTENSION / "Engram.json").read_text())["scm_url"].removesuffix(".git")
    raw = base.replace("https://github.com/", "https://raw.githubusercontent.com/")
    urls = [cmake("EXTENSION_ICONURL"), *cmake("EXTENSION_SCREENSHOTURLS").split()]
    assert len(urls) >= 2
    for url in urls:
        prefix = f"{raw}/main/"
        assert url.startswith(prefix)
        with Image.open(EXTENSION / url.removeprefix(prefix)) as picture:
            assert picture.format == "PNG"
    with Image.open(EXTENSION / "Engram.png") as icon:
        assert icon.size == (128, 128)


def test_a_licence_is_there():
    assert "Apache License" in (EXTENSION / "LICENSE").read_text()


def test_the_readme_has_what_is_asked_for():
    text = (EXTENSION / "README.md").read_text()
    for heading in ("# Engram", "## Modules", "## Tutorial", "## Publication", "## Licence"):
        assert heading in text, heading
    assert re.findall(r"!\[[^]]+\]\(([^)]+)\)", text), "no picture"
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (EXTENSION / target).exists(), target


def test_cmake_lists_every_file_of_the_module():
    """What is not listed is not installed."""
    text = (MODULE / "CMakeLists.txt").read_text()
    for path in SOURCES:
        relative = path.relative_to(MODULE)
        if relative.parts[0] != "Testing":
            assert str(relative) in text.replace("${MODULE_NAME}", "Engram"), relative
    for path in [*UI_FILES, MODULE / "Resources" / "Icons" / "Engram.png"]:
        assert str(path.relative_to(MODULE)) in text.replace("${MODULE_NAME}", "Engram"), path
