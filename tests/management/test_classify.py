import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from detection.ml.bundle import load_bundle, set_default_bundle
from tests.networks import ensemble_bundle, network_bundle
from tests.pictures import body

ROOT = Path(__file__).resolve().parents[2]
SLICE = ROOT / "tests/samples/ct_slices/A002304_02.dcm"
README = ROOT / "tests/samples/README.md"


@pytest.fixture
def classify():
    # There is no such server: the command must not ask for it.
    environment = os.environ | {
        "DATABASE_URL": "mysql://nobody@127.0.0.1:1/none",
        "DJANGO_SETTINGS_MODULE": "kidneyweb.settings",
    }

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "manage.py", "classify", *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_standard_output_is_one_object_for_each_path(classify):
    finished = classify(SLICE, README, SLICE, "--json")

    results = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [result["path"] for result in results] == [str(SLICE), str(README), str(SLICE)]
    first, text, again = results
    assert first == again
    assert first["status"] in ("stone", "no_stone")
    assert first["size"] == [512, 512]
    assert (text["status"], text["probability"], text["size"]) == ("error", None, None)
    assert "text" in text["reason"]
    # One input got no answer.
    assert finished.returncode == 1


def test_exit_status_is_zero_if_every_input_got_an_answer(classify):
    assert classify(SLICE).returncode == 0


def test_missing_bundle_is_a_sentence(classify, tmp_path):
    finished = classify(SLICE, "--model", tmp_path / "nothing")

    assert finished.returncode == 1
    assert finished.stdout == ""
    assert "missing" in finished.stderr


@pytest.fixture
def roots(settings, tmp_path):
    """Shipped networks and an ensemble of them, and one network that was trained here."""
    settings.SHIPPED_MODEL_ROOT = tmp_path / "shipped"
    held = [network_bundle(settings.SHIPPED_MODEL_ROOT, name) for name in ("alpha-1", "beta-1")]
    ensemble_bundle(settings.SHIPPED_MODEL_ROOT, held)
    set_default_bundle(settings.SHIPPED_MODEL_ROOT, load_bundle(held[0]))
    network_bundle(settings.MODEL_ROOT, "own-1")


@pytest.mark.parametrize(
    ("model", "members"), [("alpha-1", None), ("ensemble-1", 2), ("own-1", None)]
)
def test_model_is_chosen_by_its_name(roots, tmp_path, model, members):
    picture = tmp_path / "slice.png"
    Image.fromarray(body(stone_at=(280, 150))).save(picture)
    out = io.StringIO()

    call_command("classify", str(picture), model=model, stdout=out)

    told = json.loads(out.getvalue())
    assert (told["status"], told["model_version"]) == ("stone", model)
    assert {one["members"] for one in told["findings"]} == {members}
    assert {one["members_seeing"] for one in told["findings"]} == {members}


def test_unknown_name_lists_the_models_that_are_there(roots, tmp_path):
    with pytest.raises(
        CommandError, match="no model bundle other.*alpha-1, beta-1, ensemble-1, own-1"
    ):
        call_command("classify", "slice.png", model="other")
