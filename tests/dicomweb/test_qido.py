"""QIDO-RS against an oracle: what pydicom says of some dozens of small instances with awkward names."""

from datetime import datetime

import pytest
import requests
from pydicom.dataset import Dataset

from small_ct import make_ct, part10

NAMES = ["Doe^John", "doe^jane^Q", "Doe", "", "Müller^Jörg", "Yamada^Tarou=山田^太郎=やまだ^たろう", "O'Neil^Sean^^Dr",
         "Van der Berg^Anna", "Wang^XiaoDong=王^小東", "Doe-Smith^J*hn"]
UID = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}
STUDIES = "2.25.77"


def instances() -> list[Dataset]:
    """Ten studies with a CT series of two slices and, in every second, an MR series of one."""
    made = []
    for at, name in enumerate(NAMES, 1):
        study = f"{STUDIES}.{at}"
        for series, number in [(1, 1), (1, 2)] + [(2, 1)] * (at % 2):
            ds = make_ct(number, study=study, series=f"{study}.{series}", patient=f"P{at:02}", rows=4)
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.PatientName, ds.StudyDate, ds.StudyTime = name, f"202401{at:02}", f"{at + 8:02}3000"
            ds.StudyDescription = "Head CT" if at < 4 else "head & neck" if at < 7 else ""
            ds.AccessionNumber = f"A{at}" if at != 4 else ""
            ds.Modality, ds.SeriesNumber = ("CT", 1) if series == 1 else ("MR", 2)
            ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if number == 1 else "LOCALIZER"]
            ds.AcquisitionDateTime = f"202401{at:02}{at + 8:02}{number:02}30.5"
            ds.EchoTime = 4.5 if series == 2 else None
            if at > 5:
                ds.TimezoneOffsetFromUTC = "+0100"
            items = []
            for step, procedure in ((f"S{at}", "X"), (f"T{at}", "Y")):
                item = Dataset()
                item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
                items.append(item)
            ds.RequestAttributesSequence = items
            made.append(ds)
    return made


@pytest.fixture(scope="module")
def kept(server):
    made = instances()
    body = b"".join(b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + part10(ds) for ds in made)
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'}
    answer = requests.post(f"{server.dicomweb}/studies", data=body + b"\r\n--XX--\r\n", headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return made


def get(server, path, params=None):
    return requests.get(server.dicomweb + path, params=params, timeout=60)


def found(answer, level) -> list[str]:
    assert answer.status_code == 200, answer.text
    tag = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}[level]
    return sorted(item[tag]["Value"][0] for item in answer.json())


def name(ds) -> str:
    return str(ds.PatientName)


def folded(ds) -> str:
    return name(ds).split("=")[0].lower()


def at(ds) -> datetime:
    return datetime.strptime(ds.StudyDate + ds.StudyTime, "%Y%m%d%H%M%S")


def steps(ds) -> list[tuple[str, str]]:
    return [(item.ScheduledProcedureStepID, item.RequestedProcedureID) for item in ds.RequestAttributesSequence]


# Level, parameters, and which instances meet them.
QUERIES = [
    ("studies", {}, lambda ds: True),
    ("series", {}, lambda ds: True),
    ("instances", {}, lambda ds: True),
    # Single values, by keyword and tag.
    ("studies", {"PatientID": "P03"}, lambda ds: ds.PatientID == "P03"),
    ("studies", {"00100020": "P03"}, lambda ds: ds.PatientID == "P03"),
    ("studies", {"PatientID": "p03"}, lambda ds: False),
    ("series", {"Modality": "MR"}, lambda ds: ds.Modality == "MR"),
    ("instances", {"InstanceNumber": "2"}, lambda ds: ds.InstanceNumber == 2),
    ("instances", {"SliceThickness": "2.50"}, lambda ds: True),
    ("studies", {"InstanceNumber": "2", "PatientID": "P01"}, lambda ds: ds.PatientID == "P01"),
    ("studies", {"ImageType": "LOCALIZER"}, lambda ds: "LOCALIZER" in ds.ImageType),
    ("series", {"EchoTime": "4.5"}, lambda ds: ds.EchoTime == 4.5),
    # Universal matching.
    ("studies", {"PatientName": ""}, lambda ds: True),
    ("studies", {"AccessionNumber": "*"}, lambda ds: True),
    # Lists of UIDs.
    ("studies", {"StudyInstanceUID": f"{STUDIES}.1,{STUDIES}.9,1.2"}, lambda ds: ds.PatientID in ("P01", "P09")),
    ("studies", {"StudyInstanceUID": f"{STUDIES}.1\\{STUDIES}.9"}, lambda ds: ds.PatientID in ("P01", "P09")),
    ("instances", {"SOPInstanceUID": f"{STUDIES}.1.1.2,{STUDIES}.3.2.1"},
     lambda ds: ds.SOPInstanceUID in (f"{STUDIES}.1.1.2", f"{STUDIES}.3.2.1")),
    # Wildcards.
    ("studies", {"PatientID": "P0?"}, lambda ds: ds.PatientID.startswith("P0")),
    ("studies", {"StudyDescription": "head*"}, lambda ds: ds.StudyDescription.startswith("head")),
    ("studies", {"StudyDescription": "?ead*"}, lambda ds: ds.StudyDescription[1:4] == "ead"),
    ("studies", {"StudyDescription": "head & neck"}, lambda ds: ds.StudyDescription == "head & neck"),
    # Dates and times.
    ("studies", {"StudyDate": "20240103"}, lambda ds: ds.StudyDate == "20240103"),
    ("studies", {"StudyDate": "20240103-20240105"}, lambda ds: "20240103" <= ds.StudyDate <= "20240105"),
    ("studies", {"StudyDate": "-20240103"}, lambda ds: ds.StudyDate <= "20240103"),
    ("studies", {"StudyDate": "20240108-"}, lambda ds: ds.StudyDate >= "20240108"),
    ("studies", {"StudyTime": "1130-1330"}, lambda ds: "113000" <= ds.StudyTime <= "133059"),
    ("studies", {"StudyTime": "-10"}, lambda ds: ds.StudyTime[:2] <= "10"),
    ("studies", {"StudyDate": "20240102-20240105", "StudyTime": "1100-1200"},
     lambda ds: datetime(2024, 1, 2, 11) <= at(ds) <= datetime(2024, 1, 5, 12, 0, 59)),
    ("studies", {"StudyDate": "20240104-", "StudyTime": "1300-"}, lambda ds: at(ds) >= datetime(2024, 1, 4, 13)),
    ("studies", {"StudyDate": "20240104-", "StudyTime": "-1300"},
     lambda ds: ds.StudyDate >= "20240104" and ds.StudyTime <= "130059"),
    ("instances", {"AcquisitionDateTime": "20240103-2024010412"},
     lambda ds: "20240103" <= ds.AcquisitionDateTime[:8] and ds.AcquisitionDateTime[:10] <= "2024010412"),
    # Person names.
    ("studies", {"PatientName": "DOE^JOHN"}, lambda ds: folded(ds) == "doe^john"),
    ("studies", {"PatientName": "doe"}, lambda ds: folded(ds) == "doe"),
    ("studies", {"PatientName": "doe*"}, lambda ds: folded(ds).startswith("doe")),
    ("studies", {"PatientName": "^j*"}, lambda ds: folded(ds).partition("^")[2].startswith("j")),
    ("studies", {"PatientName": "müller^JÖRG"}, lambda ds: folded(ds) == "müller^jörg"),
    ("studies", {"PatientName": "山田^太郎"}, lambda ds: "山田^太郎" in name(ds)),
    ("studies", {"PatientName": "=王*"}, lambda ds: "=王" in name(ds)),
    ("studies", {"PatientName": "yamada*=山田*"}, lambda ds: "山田" in name(ds)),
    ("studies", {"PatientName": "yamada*=王*"}, lambda ds: False),
    ("studies", {"PatientName": "john", "fuzzymatching": "true"}, lambda ds: "^John" in name(ds)),
    ("studies", {"PatientName": "berg an", "fuzzymatching": "true"}, lambda ds: "Berg^Anna" in name(ds)),
    # Sequences: one item must meet all keys.
    ("series", {"RequestAttributesSequence.ScheduledProcedureStepID": "S3"}, lambda ds: ("S3", "X") in steps(ds)),
    ("series", {"00400275.00400009": "S3", "00400275.00401001": "X"}, lambda ds: ("S3", "X") in steps(ds)),
    ("series", {"00400275.00400009": "S3", "00400275.00401001": "Y"}, lambda ds: ("S3", "Y") in steps(ds)),
    # What is empty.
    ("studies", {"AccessionNumber": '""', "emptyvaluematching": "true"}, lambda ds: not ds.AccessionNumber),
    ("studies", {"PatientName": '""', "emptyvaluematching": "true"}, lambda ds: not name(ds)),
    ("studies", {"AccessionNumber": '""'}, lambda ds: False),
    # Several values.
    ("studies", {"ModalitiesInStudy": "MR"}, lambda ds: int(ds.PatientID[1:]) % 2 == 1),
    ("studies", {"ModalitiesInStudy": "CT\\MR"}, lambda ds: True),
    ("studies", {"ModalitiesInStudy": "CT\\MR", "multiplevaluematching": "true"},
     lambda ds: int(ds.PatientID[1:]) % 2 == 1),
    ("instances", {"ImageType": "AXIAL\\PRIMARY", "multiplevaluematching": "true"}, lambda ds: "AXIAL" in ds.ImageType),
    ("studies", {"NumberOfStudyRelatedInstances": "3"}, lambda ds: int(ds.PatientID[1:]) % 2 == 1),
    ("series", {"NumberOfSeriesRelatedInstances": "1"}, lambda ds: ds.Modality == "MR"),
    # Keys of several levels together.
    ("instances", {"PatientID": "P0*", "Modality": "CT", "InstanceNumber": "1"},
     lambda ds: ds.PatientID.startswith("P0") and ds.Modality == "CT" and ds.InstanceNumber == 1),
]


@pytest.mark.parametrize("level, params, meets", QUERIES, ids=[f"{level} {params}" for level, params, _ in QUERIES])
def test_queries_find_what_pydicom_finds(server, kept, level, params, meets):
    expected = sorted({ds.get(UID[level]) for ds in kept if meets(ds)})
    answer = get(server, f"/{level}", params)
    assert found(answer, level) == expected
    assert answer.headers["X-Total-Count"] == str(len(expected))
    assert get(server, f"/{level}/count", params).json() == {"count": len(expected)}


def test_resources_below_a_study(server, kept):
    study, series = f"{STUDIES}.3", f"{STUDIES}.3.1"
    for path, level, expected in [
        (f"/studies/{study}/series", "series", {ds.SeriesInstanceUID for ds in kept if ds.StudyInstanceUID == study}),
        (f"/studies/{study}/instances", "instances", {ds.SOPInstanceUID for ds in kept if ds.StudyInstanceUID == study}),
        (f"/studies/{study}/series/{series}/instances", "instances",
         {ds.SOPInstanceUID for ds in kept if ds.SeriesInstanceUID == series}),
    ]:
        assert found(get(server, path), level) == sorted(expected)
        assert get(server, path + "/count").json() == {"count": len(expected)}
        cut = get(server, path, {"limit": 1})
        assert len(cut.json()) == 1 and cut.headers["X-Total-Count"] == str(len(expected))


def test_pages_are_whole_and_a_cut_one_warns(server, kept):
    every = sorted({ds.SOPInstanceUID for ds in kept})
    for size in (1, 7, len(every)):
        pages = []
        while True:
            answer = get(server, "/instances", {"limit": size, "offset": len(pages)})
            pages += found(answer, "instances")
            assert ("Warning" in answer.headers) == (len(pages) < len(every))
            if "Warning" not in answer.headers:
                break
        assert sorted(pages) == every


# PS3.18 Tables 10.6.3-3 to 10.6.3-5, without what these instances do not have.
STUDY_ATTRIBUTES = ["00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00080201", "00081190", "00100010",
                    "00100020", "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208"]
SERIES_ATTRIBUTES = ["00080060", "00080201", "00081190", "0020000E", "00200011", "00201209", "00400275"]
INSTANCE_ATTRIBUTES = ["00080016", "00080018", "00080056", "00080201", "00081190", "00200013", "00280010", "00280011",
                       "00280100"]


def test_matches_have_what_the_tables_ask_for(server, kept):
    study = f"{STUDIES}.7"
    (item,) = get(server, "/studies", {"StudyInstanceUID": study}).json()
    assert set(STUDY_ATTRIBUTES) <= set(item)
    assert item["00080061"]["Value"] == ["CT", "MR"]
    assert (item["00201206"]["Value"], item["00201208"]["Value"]) == ([2], [3])
    for item in get(server, f"/studies/{study}/series").json():
        assert set(SERIES_ATTRIBUTES) <= set(item)
        assert item["00201209"]["Value"] == [2 if item["00080060"]["Value"] == ["CT"] else 1]
    for item in get(server, f"/studies/{study}/instances").json():
        assert set(INSTANCE_ATTRIBUTES + SERIES_ATTRIBUTES) - {"00201209"} <= set(item)
    for item in get(server, "/instances", {"StudyInstanceUID": study}).json():
        assert set(INSTANCE_ATTRIBUTES + SERIES_ATTRIBUTES + STUDY_ATTRIBUTES) <= set(item)


def test_further_attributes_are_included(server, kept):
    path = f"/studies/{STUDIES}.1/series/{STUDIES}.1.1/instances"
    for fields, wanted in [
        ([("includefield", "WindowCenter,00281051"), ("includefield", "SliceThickness")], {"00281050", "00281051", "00180050"}),
        ([("includefield", "RequestAttributesSequence.ScheduledProcedureStepID")], {"00400275"}),
        ([("includefield", "all")], {"00281050", "00200032", "00400275"}),
        ([("WindowCenter", "")], {"00281050"}),
    ]:
        for item in get(server, path, fields).json():
            assert wanted <= set(item) and "7FE00010" not in item


@pytest.mark.parametrize("query", [
    "NotAnAttribute=1", "00089999=1", "charset=iso-8859-1", "orderby=Nope", "orderby=Rows",
    "StudyDate=2024", "StudyDate=20240101-20240132", "StudyDate=20240105-20240101",
    "StudyDate=-", "StudyTime=1000-2500", "AcquisitionDateTime=soon-", "limit=-1", "offset=x", "fuzzymatching=maybe",
    "emptyvaluematching=2", "multiplevaluematching=x", "includefield=Nope", "PatientName=%FF",
])
def test_what_does_not_read_is_refused(server, query):
    for path in ("/studies", "/studies/count"):
        answer = requests.get(f"{server.dicomweb}{path}?{query}", timeout=60)
        assert answer.status_code == 400 and answer.json()["what_to_do"], answer.text


def in_order(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["0020000D"]["Value"][0].rsplit(".", 1)[1] for item in answer.json()]


def test_the_latest_studies_come_first(server, kept):
    expected = [str(number) for number in range(len(NAMES), 0, -1)]
    assert in_order(get(server, "/studies", {"PatientID": "P*"})) == expected
    assert in_order(get(server, "/studies", {"ModalitiesInStudy": "CT"})) == expected
    assert in_order(get(server, "/studies", {"PatientID": "P*", "limit": 3, "offset": 2})) == expected[2:5]


@pytest.mark.parametrize("order, key", [
    ("StudyDate", lambda ds: ds.StudyDate),
    ("-PatientID", lambda ds: ds.PatientID),
    ("AccessionNumber,-00080020", lambda ds: (ds.AccessionNumber or "", -int(ds.StudyDate))),
    ("-PatientName", lambda ds: str(ds.PatientName).lower()),
])
def test_studies_come_in_the_order_that_is_asked_for(server, kept, order, key):
    studies = {ds.StudyInstanceUID.rsplit(".", 1)[1]: ds for ds in kept}
    expected = sorted(studies, key=lambda study: key(studies[study]), reverse=order.startswith("-"))
    found = in_order(get(server, "/studies", {"PatientID": "P*", "orderby": order}))
    assert [key(studies[study]) for study in found] == [key(studies[study]) for study in expected]
    assert in_order(get(server, "/studies", {"PatientID": "P*", "orderby": order, "limit": 4, "offset": 3})) == found[3:7]


def test_modalities_may_be_set_apart_by_commas(server, kept):
    with_mr = {ds.StudyInstanceUID for ds in kept if ds.Modality == "MR"}
    assert set(found(get(server, "/studies", {"ModalitiesInStudy": "MR,PT"}), "studies")) == with_mr
    assert len(found(get(server, "/studies", {"ModalitiesInStudy": "CT,MR"}), "studies")) == len(NAMES)


def test_private_elements_are_searched_and_returned_with_whose_they_are(server):
    ds = make_ct(1, study="2.25.79", series="2.25.79.1")
    block = ds.private_block(0x0009, "ACME 1.1", create=True)
    block.add_new(0x01, "LO", "secret sauce")
    answer = requests.post(f"{server.dicomweb}/studies", data=part10(ds), timeout=60,
                           headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text
    (item,) = get(server, "/instances", {"00091001": "secret*", "StudyInstanceUID": "2.25.79"}).json()
    assert item["00091001"]["Value"] == ["secret sauce"]
    (item,) = get(server, "/studies/2.25.79/instances", {"includefield": "00091001"}).json()
    assert (item["00091001"]["Value"], item["00090010"]["Value"]) == (["secret sauce"], ["ACME 1.1"])
    assert get(server, "/instances", {"00091001": "other", "StudyInstanceUID": "2.25.79"}).json() == []


def test_integers_may_be_padded_with_zeros(server):
    ds = make_ct(1, study="2.25.80", series="2.25.80.1")
    ds.InstanceNumber = 42
    content = part10(ds).replace(b"IS\x02\x0042", b"IS\x04\x000042")
    assert b"IS\x04\x000042" in content
    answer = requests.post(f"{server.dicomweb}/studies", data=content, timeout=60,
                           headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text
    (item,) = get(server, "/studies/2.25.80/instances", {"InstanceNumber": "42"}).json()
    assert item["00200013"] == {"vr": "IS", "Value": [42]}
    assert item["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
