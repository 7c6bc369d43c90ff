"""The whole way with Debian's Orthanc as the hospital: it forwards a study, a rule segments it, and segmentation, pictures and
report come back: by C-STORE, and in a second rule by STOW-RS."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import patients
from engram_api import masks_of
from orthanc import start_orthanc
from serving import free_port, start_server
from ward import ENGRAM, SECONDARY_CAPTURE, SEGMENTATION, Engram, wait_for

C_STORE, STOW = 4, 5
FORMS = '["segmentation", "secondary_capture", "report"]'
# Orthanc takes a LABELMAP by STOW-RS, which this dciodvfy does not know where a report refers to it.
FORMS_AS_BINARY = FORMS.replace("segmentation", "binary_segmentation", 1)


@pytest.fixture(scope="module")
def hospital(engram, tmp_path_factory):
    """Orthanc and Engram, who know each other; of the same study one rule sends by C-STORE and one by STOW-RS."""
    folder = tmp_path_factory.mktemp("hospital")
    port = free_port()
    orthanc = start_orthanc(folder / "orthanc", port)
    config = folder / "config.toml"
    config.write_text(f"""
[dimse]
bind = "127.0.0.1:{port}"
ae_title = "{ENGRAM}"
calling_ae_titles = ["ORTHANC"]
[[dimse.nodes]]
name = "by C-STORE"
ae_title = "ORTHANC"
address = "127.0.0.1:{orthanc.dicom_port}"
[[dicomweb.nodes]]
name = "by STOW-RS"
url = "{orthanc.url}/dicom-web"
[outbox]
first_retry_seconds = 1
[[rules]]
name = "liver"
quiet_seconds = 1
when = {{ PatientID = "T{C_STORE}", Modality = "MR", calling_ae_title = "ORTHANC" }}
then = {{ segment = {{ labels = ["{patients.LIVER_KEY}"], quality = "fast" }} }}
[[rules.send]]
to = "by C-STORE"
what = {FORMS}
[[rules]]
name = "spleen"
quiet_seconds = 1
when = {{ PatientID = "T{STOW}", Modality = "MR", calling_ae_title = "ORTHANC" }}
then = {{ segment = {{ labels = ["{patients.SPLEEN_KEY}"], quality = "fast" }} }}
[[rules.send]]
to = "by STOW-RS"
what = {FORMS_AS_BINARY}
""".replace('"by C-STORE"', '"ORTHANC"').replace('"by STOW-RS"', '"ORTHANC-WEB"'))
    server = start_server(folder / "data", config=config)
    house = Engram(server, port, config)
    house.teach(3)
    yield orthanc, house
    server.stop()
    orthanc.stop()


@pytest.mark.parametrize("patient, code", [(C_STORE, patients.LIVER), (STOW, patients.SPLEEN)])
def test_a_study_comes_back_with_its_results_and_nothing_goes_round(hospital, tmp_path, patient, code):
    orthanc, house = hospital
    images = patients.images(patient)
    study = images[0].StudyInstanceUID
    orthanc.store(*images)
    wait_for(lambda: all(orthanc.series(study, modality) for modality in ("SEG", "SR")), "the results in Orthanc")
    house.quiet()
    [seg] = orthanc.instances(study, "SEG")
    [report] = orthanc.instances(study, "SR")
    others = [series["0020000E"]["Value"][0] for series in orthanc.series(study, "MR")]
    [pictures] = [uid for uid in others if uid != images[0].SeriesInstanceUID]
    shown = orthanc.dicomweb.retrieve_series(study, pictures)
    assert {picture.SOPClassUID for picture in shown} == {SECONDARY_CAPTURE} and len(shown) == len(images)
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == code.value
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert seg.SOPClassUID == SEGMENTATION
    _, truth = patients.anatomy(patient)
    [mask] = masks_of(seg, images).values()
    assert patients.dice(np.asarray(mask, bool), truth[code]) > 0.7
    for name, dataset in (("seg", seg), ("sr", report), ("sc", shown[0])):
        assert dciodvfy_errors(dataset, tmp_path / f"{name}.dcm") == []
    # Orthanc forwards what came in as well. It changes nothing here, and comes back no second time.
    jobs, deliveries = house.jobs("routed"), house.deliveries()
    *again, _ = house.asked(patient, 2)
    assert {item["outcome"] for job in again for item in job["result"]["series"]} == {"already_segmented"}
    house.quiet()
    assert [job["id"] for job in house.jobs("routed")] == [job["id"] for job in jobs]
    assert [delivery["id"] for delivery in house.deliveries()] == [delivery["id"] for delivery in deliveries]
    assert len(orthanc.instances(study, "SEG")) == len(orthanc.instances(study, "SR")) == 1


def dciodvfy_errors(dataset, path) -> list[str]:
    path.write_bytes(patients.part10(dataset))
    tool = Path(sys.executable).parent / "dciodvfy"
    done = subprocess.run([tool, "-new", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy said nothing"
    return [line for line in lines if line.startswith("Error")]
