import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
