"""A client of `/api/v1` and `/dicomweb`."""

import time
from dataclasses import dataclass

import highdicom as hd
import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

import patients

READY_SECONDS = 120


@dataclass
class Api:
    """What a client of `/api/v1` and `/dicomweb` does."""

    base: str

    def __post_init__(self):
        self.dicom = DICOMwebClient(url=f"{self.base}/dicomweb")

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(f"{self.base}/api/v1{path}", timeout=60, **options)

    def store(self, *datasets, **parameters) -> None:
        """STOW-RS; parameters such as partial="true" go into the query."""
        client = self.dicom
        if parameters:
            query = "&".join(f"{key}={value}" for key, value in parameters.items())
            requests_session_post(self.base, datasets, query)
        else:
            try:
                client.store_instances(list(datasets))
            except requests.HTTPError as error:
                pytest.fail(f"{error}: {error.response.text}")

    def segment(self, number: int, wait: bool = True, accept: str = "application/json", modality="MR", **body):
        one = patients.images(number, modality)[0]
        return self.segment_series(one.StudyInstanceUID, one.SeriesInstanceUID, wait, accept, **body)

    def segment_series(self, study: str, series: str, wait: bool = True, accept: str = "application/json", **body):
        body = {"study": study, "series": series, **body}
        return requests.post(f"{self.base}/api/v1/segmentations", json=body, timeout=300,
                             params={"wait": "true"} if wait else {}, headers={"Accept": accept})

    def labels(self) -> dict[str, dict]:
        return {label["label"]: label for label in self.get("/labels").json()}

    def settled(self) -> dict[str, dict]:
        """The labels, once no ingestion is under way."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            states = {job["state"] for job in self.get("/jobs", params={"kind": "ingestion"}).json()}
            if not states & {"queued", "running"}:
                return self.labels()
            time.sleep(0.1)
        pytest.fail("ingestion did not come to an end")


def masks_of(seg: pydicom.Dataset, sources: list[pydicom.Dataset]) -> dict[str, np.ndarray]:
    """Masks `[slice, row, column]` by segment label, as highdicom reads them."""
    read = hd.seg.Segmentation.from_dataset(seg)
    pixels = read.get_pixels_by_source_instance(
        [source.SOPInstanceUID for source in sources], ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True)
    return {
        read.get_segment_description(number).segment_label: pixels[..., index]
        for index, number in enumerate(read.segment_numbers)
    }


def requests_session_post(base: str, datasets, query: str) -> None:
    """STOW-RS with query parameters, which the public client does not send."""
    parts = b""
    for dataset in datasets:
        parts += b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + patients.part10(dataset)
    answer = requests.post(
        f"{base}/dicomweb/studies?{query}", data=parts + b"\r\n--XX--\r\n", timeout=60,
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'})
    assert answer.status_code == 200, answer.text
