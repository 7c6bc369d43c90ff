"""The Measurement Report, read by highdicom and DCMTK."""

import subprocess

import highdicom as hd
import pydicom
import pytest

import oracle
import patients
import segmented
from programs import program


@pytest.fixture
def path(made, name):
    return made.file(name, "report")


@pytest.fixture
def groups(path):
    return hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()


@pytest.fixture
def on_binary(made, name):
    """The report on what `/binary` gives."""
    return made.file(name, "report?binary=true")


def test_dciodvfy_finds_no_error(path, on_binary, case):
    assert oracle.dciodvfy_errors(on_binary, "Comprehensive3DSR") == []
    errors = oracle.dciodvfy_errors(path, "Comprehensive3DSR")
    if case.seg.SegmentationType == "LABELMAP":
        # It does not know yet that a Label Map Segmentation is a segmentation.
        assert len(errors) == len(case.segments)
        assert all("Shall not be present for Referenced SOP Class that is not segmentation" in one for one in errors)
    else:
        assert errors == []


def test_highdicom_finds_a_group_with_the_volume_of_each_segment(groups, case):
    segments = case.segments
    assert len(groups) == len(segments)
    for group in groups:
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == case.uid
        number = reference.referenced_segment_numbers[0]
        segment = segments.pop(number)
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (group.finding_type.value, group.finding_type.scheme_designator) == (
            kind.CodeValue, kind.CodingSchemeDesignator)
        assert (group.tracking_uid, group.tracking_identifier) == (segment.TrackingUID, segment.TrackingID)
        [volume] = group.get_measurements()
        assert (volume.name.value, volume.unit.value) == ("118565006", "mL")
        assert volume.value == pytest.approx(case.millilitres[number], rel=1e-6) and volume.value > 0
    assert not segments


def test_sides_are_those_of_the_site(groups, case):
    for group in groups:
        side = case.sides.get(group.referenced_segment.referenced_segment_numbers[0])
        found = [(site.value.value, site.laterality and site.laterality.value) for site in group.finding_sites]
        assert found == ([(segmented.KIDNEY.value, side.value)] if side else [])


def test_the_source_and_the_algorithm_are_named(groups, case):
    for group in groups:
        items = {item.ConceptNameCodeSequence[0].CodeValue: item for item in group[0].ContentSequence}
        assert items["121232"].UID == case.images[0].SeriesInstanceUID
        identification = case.segments[
            group.referenced_segment.referenced_segment_numbers[0]].SegmentationAlgorithmIdentificationSequence[0]
        assert (items["111001"].TextValue, items["111003"].TextValue) == (
            identification.AlgorithmName, identification.AlgorithmVersion)


def test_it_is_of_the_patient_and_refers_to_images_and_seg(path, case):
    report = pydicom.dcmread(path)
    image = case.images[0]
    assert (report.PatientID, report.StudyInstanceUID) == (image.PatientID, image.StudyInstanceUID)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert (report.ContentDate, report.ContentTime) == (case.seg.ContentDate, case.seg.ContentTime)
    evidence = {instance.ReferencedSOPInstanceUID
                for study in report.CurrentRequestedProcedureEvidenceSequence
                for series in study.ReferencedSeriesSequence for instance in series.ReferencedSOPSequence}
    assert evidence == {case.uid, *(image.SOPInstanceUID for image in case.images)}


def test_dcmtk_reads_it(on_binary, case):
    done = subprocess.run([program("dsrdump"), on_binary], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    warnings = set(done.stderr.strip().splitlines())
    assert warnings <= {"W: The VR checker does not support this Specific Character Set: ISO_IR 192"}
    assert done.stdout.count('NUM:(,,"Volume")') == len(case.segments)


def test_a_report_on_binary_refers_to_it_and_says_the_same(made, on_binary, groups, case, name):
    binary = pydicom.dcmread(made.file(name, "binary"))
    others = hd.sr.srread(on_binary).content.get_volumetric_roi_measurement_groups()
    for number, (group, other) in enumerate(zip(groups, others, strict=True), start=1):
        reference = other.referenced_segment
        assert reference.referenced_sop_instance_uid == binary.SOPInstanceUID
        assert reference.referenced_segment_numbers == [number]
        assert other.get_measurements()[0].value == group.get_measurements()[0].value
    assert (pydicom.dcmread(on_binary).SOPInstanceUID == pydicom.dcmread(made.file(name, "report")).SOPInstanceUID) == (
        case.seg.SegmentationType == "BINARY")


def test_it_is_the_same_each_time(made, path, case):
    assert made.get(case.uid, "report").content == path.read_bytes()


def test_a_series_that_is_not_stored_whole_is_refused(made):
    images = patients.images(21)
    seg = patients.segmentation(21)
    for kept, code in [([], "source_not_stored"), (images[:5], "source_not_stored")]:
        made.api.store(*kept, seg)
        answer = made.get(seg.SOPInstanceUID, "report")
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    made.api.store(*images[5:])
    assert made.get(seg.SOPInstanceUID, "report").status_code == 200
