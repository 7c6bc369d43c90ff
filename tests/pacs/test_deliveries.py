"""What leaves arrives once, whatever the PACS and the power do meanwhile."""

import threading
from itertools import count

import pytest

import patients
from serving import doctor, free_port
from ward import PACS, Script, node, wait_for

COPY = """
[[rules]]
name = "copy"
quiet_seconds = 1
when = { source = "dimse" }
then = { forward = ["PACS"] }
"""
NUMBERS = 10


@pytest.fixture
def copying(house, pacs):
    """Engram that forwards to the PACS what it gets by C-STORE."""
    return house(node(pacs), COPY, taught=0)


def arrived_once(pacs, *studies: int) -> None:
    """Every slice of the studies is there, and none twice."""
    expected = {image.SOPInstanceUID for number in studies for image in patients.images(number)}
    wait_for(lambda: set(pacs.instances()) >= expected, "all instances in the PACS")
    assert set(pacs.instances()) == expected
    assert set(pacs.instances().values()) == {1}


def test_a_pacs_that_is_down_gets_it_when_it_is_up(copying, pacs):
    pacs.stop()
    copying.send(*patients.images(1))
    copying.send(*patients.images(2))
    waiting = wait_for(lambda: [d for d in copying.deliveries("queued") if d["error"]], "a failed attempt")
    assert waiting[0]["error"]["code"] == "node_unreachable"
    assert PACS in waiting[0]["error"]["message"] and waiting[0]["next_attempt_at"]
    pacs.start()
    copying.quiet()
    arrived_once(pacs, 1, 2)
    assert len(copying.deliveries("succeeded")) == 2
    *failed, first, second = wait_for(
        lambda: (lines := copying.audited("C-STORE to a node")) and lines[-1]["complete"] and lines, "lines of the audit log")
    assert failed and not any(line["complete"] or line["instances"] for line in failed)
    for line in (first, second):
        assert line["complete"] and line["instances"] == NUMBERS and line["bytes"] > 0
        assert (line["who"], line["peer"]) == ("ENGRAM", f"PACS (127.0.0.1:{pacs.port})")
    assert {first["study"], second["study"]} == {patients.uid(number, "study") for number in (1, 2)}


def test_a_pacs_that_aborts_gets_the_rest_later(copying, pacs):
    number = count()

    def abort_sometimes(event):
        if next(number) in (0, 3, 4, 9):
            event.assoc.abort()
        return 0

    pacs.answer = abort_sometimes
    copying.send(*patients.images(1))
    wait_for(lambda: copying.deliveries("succeeded"), "the delivery")
    # What was aborted under the PACS's hands it had taken all the same; it was sent again, as the same instance.
    expected = {image.SOPInstanceUID for image in patients.images(1)}
    assert set(pacs.instances()) == expected
    assert sum(pacs.instances().values()) <= NUMBERS + 4


def test_the_server_killed_while_it_sends_goes_on(copying, pacs):
    hold, reached = threading.Event(), threading.Event()

    def hold_the_fifth(event):
        if pacs.asked == 5:
            reached.set()
            hold.wait(30)
        return 0

    pacs.answer = hold_the_fifth
    copying.send(*patients.images(1))
    assert reached.wait(60)
    copying.server.kill()
    hold.set()
    copying.server.start_again()
    wait_for(lambda: copying.deliveries("succeeded"), "the delivery")
    expected = {image.SOPInstanceUID for image in patients.images(1)}
    assert set(pacs.instances()) == expected
    by_uid = {image.SOPInstanceUID: image.PixelData for image in patients.images(1)}
    assert all(dataset.PixelData == by_uid[dataset.SOPInstanceUID] for dataset in pacs.stored)


def test_the_server_stopped_while_it_sends_goes_on_where_it_was(copying, pacs):
    reached = threading.Event()

    def slow(event):
        reached.set()
        threading.Event().wait(0.3)
        return 0

    pacs.answer = slow
    copying.send(*patients.images(1))
    assert reached.wait(60)
    copying.server.stop()
    assert 0 < len(pacs.stored) < NUMBERS
    copying.server.start_again()
    copying.quiet()
    arrived_once(pacs, 1)


def test_what_is_refused_for_good_waits_for_a_person(copying, pacs):
    pacs.answer = lambda event: 0xC000
    copying.send(*patients.images(1))
    copying.send(*patients.images(2))
    failed = wait_for(lambda: len(found := copying.deliveries("failed")) == 2 and found, "two dead letters")
    assert {delivery["error"]["code"] for delivery in failed} == {"refused"}
    assert "0xc000" in failed[0]["error"]["message"] and failed[0]["attempts"] == 1
    copying.server.stop()
    copying.server.start_again()
    assert len(copying.deliveries("failed")) == 2
    pacs.answer = lambda event: 0
    first = next(delivery for delivery in failed if delivery["study"] == patients.uid(1, "study"))
    second = next(delivery for delivery in failed if delivery["study"] == patients.uid(2, "study"))
    assert copying.call("POST", f"/deliveries/{first['id']}/resend").status_code == 202
    assert copying.call("DELETE", f"/deliveries/{second['id']}").status_code == 204
    assert copying.call("DELETE", f"/deliveries/{second['id']}").status_code == 404
    assert copying.call("POST", f"/deliveries/{second['id']}/resend").status_code == 404
    copying.quiet()
    arrived_once(pacs, 1)
    assert copying.deliveries("failed") == []


def test_what_is_refused_for_now_is_tried_again(copying, pacs):
    pacs.answer = lambda event: 0xA700 if pacs.asked <= 12 else 0
    copying.send(*patients.images(1))
    wait_for(lambda: copying.deliveries("succeeded"), "the delivery")
    arrived_once(pacs, 1)
    assert copying.deliveries()[0]["attempts"] == 3


def test_a_pacs_that_is_down_holds_up_no_other(house, pacs):
    other = 'name = "OTHER"\nae_title = "OTHER"\naddress = "127.0.0.1:1"'
    house = house(node(pacs), f"[[dimse.nodes]]\n{other}", COPY.replace('["PACS"]', '["OTHER", "PACS"]'), taught=0)
    house.send(*patients.images(1))
    arrived_once(pacs, 1)
    assert [delivery["to"] for delivery in house.deliveries("queued")] == ["OTHER"]


def test_doctor_asks_nodes_and_webhooks_whether_they_are_there(house, engram, tmp_path):
    server, script, nobody = house(taught=0).server, Script(), free_port()
    config = tmp_path / "doctor.toml"
    config.write_text(f"""
[[dicomweb.nodes]]
name = "there"
url = "{server.dicomweb}/"
[[dicomweb.nodes]]
name = "elsewhere"
url = "{server.base}/nowhere"
[[dicomweb.nodes]]
name = "silent"
url = "http://127.0.0.1:{nobody}"
[[webhooks]]
name = "script"
url = "{script.url}"
[[webhooks]]
name = "nobody"
url = "http://127.0.0.1:{nobody}"
""")
    said = doctor(engram, tmp_path / "data", config)
    script.close()
    nodes = [(check["verdict"], check["found"]) for check in said if check["what"] == "DICOMweb node"]
    assert [verdict for verdict, _ in nodes] == ["good", "warning", "warning"]
    assert "status 404" in nodes[1][1] and "refused" in nodes[2][1]
    hooks = [(check["verdict"], check["found"]) for check in said if check["what"] == "webhook"]
    assert [verdict for verdict, _ in hooks] == ["good", "warning"] and "nobody" in hooks[1][1]
    assert not script.calls

    config.write_text('[[webhooks]]\nname = "script"\nurl = "example.org/heard"\n')
    (access,) = [check for check in doctor(engram, tmp_path / "data", config) if check["what"] == "access"]
    assert access["verdict"] == "bad" and "example.org/heard" in access["found"]
