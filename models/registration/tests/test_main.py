"""The command: a case in, a SEG out."""

import subprocess
import sys

import pytest
from conftest import LEFT, Scene, change, dice, tilted
from engram_registration.__main__ import main
from engram_registration.case import read_exemplar

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)


def test_votes_of_three_exemplars(make_case, capsys):
    target = make_case("target", tilted(), Scene((6, -4, 3)))
    truth = (target.folder / "seg.dcm").read_bytes()
    (target.folder / "seg.dcm").write_bytes(b"not to be read")
    exemplars = [
        str(make_case("a", scene=Scene((-3, 2, 0)), backwards=True).folder),
        str(make_case("b", tilted(), Scene((2, 2, -4))).folder),
        str(make_case("c", side=LEFT).folder),
    ]
    out = target.folder / "result.dcm"
    opened.clear()
    arguments = ["--out", str(out), "--target", str(target.folder), "--transform", "Affine"]
    assert main([*arguments, *exemplars]) == 0
    assert str(target.folder / "images" / "001.dcm") in opened
    assert str(target.folder / "seg.dcm") not in opened
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == exemplars
    assert all(line.endswith(" s") for line in lines)

    (target.folder / "seg.dcm").write_bytes(truth)
    expected = read_exemplar(target.folder)
    out.replace(target.folder / "seg.dcm")
    result = read_exemplar(target.folder)
    assert result.labels[:2] == expected.labels
    assert len(result.labels) == 3  # the left kidney
    assert dice(result.masks[0], target.organ) > 0.9
    assert dice(result.masks[1], target.kidney) > 0.7
    assert not result.masks[2].any()  # one vote of three


def test_says_what_is_wrong_in_one_line(make_case, tmp_path):
    target, out = make_case("target").folder, tmp_path / "out.dcm"
    command = [sys.executable, "-m", "engram_registration", "--out", out, "--target", target]
    ended = subprocess.run([*command, tmp_path / "absent"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "absent" in ended.stderr
    assert not out.exists()


def test_says_first_what_could_not_be_written(make_case, capsys):
    target, exemplar = make_case("target").folder, make_case("exemplar").folder
    arguments = ["--target", str(target), str(exemplar)]
    assert main(["--out", str(target / "absent" / "out.dcm"), *arguments]) == 1
    for path in (target / "images").glob("*.dcm"):
        change(path, FrameOfReferenceUID=None)
    assert main(["--out", str(target / "out.dcm"), *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no such folder" in lines[0]
    assert "no SEG can be made" in lines[1]


@pytest.mark.parametrize("transform", ["SyN", "SyNRA", "antsRegistrationSyNQuick[s]"])
def test_deformable_transforms_run(make_case, transform):
    target, exemplar = make_case("target", tilted(), Scene((4, 0, 0))), make_case("exemplar")
    out = target.folder / "result.dcm"
    arguments = ["--out", str(out), "--target", str(target.folder), str(exemplar.folder)]
    assert main([*arguments, "--transform", transform]) == 0
    out.replace(target.folder / "seg.dcm")
    assert dice(read_exemplar(target.folder).masks[0], target.organ) > 0.9
