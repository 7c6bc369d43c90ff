"""What comes back over HTTP is what `engram evaluate` measures."""

import subprocess

import numpy as np
import pydicom
import pytest

from engram_api import Api, masks_of

CASES = [
    pytest.param("hippocampus", ["001", "004", "007"], ["011", "015"], id="hippocampus"),
    pytest.param("acdc", ["001"], ["005/frame01"], id="acdc"),
]


@pytest.mark.parametrize(("name", "exemplars", "targets"), CASES)
def test_the_same_masks_over_http_as_in_evaluate(engram, engram_server, shared, tmp_path, name, exemplars, targets):
    root = shared / "data" / name
    command = [engram, "evaluate", "--data", root, "--exemplars", ",".join(exemplars), "--targets", ",".join(targets)]
    run = subprocess.run([*command, "--save", tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    api = Api(engram_server)
    for case in exemplars:
        api.store(*map(pydicom.dcmread, sorted((root / case).rglob("*.dcm"))))
    api.settled()
    for case in targets:
        images = [pydicom.dcmread(path) for path in sorted((root / case / "images").glob("*.dcm"))]
        api.store(*images)
        result = api.segment_series(images[0].StudyInstanceUID, images[0].SeriesInstanceUID).json()["result"]
        over_http = api.dicom.retrieve_instance(result["study"], result["series"], result["sop_instance"])
        measured = pydicom.dcmread(tmp_path / f"{case.replace('/', '-')}.dcm")
        found, expected = masks_of(over_http, images), masks_of(measured, images)
        assert found.keys() == expected.keys()
        assert any(mask.any() for mask in expected.values()), "nothing was found, so nothing is compared"
        for label, mask in expected.items():
            np.testing.assert_array_equal(found[label], mask, err_msg=f"{case}: {label}")
