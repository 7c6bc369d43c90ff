"""Debian's Orthanc as the hospital's PACS."""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pynetdicom import AE

from serving import free_port, skip_or_fail

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TO_ENGRAM = """
function OnStableStudy(studyId, tags, metadata)
  RestApiPost('/modalities/engram/store', studyId)
end
"""


@dataclass
class Orthanc:
    """A running Orthanc with DICOMweb that forwards each study to Engram once it is stable."""

    process: subprocess.Popen
    http_port: int
    dicom_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> DICOMwebClient:
        return DICOMwebClient(f"{self.url}/dicom-web")

    def store(self, *datasets: pydicom.Dataset, calling: str = "MR_7") -> None:
        ae = AE(ae_title=calling)
        for uid in {dataset.SOPClassUID for dataset in datasets}:
            ae.add_requested_context(uid)
        association = ae.associate("127.0.0.1", self.dicom_port, ae_title="ORTHANC")
        assert association.is_established
        assert all(association.send_c_store(dataset).Status == 0 for dataset in datasets)
        association.release()

    def series(self, study: str, modality: str) -> list[dict]:
        """What QIDO-RS finds."""
        return self.dicomweb.search_for_series(study, search_filters={"Modality": modality})

    def instances(self, study: str, modality: str) -> list[pydicom.Dataset]:
        client = self.dicomweb
        return [instance for found in self.series(study, modality)
                for instance in client.retrieve_series(study, found["0020000E"]["Value"][0])]

    def changes(self) -> int:
        """The number of the last change."""
        return requests.get(f"{self.url}/changes?last", timeout=10).json()["Last"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def start_orthanc(folder: Path, engram_port: int | None = None) -> Orthanc:
    """Starts it; without a port of Engram's it forwards nothing."""
    program = shutil.which("Orthanc") or skip_or_fail("Orthanc is not installed (Debian: apt-get install orthanc)")
    if not PLUGIN.is_file():
        skip_or_fail("Orthanc has no DICOMweb (Debian: apt-get install orthanc-dicomweb)")
    folder.mkdir()
    script, config, http_port, dicom_port = folder / "to-engram.lua", folder / "orthanc.json", free_port(), free_port()
    forwards = {}
    if engram_port is not None:
        script.write_text(TO_ENGRAM)
        forwards = {"LuaScripts": [str(script)], "DicomModalities": {"engram": ["ENGRAM", "127.0.0.1", engram_port]}}
    config.write_text(json.dumps({
        "Name": "hospital", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "HttpPort": http_port, "DicomPort": dicom_port, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "StableAge": 2, "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, **forwards}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, config], stdout=log, stderr=log, cwd=folder)
    orthanc = Orthanc(process, http_port, dicom_port)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{orthanc.url}/system", timeout=2).ok:
                return orthanc
        except requests.ConnectionError:
            time.sleep(0.1)
    return skip_or_fail(f"Orthanc did not start:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
