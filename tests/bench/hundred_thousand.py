"""What a full store costs: searches at 100,000 instances beside the same at 1,000, start-up, and memory.

    python tests/bench/hundred_thousand.py --engram target/release/engram --out OUT

Needs pydicom. Stores 1,000 studies of 100 small CT instances by STOW-RS, ten studies first; OUT keeps the store, so that a
second run only measures it.
"""

import argparse
import datetime
import http.client
import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from running import engram

PORT = 8178
STUDIES, SLICES, FEW = 1000, 100, 10
REPEATS = 300
JSON = {"Accept": "application/dicom+json"}
# What of the template each instance replaces, by text of the same length.
NAME, PATIENT, DATE = "CASE-NAME", "PATIENT-0", "19000101"
STUDY, SERIES, INSTANCE = (f"2.25.1000000{level}0000000000" for level in (1, 2, 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engram", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    few, all_studies = arguments.out / "few", arguments.out / "all"
    fill(arguments, few, FEW)
    fill(arguments, all_studies, STUDIES)
    small, _, _ = measure(arguments, few, FEW)
    large, start, memory = measure(arguments, all_studies, STUDIES)
    print(f"{'search, p95 in ms':45s} {FEW * SLICES:>9d} {STUDIES * SLICES:>9d}   ratio (bar: 2)")
    for search, before in small.items():
        print(f"{search:45s} {before:9.2f} {large[search]:9.2f} {large[search] / before:7.2f}")
    print(f"start-up until healthy: {start:.2f} s (bar: 2 s); peak RSS {memory:.0f} MB (bar: 300 MB)")


def fill(arguments: argparse.Namespace, store: Path, studies: int):
    done = store / "filled"
    if done.exists():
        return
    template = make_template()
    with engram(arguments.engram, PORT, store, arguments.out / "engram.log"):
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        begun = time.perf_counter()
        for study in range(studies):
            body = b"".join(part(instance(template, study, number)) for number in range(SLICES)) + b"--B--\r\n"
            connection.request("POST", "/dicomweb/studies", body,
                               {"Content-Type": 'multipart/related; type="application/dicom"; boundary=B', **JSON})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise SystemExit(f"{response.status} {answer[:300]}")
        rate = studies * SLICES / (time.perf_counter() - begun)
    print(f"stored {studies * SLICES} instances, {rate:.0f} a second", flush=True)
    done.touch()


def make_template() -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = INSTANCE, SERIES, STUDY
    dataset.PatientName, dataset.PatientID = f"BENCH^{NAME}", PATIENT
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "O"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = DATE, "101500", "", "1"
    dataset.StudyDescription, dataset.SeriesDescription = "Abdomen", "Axial"
    dataset.ReferringPhysicianName, dataset.Modality, dataset.SeriesNumber = "", "CT", 1
    dataset.InstanceNumber, dataset.Manufacturer, dataset.KVP = 100, "Bench", 120
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.FrameOfReferenceUID = [1, 1], 1, STUDY
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = bytes(512)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def instance(template: bytes, study: int, number: int) -> bytes:
    texts = {
        NAME: name(study), PATIENT: patient(study), DATE: date(study),
        STUDY: study_uid(study), SERIES: series_uid(study),
        INSTANCE: f"2.25.10000003{study * SLICES + number:010d}",
    }
    for before, after in texts.items():
        assert len(before) == len(after), (before, after)
        template = template.replace(before.encode(), after.encode())
    return template.replace(b"IS\x04\x00100 ", b"IS\x04\x00%3d " % number)


def name(study: int) -> str:
    return f"CASE{study:05d}"


def patient(study: int) -> str:
    return f"P{study:08d}"


def date(study: int) -> str:
    return (datetime.date(2020, 1, 1) + datetime.timedelta(days=study)).strftime("%Y%m%d")


def study_uid(study: int) -> str:
    return f"2.25.10000001{study:010d}"


def series_uid(study: int) -> str:
    return f"2.25.10000002{study:010d}"


def part(content: bytes) -> bytes:
    return b"--B\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n"


def measure(arguments: argparse.Namespace, store: Path, studies: int) -> tuple[dict[str, float], float, float]:
    """The p95 of each search in ms; seconds until healthy; peak RSS in MB."""
    searches = {
        "studies?PatientID=": lambda study: f"/studies?PatientID={patient(study)}",
        "studies?PatientName= (whole)": lambda study: f"/studies?PatientName={quote('BENCH^' + name(study))}",
        "studies?PatientName=*… (wildcard)": lambda study: f"/studies?PatientName=*{name(study)[-5:]}",
        "studies?StudyDate=": lambda study: f"/studies?StudyDate={date(study)}",
        "studies?StudyDescription= (none)": lambda study: "/studies?StudyDescription=Nothing",
        "studies?limit=10": lambda study: "/studies?limit=10",
        "studies?limit=10&offset=": lambda study: f"/studies?limit=10&offset={study}",
        "studies/{}/series": lambda study: f"/studies/{study_uid(study)}/series",
        "studies/{}/series/{}/instances": lambda study:
            f"/studies/{study_uid(study)}/series/{series_uid(study)}/instances",
        "instances?SOPInstanceUID=": lambda study: f"/instances?SOPInstanceUID=2.25.10000003{study * SLICES:010d}",
        "instances?limit=100": lambda study: "/instances?limit=100",
        "series?Modality=CT&limit=10": lambda study: "/series?Modality=CT&limit=10",
    }
    with engram(arguments.engram, PORT, store, arguments.out / "engram.log") as (server, seconds):
        found = {label: p95(label, search, studies) for label, search in searches.items()}
        status = Path(f"/proc/{server.pid}/status").read_text()
    memory = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return found, seconds, memory


def p95(label: str, search: Callable[[int], str], studies: int) -> float:
    """The p95 of a search for studies chosen at random, in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    chosen = random.Random(1)
    times = []
    for _ in range(REPEATS):
        path = search(chosen.randrange(studies))
        begun = time.perf_counter()
        connection.request("GET", "/dicomweb" + path, headers=JSON)
        response = connection.getresponse()
        body = response.read()
        times.append((time.perf_counter() - begun) * 1e3)
        assert response.status == 200, (path, response.status, body)
        assert json.loads(body) or "(none)" in label, path
    return sorted(times)[int(0.95 * REPEATS)]


if __name__ == "__main__":
    main()
