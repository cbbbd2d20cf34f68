import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detection.imaging.phantoms import write_phantoms
from detection.ml.__main__ import main
from detection.ml.backbones import WRONG_EPOCHS, WRONG_LEARNING_RATE
from detection.ml.bundle import building, default_bundle_path

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]


def start_training(data, out, *more, init=None):
    init = init or default_bundle_path(ROOT / "ml_models")
    return subprocess.Popen(
        [sys.executable, "-m", "detection.ml", "train", str(data), "--out", str(out)]
        + ["--init", str(init), "--json-progress", *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize(
    ("images", "init", "sentence"),
    [
        (0, "random", "no manifest.csv"),
        (8, "random", "images of one kind only"),
        (24, "/absent/weights.npz", "no weights"),
    ],
)
def test_a_training_that_cannot_start_ends_with_one_sentence(tmp_path, images, init, sentence):
    data = tmp_path / "data"
    if images:
        write_phantoms(data, images=images, seed=1)

    output, _ = start_training(data, tmp_path / "out", init=init).communicate(timeout=600)

    last = json.loads(output.splitlines()[-1])
    assert last["stage"] == "error"
    assert sentence in last["message"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (("--epochs", "0"), WRONG_EPOCHS),
        (("--epochs", "21"), WRONG_EPOCHS),
        (("--learning-rate", "0.02"), WRONG_LEARNING_RATE),
        (("--learning-rate", "nan"), WRONG_LEARNING_RATE),
    ],
)
def test_numbers_have_the_bounds_of_the_administration(tmp_path, capsys, number, sentence):
    out = tmp_path / "out"

    assert main(["train", str(tmp_path), "--out", str(out), "--init", "random", *number]) == 1

    assert capsys.readouterr().err == f"{sentence}\n"
    assert not out.exists()


def test_a_stopped_training_leaves_no_bundle(tmp_path):
    write_phantoms(tmp_path / "data", images=24, seed=1)
    # A new head is trained alone first: its steps come soonest.
    process = start_training(
        tmp_path / "data", tmp_path / "out", "--epochs", "20", "--crop", "64x64", init="random"
    )

    for line in process.stdout:
        if json.loads(line)["stage"] == "train":
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)

    assert process.returncode == 143
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize(
    ("verb", "does"),
    [
        (["quantise", str(default_bundle_path(ROOT / "ml_models"))], "training.quantise_bundle"),
        (["combine", "--members", "a", "b"], "combining.combine"),
    ],
    ids=["quantise", "combine"],
)
def test_any_verb_that_is_stopped_leaves_no_half_made_bundle(tmp_path, monkeypatch, verb, does):
    def work(*_, out, **__):
        with building(out) as folder:
            (folder / "weights.npz").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(f"detection.ml.{does}", work)
    told = ["detection.ml", *verb, "--out", str(tmp_path)]
    told.insert(2 if verb[0] == "combine" else 3, str(tmp_path))
    monkeypatch.setattr("sys.argv", told)

    with pytest.raises(SystemExit, match="143"):
        runpy.run_module("detection.ml", run_name="__main__")

    assert not any(tmp_path.iterdir())
