"""The command line says what is wrong and what to do."""

import tomllib

import pytest
import torch

from engram_export.cli import main

TINY = ["--sam", "tiny-test", "--dino", "tiny-test"]
SEEDED = [*TINY, "--random-init", "7"]


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in argv])
    code = stop.value.code
    assert code != 0
    return (code if isinstance(code, str) else "") + capsys.readouterr().err


def test_one_command_makes_a_bundle(tmp_path, capsys):
    out = tmp_path / "my bundle"
    main([*SEEDED, "--out", str(out), "--name", "mine"])
    manifest = tomllib.loads((out / "bundle.toml").read_text(encoding="utf-8"))
    assert manifest["name"] == "mine"
    assert manifest["made_by"] == (
        f"engram-export --sam tiny-test --dino tiny-test --random-init 7 --out '{out}' --name mine"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["my bundle"]
    assert "wrote" in capsys.readouterr().out
    assert "--force" in refused(capsys, *SEEDED, "--out", out)
    main([*SEEDED, "--out", str(out), "--force", "--name", "again"])
    assert 'name = "again"' in (out / "bundle.toml").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["my bundle"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*TINY], "--random-init SEED"),
        ([*TINY, "--boost"], "--boost needs --random-init"),
        ([*SEEDED, "--size", "100"], "no multiple of 32"),
        (["--sam", "tuned.pt", "--dino", "tiny-test"], "--sam-config"),
        (
            ["--sam", "tuned.pt", "--dino", "tiny-test", "--sam-config", "tiny-test"],
            "there is no file",
        ),
        (["--sam", "mine", "--dino", "tiny-test", "--random-init", "1"], "no architecture mine"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, capsys, argv, message):
    assert message in refused(capsys, *argv, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_without_a_network_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = refused(
        capsys,
        "--sam",
        "facebook/sam2.1-hiera-tiny",
        "--dino",
        "tiny-test",
        "--out",
        tmp_path / "o",
    )
    assert "config.json and model.safetensors" in said
    assert "--random-init" in said


def test_a_folder_without_a_model(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    said = refused(
        capsys, "--sam", tmp_path / "model", "--dino", "tiny-test", "--out", tmp_path / "o"
    )
    assert "holds no such model" in said


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return (print, ("attacked",))

    torch.save({"model": Attack()}, tmp_path / "bad.pt")
    said = refused(
        capsys,
        *("--sam", tmp_path / "bad.pt", "--sam-config", "tiny-test"),
        *("--dino", "tiny-test", "--out", tmp_path / "o"),
    )
    assert "could not be read" in said
    assert "attacked" not in capsys.readouterr().out
