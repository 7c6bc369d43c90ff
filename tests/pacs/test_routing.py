"""What rules do: a study that arrives is segmented, and its results reach the PACS once."""

import hashlib
import hmac
import json
import threading

import patients
from ward import COMPREHENSIVE_3D_SR, LABEL_MAP, MODALITY, PACS, SECONDARY_CAPTURE, SEGMENTATION, Script, node, wait_for

RULE = """
[[rules]]
name = "night"
quiet_seconds = {quiet}
when = {{ Modality = "MR", slices = {{ min = 4 }}, source = "dimse", calling_ae_title = "MR_*" }}
then = {{ segment = {{ labels = ["{label}"], quality = "fast" }} }}
[[rules.send]]
to = "{to}"
what = {what}
"""


def rule(what=("segmentation",), quiet=1, to=PACS) -> str:
    return RULE.format(quiet=quiet, label=patients.LIVER_KEY, to=to, what=json.dumps(list(what)))


def test_a_study_from_a_modality_is_segmented_and_every_form_reaches_the_pacs(house, pacs):
    house = house(node(pacs), rule(["segmentation", "secondary_capture", "report"]))
    house.send(*patients.images(4))
    [job] = house.routed()
    assert (job["state"], job["rules"]) == ("succeeded", ["night"])
    house.quiet()
    [delivery] = house.deliveries()
    assert (delivery["state"], delivery["to"], delivery["attempts"]) == ("succeeded", PACS, 1), delivery
    classes = pacs.classes()
    assert classes == {LABEL_MAP: 1, COMPREHENSIVE_3D_SR: 1, SECONDARY_CAPTURE: patients.SLICES}
    source = patients.images(4)[0]
    assert {dataset.StudyInstanceUID for dataset in pacs.stored} == {source.StudyInstanceUID}
    assert {dataset.PatientID for dataset in pacs.stored} == {source.PatientID}
    assert set(pacs.instances().values()) == {1}


def test_a_pacs_without_label_maps_gets_binary(house, pacs):
    pacs.stop()
    pacs.without = {LABEL_MAP}
    pacs.start()
    house = house(node(pacs), rule())
    house.send(*patients.images(4))
    house.routed()
    house.quiet()
    assert pacs.classes() == {SEGMENTATION: 1}
    assert pacs.stored[0].SegmentationType == "BINARY"
    [delivery] = house.deliveries("succeeded")
    assert delivery["sent"] == 1 and delivery["as_binary"]


def test_what_no_rule_is_about_is_left_alone(house, pacs):
    house = house(node(pacs), rule())
    house.send(*patients.images(4)[:3])
    house.send(*patients.images(5), calling="CT_1")
    house.api.store(*patients.images(6))
    assert [house.asked(number)[0]["result"]["series"] for number in (4, 5, 6)] == [[], [], []]
    house.quiet()
    assert house.jobs("routed") == [] and pacs.stored == []


def test_the_same_study_again_and_results_that_come_back_change_nothing(house, pacs):
    house = house(node(pacs), rule(["segmentation", "report"]))
    house.send(*patients.images(4))
    house.routed()
    house.quiet()
    house.send(*patients.images(4))
    # What the PACS forwards comes from its own AE title, and fits no rule by that; here it even claims to be the modality.
    house.send(*[dataset for dataset in pacs.stored if dataset.Modality == "SR"], calling=MODALITY)
    house.asked(4, 2)
    house.quiet()
    assert len(house.jobs("routed")) == 1
    assert set(pacs.instances().values()) == {1}


def test_slices_that_come_late_make_another_result(house, pacs):
    house = house(node(pacs), rule())
    images = patients.images(4)
    house.send(*images[:6])
    house.routed(1)
    house.send(*images[6:])
    house.routed(2)
    house.quiet()
    assert len(pacs.instances()) == 2


def test_a_study_is_waited_for_until_it_is_quiet(house, pacs):
    house = house(node(pacs), rule(quiet=3))
    for image in patients.images(4):
        house.send(image)
        threading.Event().wait(0.4)
        assert house.jobs("routed") == []
    house.routed(1)
    house.quiet()
    assert len(pacs.instances()) == 1


def test_a_study_that_waits_is_taken_up_after_a_crash(house, pacs):
    house = house(node(pacs), rule(quiet=2))
    house.send(*patients.images(4))
    house.server.kill()
    house.server.start_again()
    house.routed(1)
    house.quiet()
    assert len(pacs.instances()) == 1


def test_series_are_forwarded_but_not_to_where_they_came_from(house, pacs):
    house = house(node(pacs), """
[[rules]]
name = "copy"
quiet_seconds = 1
then = { forward = ["PACS"] }
""")
    house.send(*patients.images(4))
    house.send(*patients.images(5), calling=PACS)
    [returned] = house.asked(5)[0]["result"]["series"]
    assert (returned["outcome"], returned["to"]) == ("not_returned", PACS)
    [forwarded] = house.asked(4)[0]["result"]["series"]
    assert forwarded["outcome"] == "forwarded"
    house.quiet()
    sent = {dataset.StudyInstanceUID for dataset in pacs.stored}
    assert patients.uid(4, "study") in sent and patients.uid(5, "study") not in sent
    assert set(pacs.instances().values()) == {1}


def test_a_script_hears_of_it_signed_and_again_until_it_answers(house, pacs):
    script = Script(500, 500)
    house = house(node(pacs), rule(), f'[[webhooks]]\nname = "site"\nurl = "{script.url}"\nsecret = "key"')
    house.send(*patients.images(4))
    house.routed()
    house.quiet()
    # The studies that it was taught with are complete as well.
    heard = wait_for(lambda: len(calls := {headers["Engram-Delivery"]: body for headers, body in script.calls}) == 6 and calls,
                     "six items of news")
    script.close()
    assert len(script.calls) == 6 + 2
    for headers, body in script.calls:
        assert headers["Engram-Signature"] == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
    items = [json.loads(body) for body in heard.values()]
    by_event = {item["event"]: item for item in items if item["study"] == patients.uid(4, "study")}
    assert sorted(by_event) == ["delivery_ended", "segmentation_ended", "study_complete"]
    assert by_event["study_complete"]["origin"] == {"source": "dimse", "calling_ae_title": MODALITY}
    assert by_event["segmentation_ended"]["segmentation"] == pacs.stored[0].SOPInstanceUID
    assert by_event["delivery_ended"]["node"] == PACS


def test_the_stream_of_events_tells_it_and_can_be_taken_up_again(house, pacs):
    house = house(node(pacs), rule())
    heard = []
    open_to = threading.Event()

    def listen(last=None):
        """Keeps what is told of this study, until its delivery ends: those it was taught with are told of as well."""
        headers = {"Last-Event-ID": last} if last else {}
        with house.api.get("/events", stream=True, headers=headers) as stream:
            item = {}
            for line in stream.iter_lines(decode_unicode=True):
                open_to.set()
                name, _, value = line.partition(": ")
                item[name] = value
                if line == "" and "data" in item:
                    if json.loads(item["data"])["study"] == patients.uid(4, "study"):
                        heard.append(item)
                        if item["event"] == "delivery_ended":
                            return
                    item = {}

    listener = threading.Thread(target=listen)
    listener.start()
    assert open_to.wait(30)
    house.send(*patients.images(4))
    listener.join(60)
    assert [item["event"] for item in heard] == ["study_complete", "segmentation_ended", "delivery_ended"]
    first = heard[0]["id"]
    heard.clear()
    listen(first)
    assert [item["event"] for item in heard] == ["segmentation_ended", "delivery_ended"]
