"""Auto-segment, review, correct and teach with an Engram server: the widgets, thin over `EngramLib`.

Everything that waits for the server runs on threads (`EngramLib.tasks`) that touch neither MRML nor Qt; a timer on the main
thread does what they hand back.
"""

import datetime
import json
import uuid

import ctk  # noqa: F401  (loadUI needs its classes)
import qt
import slicer
import vtk
from EngramLib import as_dicom, confidence, mrml, provenance, run, settings, teach, upload, words
from EngramLib.client import Client
from EngramLib.dicom_seg import Authorship
from EngramLib.errors import Cancelled, ConnectionLost, EngramError
from EngramLib.jobs import Progress
from EngramLib.target import Target, locate
from EngramLib.tasks import Tasks
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

DRAIN_MILLISECONDS = 100
STRIP_PIXELS = (320, 20)
VIEW = "Red"

IDENTIFIERS, RESULTS = "Engram.Identifiers", "Engram.Results"
"""Attributes: what the user consented to say of a volume's patient; which results a segmentation was made of."""

GOOD, BAD, UNKNOWN = "#2e9e4f", "#d1495b", "#8a8a8a"


class Engram(ScriptedLoadableModule):
    """The module as Slicer's list of modules has it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "Engram"
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = []
        self.parent.contributors = ["The Engram maintainers"]
        self.parent.helpText = (
            "Segments the current volume from annotated cases that an Engram server remembers, shows from which, and "
            "teaches it your corrections. Nothing is trained, and nothing is installed into Slicer's Python.")
        self.parent.acknowledgementText = (
            "The method is retrieval-augmented few-shot segmentation (Zhao et al., arXiv 2408.08813). "
            "Engram is not a medical device.")


class EngramLogic(ScriptedLoadableModuleLogic):
    """Between MRML and the library: what is handed to threads, and what is made of their results. Main thread only."""

    def target(self, volume):
        """A function for a thread that tells what the server needs to have of the volume; None where the user has not said
        who the patient is."""
        loaded = mrml.sop_instances_of(volume)
        if loaded:
            files = [slicer.dicomDatabase.fileForInstance(uid) for uid in loaded]
            return lambda: Target(loaded, tuple(upload.file_part(path) for path in files) if all(files) else ())
        consented = volume.GetAttribute(IDENTIFIERS)
        if not consented:
            return None
        voxels, matrix = mrml.voxels_of(volume), mrml.geometry_of(volume).matrix
        return lambda: as_series(voxels, matrix, as_dicom.Identifiers(**json.loads(consented)))

    def consent(self, volume, identifiers):
        as_dicom.check(identifiers)
        volume.SetAttribute(IDENTIFIERS, json.dumps(identifiers._asdict()))

    def modality(self, volume):
        """The volume's modality, or empty where it is not known here."""
        loaded = mrml.sop_instances_of(volume)
        if loaded:
            return slicer.dicomDatabase.instanceValue(loaded[0], "0008,0060")
        return json.loads(volume.GetAttribute(IDENTIFIERS) or "{}").get("modality", "")

    def show(self, volume, result, node=None):
        """The result as a new segmentation node, or as new segments of a node; the node."""
        node = node or mrml.new_segmentation(slicer.mrmlScene, volume, f"{volume.GetName()} by Engram")
        mrml.add_segments(slicer, node, volume, result.located.grid, result.segments, result.keys)
        made = result.job["result"]
        results = [*self.results(node), (made["study"], made["series"], made["sop_instance"])]
        node.SetAttribute(RESULTS, json.dumps(results))
        return node

    def results(self, node):
        """Study, series and SOP Instance UIDs of the results that a segmentation node was made of."""
        return [tuple(one) for one in json.loads(node.GetAttribute(RESULTS) or "[]")]

    def visibleSegments(self, node, volume, grid):
        """The visible segments by ID, on the slices of the grid."""
        display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
        identities = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
        visible = [one for one in identities if display is None or display.GetSegmentVisibility(one)]
        return mrml.segments_of(slicer, node, volume, grid, visible)


class EngramWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.tasks = Tasks()
        self.task = None
        # The job that was asked for last, and its volume, until its result is there.
        self.unfinished, self.unfinishedVolume = None, None
        self.labels, self.question = [], None
        # What the review shows: the volume, its result, and the confidence of each slice.
        self.reviewed = None
        self.sliceStrip = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/Engram.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = EngramLogic()
        for said, quality in (("As the server is set up", ""), ("Fast", "fast"), ("Balanced", "balanced"), ("Best", "best")):
            self.ui.qualityBox.addItem(said, quality)
        self.loadSettings()
        self.connectWidgets()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)
        self.timer = qt.QTimer()
        self.timer.setInterval(DRAIN_MILLISECONDS)
        self.timer.connect("timeout()", self.tasks.drain)
        self.timer.start()
        self.onVolumeChanged()
        self.onRetry()

    def connectWidgets(self):
        ui = self.ui
        ui.addressEdit.connect("editingFinished()", self.onRetry)
        ui.tokenEdit.connect("editingFinished()", self.onRetry)
        ui.retryButton.connect("clicked()", self.onRetry)
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolumeChanged)
        ui.labelSearch.connect("textChanged(QString)", self.showLabels)
        ui.segmentButton.connect("clicked()", self.onSegment)
        ui.cancelButton.connect("clicked()", self.onCancel)
        ui.resumeButton.connect("clicked()", self.onResume)
        ui.strip.connect("clicked()", lambda: self.onStrip(ui.strip))
        ui.flaggedList.connect("itemClicked(QListWidgetItem*)", self.onFlagged)
        ui.casesButton.connect("clicked()", self.onCases)
        ui.taughtSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.updateButtons)
        ui.propagateButton.connect("clicked()", self.onPropagate)
        ui.teachButton.connect("clicked()", self.onTeach)

    def cleanup(self):
        self.timer.stop()
        if self.task is not None:
            self.task.stop()
        self.removeSliceStrip()
        self.removeObservers()

    # The server.

    def loadSettings(self):
        remembered = settings.load(slicer.app.userSettings())
        self.ui.addressEdit.text, self.ui.tokenEdit.text = remembered.address, remembered.token
        self.ui.creatorEdit.text = remembered.creator
        self.ui.qualityBox.setCurrentIndex(max(0, self.ui.qualityBox.findData(remembered.quality)))

    def saveSettings(self):
        ui = self.ui
        settings.save(slicer.app.userSettings(), settings.Remembered(
            ui.addressEdit.text, ui.tokenEdit.text, ui.creatorEdit.text, ui.qualityBox.currentData))

    def client(self):
        return Client(self.ui.addressEdit.text, self.ui.tokenEdit.text)

    def onRetry(self):
        """Asks the server how it stands, and what its bank has."""
        self.saveSettings()
        self.showHealth(UNKNOWN, "Asking the server…")
        address, token = self.ui.addressEdit.text, self.ui.tokenEdit.text
        # An answer to an earlier question, perhaps of another server, no longer counts.
        question = self.question = object()

        def work(report, stopped):
            client = Client(address, token)
            return client.health(), client.labels()

        def show(colour, text, labels):
            if self.question is question:
                self.labels = labels
                self.showHealth(colour, text)
                self.showLabels()

        self.tasks.start(
            work, lambda told: show(GOOD, words.health(told[0]), told[1]), lambda error: show(BAD, str(error), []))

    def showHealth(self, colour, text):
        self.ui.healthLight.setText({GOOD: "● up", BAD: "● error", UNKNOWN: "●"}[colour])
        self.ui.healthLight.setStyleSheet(f"color: {colour}; font-weight: bold")
        self.ui.healthText.setText(text)

    # Segmenting.

    def onVolumeChanged(self, *_):
        self.showLabels()

    def showLabels(self, *_):
        volume = self.ui.volumeSelector.currentNode()
        modality = self.logic.modality(volume) if volume is not None else ""
        self.ui.labelList.clear()
        for one in words.offered(self.labels, modality, self.ui.labelSearch.text):
            item = qt.QListWidgetItem(words.label(one, modality))
            item.setData(qt.Qt.UserRole, one.key)
            self.ui.labelList.addItem(item)
        remark = words.no_labels(self.labels, modality)
        self.ui.labelRemark.setText(remark)
        self.ui.labelRemark.setVisible(bool(remark))
        self.updateButtons()

    def updateButtons(self, *_):
        ui, busy = self.ui, self.task is not None
        volume = ui.volumeSelector.currentNode()
        ui.segmentButton.enabled = volume is not None and not busy
        taught = ui.taughtSelector.currentNode()
        may_teach = volume is not None and taught is not None and not busy
        ui.teachButton.enabled = may_teach
        ui.propagateButton.enabled = may_teach and bool(self.logic.results(taught))
        ui.casesButton.enabled = self.reviewed is not None and not busy
        ui.progressBar.setVisible(busy)
        ui.cancelButton.setVisible(busy)
        ui.resumeButton.setVisible(not busy and self.unfinished is not None and bool(self.unfinished.identity))

    def asked(self):
        labels = tuple(item.data(qt.Qt.UserRole) for item in self.ui.labelList.selectedItems())
        return run.Asked(labels=labels, quality=self.ui.qualityBox.currentData)

    def targetOf(self, volume):
        """What the server needs of the volume, after asking for consent where it must; None where the user declined."""
        target = self.logic.target(volume)
        if target is None:
            identifiers = self.askForIdentifiers(volume)
            if identifiers is None:
                return None
            self.logic.consent(volume, identifiers)
            target = self.logic.target(volume)
        return target

    def askForIdentifiers(self, volume):
        """What the DICOM series is to say of the patient, as the user wants it; None where the user declined."""
        dialog = slicer.util.loadUI(self.resourcePath("UI/Identifiers.ui"))
        ui = slicer.util.childWidgetVariables(dialog)
        for sex in ("", "F", "M", "O"):
            ui.sex.addItem(sex)
        for modality in as_dicom.SOP_CLASSES:
            ui.modality.addItem(modality)
        # Another for each volume: one that all had would make one patient of them.
        ui.patientId.text = f"ANON-{uuid.uuid4().hex[:8].upper()}"
        ui.seriesDescription.text = volume.GetName()
        if dialog.exec_() != qt.QDialog.Accepted:
            return None
        return as_dicom.Identifiers(
            patient_name=ui.patientName.text, patient_id=ui.patientId.text, modality=ui.modality.currentText,
            birth_date=ui.birthDate.text, sex=ui.sex.currentText, study_description=ui.studyDescription.text,
            series_description=ui.seriesDescription.text)

    def onSegment(self):
        volume = self.ui.volumeSelector.currentNode()
        with self.errorsShown():
            target = self.targetOf(volume)
            if target is None:
                return
            client, asked, unfinished = self.client(), self.asked(), run.Unfinished()
            self.saveSettings()
            self.startResult(volume, unfinished, lambda report, stopped: run.segment(
                client, target(), asked, unfinished, report, stopped))

    def onResume(self):
        """Follows the job that was asked for before the connection was lost."""
        volume, unfinished = self.unfinishedVolume, self.unfinished
        with self.errorsShown():
            client = self.client()
            self.startResult(volume, unfinished, lambda report, stopped: run.resume(client, unfinished, report, stopped))

    def onPropagate(self):
        """Segments anew from the slices that the user edited."""
        volume, node = self.ui.volumeSelector.currentNode(), self.ui.taughtSelector.currentNode()
        with self.errorsShown():
            client, asked, results, unfinished = self.client(), self.asked(), self.logic.results(node), run.Unfinished()
            self.withGrid(volume, lambda target, located: self.startResult(
                volume, unfinished, self.correcting(client, target, node, volume, located, results, asked, unfinished)))

    def correcting(self, client, target, node, volume, located, results, asked, unfinished):
        keyed = {}
        for identity, one in self.logic.visibleSegments(node, volume, located.grid).items():
            key = mrml.key_of(node, identity)
            if key:
                # Two segments of a label are one.
                keyed[key] = one._replace(mask=one.mask | keyed[key].mask) if key in keyed else one
        correction = run.Correction(tuple(keyed.values()), tuple(keyed), results)
        return lambda report, stopped: run.correct(client, target, correction, asked, unfinished, report, stopped)

    def startResult(self, volume, unfinished, work):
        """Starts work that ends in a result, which is then shown."""
        self.unfinished, self.unfinishedVolume = unfinished, volume
        node = self.ui.resultSelector.currentNode()

        def done(result):
            self.unfinished = None
            with self.errorsShown():
                # The user may have removed either while the server was at work.
                if not slicer.mrmlScene.IsNodePresent(volume):
                    raise EngramError("no_volume", "The volume is no longer there.", "The result is stored on the server.")
                there = node if node is not None and slicer.mrmlScene.IsNodePresent(node) else None
                shown = self.logic.show(volume, result, there)
                self.ui.taughtSelector.setCurrentNode(shown)
                self.review(volume, result)
                self.say(" ".join(filter(None, ["Done.", result.located.grid.remark, *result.job["result"].get("notes", [])])))

        self.startTask(work, done)

    def startTask(self, work, done):
        def ended(what, given):
            self.task = None
            what(given)
            self.updateButtons()

        self.say("")
        self.onProgress(Progress("queued"))
        self.task = self.tasks.start(
            work, lambda given: ended(done, given), lambda error: ended(self.onFailed, error), self.onProgress)
        self.updateButtons()

    def onProgress(self, progress):
        bar = self.ui.progressBar
        bar.setRange(0, progress.total)
        bar.setValue(progress.done)
        self.say(words.progress(progress))

    def onCancel(self):
        if self.task is not None:
            self.task.stop()
            self.say("Cancelling…")

    def onFailed(self, error):
        if not isinstance(error, ConnectionLost):
            self.unfinished = None
        self.say("Cancelled." if isinstance(error, Cancelled) else str(error), bad=not isinstance(error, Cancelled))

    def say(self, text, bad=False):
        self.ui.messageText.setStyleSheet(f"color: {BAD}" if bad else "")
        self.ui.messageText.setText(text)

    def errorsShown(self):
        return _ErrorsShown(self)

    # Review.

    def review(self, volume, result):
        slices = confidence.of_result(result.job, result.provenance, result.located.grid)
        self.reviewed = (volume, result, slices)
        self.ui.flaggedList.clear()
        for index in confidence.flagged(slices):
            item = qt.QListWidgetItem(words.slice_line(index, len(slices), *slices[index]))
            item.setData(qt.Qt.UserRole, index)
            self.ui.flaggedList.addItem(item)
        self.ui.casesList.clear()
        self.addSliceStrip()
        self.showSlice((confidence.flagged(slices) or [len(slices) // 2])[0])

    def sliceWidget(self):
        """The slice view that is under review; None where the layout has none."""
        manager = slicer.app.layoutManager()
        return manager.sliceWidget(VIEW) if manager is not None else None

    def addSliceStrip(self):
        """Puts the strip under the slice view as well, where the eyes are."""
        widget = self.sliceWidget()
        if widget is None or self.sliceStrip is not None:
            return
        self.sliceStrip = qt.QToolButton()
        self.sliceStrip.setAutoRaise(True)
        self.sliceStrip.setToolTip(self.ui.stripText.text)
        self.sliceStrip.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self.sliceStrip.connect("clicked()", lambda: self.onStrip(self.sliceStrip))
        widget.layout().addWidget(self.sliceStrip)
        self.addObserver(widget.mrmlSliceNode(), vtk.vtkCommand.ModifiedEvent, self.onSliceMoved)

    def removeSliceStrip(self):
        if self.sliceStrip is None:
            return
        self.removeObserver(self.sliceWidget().mrmlSliceNode(), vtk.vtkCommand.ModifiedEvent, self.onSliceMoved)
        self.sliceStrip.deleteLater()
        self.sliceStrip = None

    def shownSlice(self):
        """The index of the slice that the view shows; None outside."""
        volume, result, _ = self.reviewed
        widget = self.sliceWidget()
        if widget is None:
            return None
        to_ras = widget.mrmlSliceNode().GetSliceToRAS()
        return mrml.slice_at(result.located.grid, volume, [to_ras.GetElement(row, 3) for row in range(3)])

    def showSlice(self, index):
        volume, result, _ = self.reviewed
        widget = self.sliceWidget()
        if widget is None or not slicer.mrmlScene.IsNodePresent(volume):
            return
        node = widget.mrmlSliceNode()
        node.GetSliceToRAS().DeepCopy(mrml.slice_plane(result.located.grid, volume, index))
        node.UpdateMatrices()
        self.drawStrips()

    def drawStrips(self):
        if self.reviewed is None:
            return
        shown = self.shownSlice()
        for button in filter(None, (self.ui.strip, self.sliceStrip)):
            width = max(button.width, STRIP_PIXELS[0])
            picture = confidence.strip(self.reviewed[2], width, STRIP_PIXELS[1], shown)
            button.setIconSize(qt.QSize(width, STRIP_PIXELS[1]))
            button.setIcon(qt.QIcon(pixmap_of(confidence.ppm(picture))))

    def onSliceMoved(self, *_):
        self.drawStrips()

    def onStrip(self, button):
        if self.reviewed is None:
            return
        # The picture stands in the middle of its button.
        width = max(button.width, STRIP_PIXELS[0])
        x = button.mapFromGlobal(qt.QCursor.pos()).x() - (button.width - width) / 2
        self.showSlice(confidence.slice_at(x, width, len(self.reviewed[2])))

    def onFlagged(self, item):
        if self.reviewed is not None:
            self.showSlice(item.data(qt.Qt.UserRole))

    def onCases(self):
        """Shows the exemplars behind the slice on show."""
        _, result, _ = self.reviewed
        at = self.shownSlice()
        with self.errorsShown():
            if result.provenance is None:
                raise EngramError("forbidden", "Which cases a result was drawn from needs a token with the role read.",
                                  "Ask whoever runs the server for one.")
            if at is None:
                raise EngramError("no_slice", f"The {VIEW} view shows no slice of the result.", "Click on the strip.")
            client, where, bundle = self.client(), result.located.grid.slices[at], result.job["result"]["bundle"]
            self.startTask(
                lambda report, stopped: provenance.cases_behind(client, result.provenance, bundle, where), self.showCases)

    def showCases(self, cases):
        self.ui.casesList.clear()
        for case in cases:
            item = qt.QListWidgetItem(words.case(case, self.labels))
            if case.thumbnail is not None:
                item.setIcon(qt.QIcon(pixmap_of(case.thumbnail)))
            self.ui.casesList.addItem(item)
        self.say("" if cases else "No exemplar led to this slice.")

    # Teaching.

    def withGrid(self, volume, then):
        """Finds the volume's series on the server, and goes on with `then(target, located)`."""
        prepare = self.targetOf(volume)
        if prepare is None:
            return
        client = self.client()

        def find(report, stopped):
            target = prepare()
            return target, locate(client, target, report, stopped)

        def found(given):
            with self.errorsShown():
                then(*given)

        self.startTask(find, found)

    def onTeach(self):
        volume, node = self.ui.volumeSelector.currentNode(), self.ui.taughtSelector.currentNode()
        with self.errorsShown():
            self.saveSettings()
            if not self.ui.creatorEdit.text.strip():
                raise EngramError("bad_request", "Nobody says who teaches.", "Enter your name.")
            client, results = self.client(), self.logic.results(node)
            authorship = Authorship(self.ui.descriptionEdit.text, self.ui.creatorEdit.text, datetime.datetime.now())
            edited_only = self.ui.editedOnlyBox.checked

            def then(_, located):
                segments = tuple(self.logic.visibleSegments(node, volume, located.grid).values())
                self.startTask(
                    lambda report, stopped: teach.teach(
                        client, located, segments, authorship, [client.instance(*one) for one in results], edited_only,
                        report, stopped),
                    self.onTaught)

            self.withGrid(volume, then)

    def onTaught(self, taught):
        self.say(f"Taught: the server remembers {taught.slices} slices. The next Auto-segment draws from them.")
        self.onRetry()

    def onSceneClosed(self, *_):
        self.reviewed = None
        self.ui.flaggedList.clear()
        self.ui.casesList.clear()
        self.removeSliceStrip()
        self.updateButtons()


class _ErrorsShown:
    """Shows what goes wrong within in the panel."""

    def __init__(self, widget):
        self.widget = widget

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if not isinstance(error, EngramError):
            return False
        self.widget.onFailed(error)
        return True


def as_series(voxels, matrix, identifiers):
    """The volume as files of a DICOM series."""
    series = as_dicom.write(voxels, matrix, identifiers)
    return Target(tuple(uid for uid, _ in series), tuple(upload.bytes_part(content) for _, content in series))


def pixmap_of(content):
    """A picture from the bytes of a file."""
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(content))
    return pixmap


class EngramTest(ScriptedLoadableModuleTest):
    """What can be seen without a server; the rest is tested from outside, in `tests/slicer_extension` of Engram's repository."""

    def runTest(self):
        slicer.mrmlScene.Clear()
        self.test_server_down()

    def test_server_down(self):
        self.delayDisplay("A server that is down is told in words")
        try:
            Client("http://127.0.0.1:9").health()
        except ConnectionLost as error:
            self.assertIn("No server answers at http://127.0.0.1:9", str(error))
        else:
            self.fail("something answers at port 9")
        self.delayDisplay("Test passed")
