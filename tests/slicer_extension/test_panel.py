"""The panel, its widgets real ones of Qt under the rules of Slicer's Python, against a running server."""

import time

import numpy as np
import requests
import slicer_core
import vtk

import cases
import patients
import standins
from EngramLib import confidence, jobs, mrml
from patients import LIVER_KEY
from steps import Wire, ended, items, loaded, nodes, odd_mask, paint, port_of, until


def test_from_the_first_press_to_teaching(taught, running, open_panel, tmp_path):
    case = cases.make(50, "oblique", tmp_path / "images")
    volume = loaded(running, case)
    panel = open_panel(taught.base)
    ui = panel.ui
    until(running, lambda: "Engram 0." in ui.healthText.text)
    assert ui.healthLight.text == "● up"
    assert sorted(items(ui.labelList)) == ["Liver (3 cases)", "Spleen (3 cases)"]
    ui.labelSearch.text = "spl"
    assert items(ui.labelList) == ["Spleen (3 cases)"]
    ui.labelSearch.text = ""

    # The server does not have the series yet: its files are sent.
    ui.segmentButton.click()
    assert panel.task is not None and not ui.segmentButton.enabled
    assert ended(running, panel).startswith("Done.")
    (node,) = nodes(running)
    assert node.GetName() == "T50 by Engram" and node.GetSegmentation().GetNumberOfSegments() == 2
    assert ui.taughtSelector.currentNode() is node
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume

    # Review: the strip stands under the slice view as well, and leads to slices.
    assert panel.sliceStrip.real in running.red.findChildren(type(panel.sliceStrip.real))
    _, result, slices = panel.reviewed
    assert len(slices) == patients.SLICES and all(one.confidence is not None for one in slices)
    assert len(items(ui.flaggedList)) == len(confidence.flagged(slices))
    panel.showSlice(7)
    assert panel.shownSlice() == 7
    shown = mrml.array_of(running.red.mrmlSliceNode().GetSliceToRAS())[:3, :3]
    across, down = result.located.grid.orientation.reshape(2, 3) * [-1, -1, 1]
    np.testing.assert_allclose(shown[:, 0], across, atol=1e-6)
    np.testing.assert_allclose(shown[:, 1], -down, atol=1e-6)
    running.red.mrmlSliceNode().JumpSliceByOffsetting(*mrml.slice_centre(result.located.grid, volume, 2))
    assert panel.shownSlice() == 2
    assert not ui.strip.icon.isNull()

    ui.casesButton.click()
    ended(running, panel)
    lines = items(ui.casesList)
    assert lines and all("similar" in line and ("Liver" in line or "Spleen" in line) for line in lines)
    assert not ui.casesList.item(0).icon().isNull()

    # Correct: the edited slice leads the others, in a new segmentation.
    liver = next(one for one in node.GetSegmentation().GetSegmentIDs() if mrml.key_of(node, one) == LIVER_KEY)
    edited = mrml.segments_of(slicer_core, node, volume, result.located.grid, [liver])[liver].mask
    edited[6] = odd_mask()
    paint(node, volume, result.located.grid, liver, edited)
    (spleen,) = set(node.GetSegmentation().GetSegmentIDs()) - {liver}
    node.GetDisplayNode().SetSegmentVisibility(spleen, False)
    ui.propagateButton.click()
    until(running, lambda: len(nodes(running)) == 2 and panel.task is None)
    again = nodes(running)[1]
    found = mrml.segments_of(slicer_core, again, volume, result.located.grid)
    (again_liver,) = found.values()
    assert np.array_equal(again_liver.mask[6], odd_mask()) and again_liver.mask.any(axis=(1, 2)).sum() > 1

    # Teach.
    ui.taughtSelector.setCurrentNode(node)
    ui.teachButton.click()
    assert "Nobody says who teaches" in ui.messageText.text
    ui.creatorEdit.text, ui.editedOnlyBox.checked = "Reader^Test", True
    ui.teachButton.click()
    until(running, lambda: "Taught" in ui.messageText.text)
    assert "remembers 1 slices" in ui.messageText.text
    until(running, lambda: items(ui.labelList) == ["Liver (4 cases)", "Spleen (3 cases)"])
    assert running.settings.value("Engram/creator") == "Reader^Test"


def test_chosen_labels_go_into_a_chosen_segmentation_beside_what_is_there(taught, running, open_panel, tmp_path):
    case = cases.make(51, "flipped", tmp_path / "images")
    volume = loaded(running, case)
    there = mrml.new_segmentation(running.scene, volume, "mine")
    drawn = mrml.labelmap(slicer_core, np.ones((2, 2, 2), bool), np.eye(4))
    there.AddSegmentFromBinaryLabelmapRepresentation(drawn, "Liver")
    panel = open_panel(taught.base)
    until(running, lambda: panel.ui.labelList.count == 2)
    panel.ui.labelList.item(items(panel.ui.labelList).index("Liver (4 cases)")).setSelected(True)
    panel.ui.resultSelector.setCurrentNode(there)
    panel.ui.segmentButton.click()
    assert ended(running, panel).startswith("Done.")
    assert nodes(running) == [there]
    segmentation = there.GetSegmentation()
    assert [segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs()] == ["Liver", "Liver"]


def test_a_volume_that_is_not_from_dicom_needs_consent_first(taught, running, open_panel, tmp_path, monkeypatch):
    case = cases.make(52, "coronal", tmp_path / "images")
    volume = cases.load(case, running.scene)
    volume.RemoveAttribute(mrml.INSTANCE_UIDS)
    panel = open_panel(taught.base)
    until(running, lambda: panel.ui.labelList.count == 2)
    seen = []

    def answer(accepted, born=""):
        def exec_(dialog):
            field = dialog.findChild(standins.QtWidgets.QLineEdit, "patientId")
            seen.append(field.text())
            field.setText("ANONYMOUS")
            dialog.findChild(standins.QtWidgets.QLineEdit, "birthDate").setText(born)
            dialog.findChild(standins.QtWidgets.QComboBox, "modality").setCurrentText("MR")
            return standins.QtWidgets.QDialog.Accepted if accepted else standins.QtWidgets.QDialog.Rejected
        monkeypatch.setattr(standins.QtWidgets.QDialog, "exec_", exec_)

    answer(False)
    panel.ui.segmentButton.click()
    assert seen[0].startswith("ANON-") and panel.task is None
    assert taught.dicom.search_for_studies(search_filters={"PatientID": "ANONYMOUS"}) == []
    answer(True, "1970-01-01")
    panel.ui.segmentButton.click()
    assert panel.ui.messageText.text == '"1970-01-01" is no date.\nWrite it as YYYYMMDD, or leave it empty.'
    answer(True, "19700101")
    panel.ui.segmentButton.click()
    assert ended(running, panel).startswith("Done.")
    assert len(taught.dicom.search_for_studies(search_filters={"PatientID": "ANONYMOUS"})) == 1
    (node,) = nodes(running)
    image = slicer_core.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(node.GetSegmentation().GetNthSegmentID(0), image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    np.testing.assert_allclose(mrml.array_of(matrix), mrml.geometry_of(volume).matrix, atol=1e-5)
    # A second press sends nothing again, and does not ask again.
    panel.ui.segmentButton.click()
    assert ended(running, panel).startswith("Done.")
    assert len(seen) == 3 and len(set(seen)) == 3
    assert len(taught.dicom.search_for_studies(search_filters={"PatientID": "ANONYMOUS"})) == 1


def test_cancel(taught, running, open_panel, tmp_path):
    loaded(running, cases.make(53, "axial", tmp_path / "images"))
    panel = open_panel(taught.base)
    panel.ui.segmentButton.click()
    panel.ui.cancelButton.click()
    assert ended(running, panel) == "Cancelled."
    assert nodes(running) == [] and panel.ui.segmentButton.enabled and not panel.ui.cancelButton.visible


def test_a_server_that_is_down_is_told_and_tried_again(taught, running, open_panel):
    panel = open_panel("http://127.0.0.1:9")
    until(running, lambda: panel.ui.healthLight.text == "● error")
    assert panel.ui.healthText.text == (
        "No server answers at http://127.0.0.1:9: Connection refused.\nStart Engram there (engram serve), or correct the address.")
    panel.ui.addressEdit.text = taught.base
    panel.ui.retryButton.click()
    until(running, lambda: panel.ui.healthLight.text == "● up")


def test_closing_the_scene_closes_the_review(taught, running, open_panel, tmp_path):
    loaded(running, cases.make(54, "axial", tmp_path / "images"))
    panel = open_panel(taught.base)
    panel.ui.segmentButton.click()
    ended(running, panel)
    assert panel.reviewed is not None
    running.scene.Clear()
    assert panel.reviewed is None and panel.sliceStrip is None and not panel.ui.casesButton.enabled


def test_a_connection_that_was_lost_for_long_is_resumed(taught, running, open_panel, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs.follow, "__defaults__", (0.3, time.sleep))
    wire = Wire()
    wire.leads_to = port_of(taught.base)
    loaded(running, cases.make(55, "axial", tmp_path / "images"))
    panel = open_panel(wire.address)
    until(running, lambda: panel.ui.labelList.count > 0)
    panel.ui.segmentButton.click()
    until(running, lambda: panel.unfinished.identity != "")
    wire.cut()
    assert ended(running, panel).startswith(f"No server answers at {wire.address}")
    identity = panel.unfinished.identity
    assert not panel.ui.resumeButton.real.isHidden()
    wire.leads_to = port_of(taught.base)
    panel.ui.resumeButton.click()
    assert ended(running, panel).startswith("Done.")
    assert panel.reviewed[1].job["id"] == identity
    assert panel.ui.resumeButton.real.isHidden() and len(nodes(running)) == 1


def test_what_the_server_refuses_is_told_in_its_words(engram, engram_server, running, open_panel, tmp_path):
    loaded(running, cases.make(56, "axial", tmp_path / "images"))
    panel = open_panel(engram_server)
    until(running, lambda: "bank is empty" in panel.ui.labelRemark.text)
    panel.ui.segmentButton.click()
    said = ended(running, panel)
    image = patients.images(56)[0]
    refusal = requests.post(f"{engram_server}/api/v1/segmentations", timeout=60,
                            json={"study": image.StudyInstanceUID, "series": image.SeriesInstanceUID}).json()
    assert refusal["code"] == "no_exemplars"
    assert said == f"{refusal['message']}\n{refusal['what_to_do']}"
