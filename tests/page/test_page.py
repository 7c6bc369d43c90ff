"""The whole way in a browser: files in, a series segmented, its result looked at, taught, and untaught."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

import patients
from engram_api import Api, masks_of
from patients import LIVER_KEY, SIZE, SLICES, SPLEEN_KEY
from serving import skip_or_fail

OHIF_SECONDS = 120
TARGET = 9


def written(folder, number: int, **files: bytes):
    """A patient's images as files of a folder, beside others."""
    folder.mkdir(parents=True)
    for image in patients.images(number):
        (folder / f"{image.InstanceNumber:02}.dcm").write_bytes(patients.part10(image))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def study_of(number: int) -> str:
    return patients.images(number)[0].StudyInstanceUID


def has_stored(api: Api, number: int) -> int:
    """How many of a patient's images there are."""
    found = api.dicom.search_for_instances(search_filters={"StudyInstanceUID": study_of(number)})
    return len(found)


@pytest.fixture(scope="module")
def job(api) -> dict:
    """The job that segmented a patient's series, and has ended."""
    api.store(*patients.images(TARGET))
    return api.segment(TARGET, options={"quality": "fast"}).json()


@pytest.fixture
def page(visit, api, job):
    """Its result."""
    page = visit(api.base).open(f"results/{job['id']}")
    page.slice()
    return page


def test_chosen_files_are_stored_and_what_is_refused_says_why(api, visit, tmp_path):
    other = patients.images(4)[0]
    api.store(other)
    changed = patients.images(4)[0]
    changed.PatientID = "SOMEONE-ELSE"
    folder = written(tmp_path / "files", 4, **{"notes.txt": b"not an image", "changed.dcm": patients.part10(changed)})
    page = visit(api.base).open()
    page.page.locator("#files").set_input_files(sorted(folder.iterdir()))
    page.says(f"Stored: {SLICES} files stored, 2 not")
    failures = page.page.locator(".failures li").all_inner_texts()
    assert len(failures) == 2
    assert any(line.startswith("changed.dcm: another object is stored") and "0111H" in line for line in failures)
    assert any(line.startswith("notes.txt: it is no DICOM file") for line in failures)
    assert has_stored(api, 4) == SLICES
    page.says("Test, Patient4")
    # The request that held the changed file, and that file alone.
    assert [one for one in page.wrong if "409" not in one] == []


def test_a_dropped_folder_is_stored_with_all_below_it(api, visit, tmp_path):
    written(tmp_path / "patient" / "deep" / "deeper", 5)
    written(tmp_path / "patient" / "other", 6)
    page = visit(api.base).open()
    drop(page, tmp_path / "patient")
    page.says(f"Stored: {2 * SLICES} files stored")
    assert has_stored(api, 5) == has_stored(api, 6) == SLICES
    assert page.wrong == []


def drop(page, *paths):
    """Drags files or folders from outside onto the page."""
    session = page.page.context.new_cdp_session(page.page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": data})


def test_studies_are_found(api, visit):
    page = visit(api.base).open()
    rows = page.page.locator("tbody tr")
    page.page.keyboard.press("/")
    page.page.keyboard.type("patient2")
    page.page.keyboard.press("Enter")
    page.counts("tbody tr", 1)
    assert page.page.url.endswith("PatientName=patient2")
    assert [row.split()[:2] for row in rows.all_inner_texts()] == [["Test,", "Patient2"]]
    for query, found in [("PatientID=T3", 1), ("from=2024-01-01&to=2024-01-01&PatientName=Patient1", 1),
                         ("from=2024-01-02", 0), ("Modality=CT", 0), ("Modality=SEG&PatientName=Patient3", 1),
                         ("StudyDescription=none", 0)]:
        page.open(f"studies?{query}")
        assert rows.count() == found, query
    page.says("No study is like that.")
    assert page.wrong == []


def test_pages_follow_one_another(start_engram, visit):
    api = Api(start_engram().base)
    for number in range(30):
        image = patients.images(1)[0]
        image.StudyInstanceUID, image.PatientName = patients.uid("paged", number), f"Paged^{number:02}"
        image.SeriesInstanceUID = patients.uid("paged series", number)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = patients.uid("paged image", number)
        api.store(image)
    page = visit(api.base).open()
    rows = page.page.locator("tbody tr")
    first = rows.all_inner_texts()
    assert len(first) == 25 and page.button("Previous").is_disabled()
    page.button("Next").click()
    page.says("26 to 30")
    assert rows.count() == 5 and not set(first) & set(rows.all_inner_texts()) and page.button("Next").is_disabled()
    assert page.wrong == []


def test_a_series_is_segmented_by_keyboard_alone(api, visit):
    api.store(*patients.images(7))
    page = visit(api.base).open(f"studies/{study_of(7)}")
    keyboard = page.page.keyboard
    page.button("Auto-segment").focus()
    keyboard.press("Enter")
    page.says("3 cases")
    labels = page.page.locator("dialog .labels li:visible")
    assert [label.split("\n")[0] for label in labels.all_inner_texts()] == ["Liver", "Spleen"]
    keyboard.type("spl")
    assert labels.count() == 1
    keyboard.press("Tab")
    keyboard.press("Tab")
    keyboard.press("Enter")
    assert not labels.get_by_role("checkbox").is_checked()
    page.page.get_by_label("Quality").select_option("fast")
    page.button("Start").focus()
    keyboard.press("Enter")
    page.there("Segmentation of")
    page.slice()
    job = api.get("/segmentations").json()[0]
    assert job["request"]["labels"] == [LIVER_KEY] and job["request"]["options"]["quality"] == "fast"
    assert page.page.url.endswith(job["id"])
    assert page.wrong == []


def test_progress_is_told_and_a_job_is_cancelled(api, visit):
    api.store(*patients.images(8))
    job = api.segment(8, wait=False, options={"quality": "best"}).json()
    jobs = visit(api.base).open("jobs")
    page = visit(api.base).open(f"results/{job['id']}")
    page.button("Cancel").click()
    page.page.locator(".state.cancelled").wait_for()
    assert api.get(f"/jobs/{job['id']}").json()["state"] == "cancelled"
    jobs.page.locator("li:has-text('Segmentation') .state.cancelled").first.wait_for()
    assert page.wrong == [] and jobs.wrong == []


def test_a_result_shows_what_was_segmented_on_every_slice(api, job, page):
    result = job["result"]
    seg = api.dicom.retrieve_instance(result["study"], result["series"], result["sop_instance"])
    masks = masks_of(seg, patients.images(TARGET))
    page.stage.focus()
    page.page.keyboard.press("Home")
    for index in range(SLICES):
        assert page.slice(index + 1) == index + 1
        drawn = page.overlay(SIZE, SIZE)
        any_label = np.any([mask[index] for mask in masks.values()], axis=0)
        assert np.array_equal(drawn[..., 3] > 0, any_label), f"slice {index + 1}"
        page.page.keyboard.press("ArrowDown")
    middle = SLICES // 2
    go_to(page, middle)
    both = page.overlay(SIZE, SIZE)
    colours = {label: {tuple(pixel) for pixel in both[mask[middle - 1] > 0]} for label, mask in masks.items()}
    assert all(len(found) == 1 for found in colours.values()) and colours["Liver"] != colours["Spleen"]

    page.page.get_by_label("Show Liver").uncheck()
    page.page.wait_for_timeout(200)
    spleen = page.overlay(SIZE, SIZE)
    assert np.array_equal(spleen[..., 3] > 0, masks["Spleen"][middle - 1] > 0)
    opacity = page.page.get_by_label("Overlay")
    opacity.focus()
    page.page.keyboard.press("Home")
    assert page.page.locator("canvas.overlay").evaluate("canvas => getComputedStyle(canvas).opacity") == "0"
    assert page.wrong == []


def go_to(page, number: int):
    """Shows a slice by the slider."""
    page.page.locator(".controls input[type=range]").first.fill(str(number))
    page.slice(number)


def test_slices_go_by_keys_wheel_slider_and_strip(job, page):
    keyboard = page.page.keyboard
    page.stage.focus()
    for key, number in [("Home", 1), ("ArrowUp", 1), ("ArrowDown", 2), ("ArrowRight", 3), ("ArrowLeft", 2),
                        ("End", SLICES), ("PageUp", 1), ("PageDown", SLICES)]:
        keyboard.press(key)
        assert page.slice(number) == number, key
    page.stage.hover()
    page.page.mouse.wheel(0, -80)
    assert page.slice(SLICES - 2) == SLICES - 2
    go_to(page, 4)
    band = page.page.locator(".strip").bounding_box()
    page.page.mouse.click(band["x"] + band["width"] * 6.5 / SLICES, band["y"] + band["height"] - 5)
    assert page.slice(7) == 7

    review = {label["label"]: {one["sop_instance"] for one in label["review"]} for label in job["result"]["labels"]}
    for label in job["result"]["labels"]:
        page.page.get_by_role("radio", name=label["meaning"]).check()
        flagged = [image.InstanceNumber for image in patients.images(TARGET)
                   if image.SOPInstanceUID in review[label["label"]]]
        marked = page.page.locator(".strip i").evaluate_all(
            "bars => bars.flatMap((bar, index) => bar.classList.contains('review') ? [index + 1] : [])")
        assert marked == flagged, "a form of its own for each slice for review"
        assert [int(jump) for jump in page.page.locator(".jump").all_inner_texts()] == flagged
        if flagged:
            page.page.locator(".jump").last.click()
            assert page.slice(flagged[-1]) == flagged[-1]
    assert page.wrong == []


def test_a_slice_that_cannot_be_shown_leaves_no_other_in_its_place(page):
    first = patients.images(TARGET)[0].SOPInstanceUID
    problem = {"code": "internal", "message": "could not decode it", "what_to_do": "See the log."}
    page.page.route(f"**/instances/{first}/rendered", lambda route: route.fulfill(status=500, json=problem))
    page.stage.focus()
    page.page.keyboard.press("Home")
    for text in problem.values():
        page.says(text)
    assert page.page.locator("#stage canvas").evaluate_all("all => all.map((one) => one.width)") == [1, 1]
    page.page.keyboard.press("ArrowDown")
    page.slice(2)
    assert page.page.locator("canvas.image").evaluate("canvas => canvas.width") == SIZE
    assert page.page.locator(".problem").count() == 0


def test_a_slice_says_which_cases_it_was_drawn_from(api, job, page):
    go_to(page, 5)
    page.page.get_by_role("radio", name="Liver").check()
    sop = patients.images(TARGET)[4].SOPInstanceUID
    provenance = api.get(f"/jobs/{job['id']}/provenance").json()
    expected = next(one for one in provenance if one["sop_instance"] == sop and one["label"] == LIVER_KEY)["exemplars"]
    assert expected
    tiles = page.page.locator(".sources .tile")
    page.counts(".sources .tile", len(expected))
    for tile, source in zip(tiles.all_inner_texts(), expected, strict=True):
        exemplar = next(one for one in api.get("/exemplars", params={"study": source["study"]}).json()["exemplars"]
                        if str(one["id"]) == source["exemplar"].split("-")[0])
        assert f"{source['similarity']:.3f}" in tile and exemplar["patient_id"] in tile
        assert f"slice {exemplar['slice_index'] + 1}" in tile
    shown = next(index for index, source in enumerate(expected) if source["present"])
    pictures = tiles.nth(shown).locator("img")
    pictures.nth(1).wait_for()
    assert pictures.count() == 2, "the slice, and the annotation over it"
    page.page.wait_for_function("tile => [...tile.querySelectorAll('img')].every((one) => one.naturalWidth > 0)",
                                arg=tiles.nth(shown).element_handle())
    assert page.wrong == []


def test_a_result_is_downloaded_and_approved(api, job, page):
    with page.page.expect_download() as started:
        page.link("Download the SEG").click()
    seg = pydicom.dcmread(io.BytesIO(started.value.path().read_bytes()))
    assert seg.SOPInstanceUID == job["result"]["sop_instance"] and started.value.suggested_filename.endswith(".dcm")

    before = api.labels()[LIVER_KEY]["studies"]
    page.says("nobody has vouched for it")
    page.button("Approve as exemplar").click()
    page.says("In the bank: 10 slices of it count.")
    assert api.settled()[LIVER_KEY]["studies"] == before + 1
    page.button("Remove from the bank").click()
    page.page.locator("dialog").get_by_role("button", name="Remove").click()
    page.says("Taken out of the bank.")
    assert api.settled()[LIVER_KEY]["studies"] == before
    assert page.wrong == []


def test_a_failed_job_says_what_to_do(api, visit):
    broken = patients.images(13)
    for image in broken:
        image.PixelData = image.PixelData[:100]
    api.store(*broken)
    job = api.segment(13, wait=False).json()
    page = visit(api.base).open(f"results/{job['id']}")
    page.page.locator(".state.failed").wait_for()
    error = api.get(f"/jobs/{job['id']}").json()["error"]
    for view in (f"results/{job['id']}", "jobs"):
        page.open(view)
        for text in error.values():
            page.says(text)
    assert page.wrong == []


def test_a_stored_segmentation_is_shown_over_its_images(api, visit):
    seg = patients.segmentation(1)
    page = visit(api.base).open(f"series/{seg.StudyInstanceUID}/{seg.SeriesInstanceUID}")
    index = page.slice() - 1
    any_label = np.any([mask[index] for mask in masks_of(seg, patients.images(1)).values()], axis=0)
    assert any_label.any() and np.array_equal(page.overlay(SIZE, SIZE)[..., 3] > 0, any_label)
    page.says("In the bank")
    assert page.wrong == []


def test_a_report_is_read_and_opened_by_itself(api, visit):
    report = pydicom.dcmread(get_testdata_file("test-SR.dcm"))
    api.store(report)
    page = visit(api.base).open(f"series/{report.StudyInstanceUID}/{report.SeriesInstanceUID}")
    page.says("Inferred Sample Text")
    page.page.get_by_role("link", name="Open by itself").click()
    page.page.get_by_role("heading", name="Diagnosis").wait_for()
    assert page.page.url.endswith(f"{report.SOPInstanceUID}/rendered")
    assert page.wrong == []


def test_an_exemplar_is_removed(api, visit):
    number = 14
    seg = patients.segmentation(number)
    api.store(*patients.images(number), seg)
    before = api.settled()

    page = visit(api.base).open(f"bank?label={SPLEEN_KEY}&study={seg.StudyInstanceUID}")
    spleen = (patients.anatomy(number)[1][patients.SPLEEN]).any(axis=(1, 2)).sum()
    group = page.page.get_by_role("region", name=f"Annotation of T{number}, MR")
    listed = api.get("/exemplars", params={"label": SPLEEN_KEY, "study": seg.StudyInstanceUID}).json()["exemplars"]
    assert group.locator(".tile").count() == len(listed) > spleen
    with_label = group.locator(".tile:has(.layers img + img)")
    page.counts(".tile .layers img + img", int(spleen))
    with_label.first.get_by_role("button").click()
    page.page.locator("dialog .layers.large img + img").wait_for()
    page.button("Close").click()

    page.button("Remove …").click()
    page.page.get_by_label("What").select_option(SPLEEN_KEY)
    page.page.locator("dialog").get_by_role("button", name="Cancel").click()
    assert api.settled() == before, "it asks first"
    page.button("Remove …").click()
    page.page.get_by_label("What").select_option(SPLEEN_KEY)
    page.page.locator("dialog").get_by_role("button", name="Remove").click()
    page.says("No exemplar is like that.")
    after = api.settled()
    assert after[SPLEEN_KEY]["studies"] == before[SPLEEN_KEY]["studies"] - 1
    assert after[LIVER_KEY] == before[LIVER_KEY]
    assert page.wrong == []


def test_the_bank_says_what_to_annotate_next(api, visit):
    api.store(*patients.images(15))
    page = visit(api.base).open("bank")
    page.page.get_by_text("What to annotate next").click()
    page.button("Suggest").click()
    page.says("looked at.")
    suggested = api.get("/exemplars/suggestions").json()["suggestions"]
    shown = page.page.locator("details .tile a").all_inner_texts()
    assert len(shown) == len(suggested) > 0
    assert page.wrong == []


def test_the_server_says_how_it_is(api, visit, job):
    page = visit(api.base).open("server")
    health = api.get("/health").json()
    for text in (health["version"], health["bundle"], "in use", "No rule is configured.", "slices a second",
                 "retrieve"):
        page.says(text)
    assert page.wrong == []


def test_a_result_leads_to_ohif(api, job, page):
    if not api.get("/health").json()["viewer"]:
        skip_or_fail("the viewer is not there: cargo xtask viewer")
    page.link("Open in OHIF").click()
    page.page.wait_for_url(f"**/viewer/viewer?StudyInstanceUIDs={job['result']['study']}")
    page.page.locator('[data-cy="viewport-pane"] canvas').first.wait_for(timeout=OHIF_SECONDS * 1000)
