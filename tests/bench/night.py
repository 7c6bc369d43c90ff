"""A night's work: many small studies arrive at once under a rule, and somebody presses Auto-segment meanwhile.

    python tests/bench/night.py --engram target/release/engram --out /tmp/night --studies 500

Prints how long it took, what memory it cost beside the server at rest, whether every study's result is there, and how long presses of
Auto-segment waited until their job ran, beside the time that a slice takes.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import MRImageStorage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import patients
from engram_api import Api
from running import engram
from serving import free_port

SLICES = 8
ANSWER_SECONDS = 10
CONFIG = """
[dimse]
bind = "127.0.0.1:{dimse}"
[[dimse.nodes]]
ae_title = "PACS"
address = "127.0.0.1:{pacs}"
[[rules]]
name = "night"
quiet_seconds = 2
when = {{ PatientID = "NIGHT*" }}
then = {{ segment = {{ labels = ["{label}"] }} }}
[[rules.send]]
to = "PACS"
"""


def study(number: int) -> list:
    """A made-up patient's slices under UIDs of their own."""
    images = patients.images(4 + number % 40)[1:1 + SLICES]
    series, study = generate_uid(), generate_uid()
    for image in images:
        image.PatientID, image.SeriesInstanceUID, image.StudyInstanceUID = f"NIGHT{number}", series, study
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return images


def send(port: int, images: list) -> int:
    """Sends a study as a modality does: again where an answer does not come. How often that was."""
    again = 0
    while not is_sent(port, images):
        again += 1
    return again


def is_sent(port: int, images: list) -> bool:
    ae = AE(ae_title="MR_7")
    # pynetdicom 3.0.4 seems to mislay an answer once in some thousand messages when many associations share a process.
    ae.dimse_timeout = ANSWER_SECONDS
    ae.add_requested_context(MRImageStorage)
    association = ae.associate("127.0.0.1", port, ae_title="ENGRAM")
    assert association.is_established
    for image in images:
        status = association.send_c_store(image).get("Status")
        if status is None:
            return False
        assert status == 0, f"{status:#06x}"
    association.release()
    return True


def pacs(port: int, received: list):
    ae = AE(ae_title="PACS")
    ae.supported_contexts = AllStoragePresentationContexts

    def take(event):
        received.append(event.request.AffectedSOPInstanceUID)
        return 0

    return ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])


def rss(pid: int, what: str = "VmRSS") -> float:
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) / 1024


def press(api: Api, waits: list, slices: list) -> None:
    """A person's Auto-segment; how long it waited, and what a slice took."""
    image = patients.images(4)[0]
    pressed = time.time()
    job = api.segment_series(image.StudyInstanceUID, image.SeriesInstanceUID, store=False, labels=[patients.LIVER_KEY])
    assert job.status_code == 200, job.text
    job = job.json()
    waits.append(job["started_at"] / 1000 - pressed)
    seconds = sum(seconds for _, seconds in job["stage_seconds"])
    slices.append(seconds / patients.SLICES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engram", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--presses", type=int, default=10)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    http, dimse, node = free_port(), free_port(), free_port()
    config = options.out / "config.toml"
    config.write_text(CONFIG.format(dimse=dimse, pacs=node, label=patients.LIVER_KEY))
    received: list[str] = []
    running = pacs(node, received)
    with engram(options.engram, http, options.out / "data", options.out / "log", "--config", config) as (server, _):
        api = Api(f"http://127.0.0.1:{http}")
        for number in (1, 2, 3):
            api.store(*patients.images(number), patients.segmentation(number))
        api.store(*patients.images(4))
        api.settled()
        alone, quiet_slices = [], []
        for _ in range(3):
            press(api, alone, quiet_slices)
        at_rest = rss(server.pid)
        studies = [study(number) for number in range(options.studies)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(8) as modalities:
            again = sum(modalities.map(lambda images: send(dimse, images), studies))
        arrived = time.perf_counter() - begun
        waits, slices = [], []
        while len(received) < options.studies:
            time.sleep(random.uniform(1, 3))
            if len(waits) < options.presses and api.get("/health").json()["jobs_waiting"]:
                thread = threading.Thread(target=press, args=(api, waits, slices))
                thread.start()
                thread.join()
        took = time.perf_counter() - begun
        peak = rss(server.pid, "VmHWM")
        states = [job["state"] for job in api.get("/jobs", params={"kind": "routed", "limit": 1000}).json()]
    running.shutdown()
    told = {
        "studies": options.studies, "slices of each": SLICES, "studies sent again": again,
        "seconds until all had arrived": round(arrived, 1),
        "seconds until all results were in the PACS": round(took, 1),
        "seconds a study": round(took / options.studies, 2),
        "jobs that succeeded": states.count("succeeded"), "results in the PACS": len(received),
        "results in the PACS twice": len(received) - len(set(received)),
        "MiB at rest": round(at_rest), "MiB at the peak": round(peak),
        "presses": len(waits), "seconds until a press ran, median": round(statistics.median(waits), 3),
        "seconds until a press ran, longest": round(max(waits), 3),
        "seconds until a press ran, alone": round(statistics.median(alone), 3),
        "seconds a slice of a press took meanwhile": round(statistics.median(slices), 3),
        "and alone": round(statistics.median(quiet_slices), 3),
    }
    (options.out / "night.json").write_text(json.dumps(told, indent=1))
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
