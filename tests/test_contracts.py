"""What a process of the web may hold. The static contracts are in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WEB_PROCESS = """
import sys
import kidneyweb.wsgi
from django.contrib import admin
from django.urls import get_resolver
# Reading the patterns imports every view; the admin has been discovered by then.
assert get_resolver().reverse_dict
assert admin.site._registry
heavy = {"keras", "matplotlib", "onnx", "optuna", "sklearn", "tensorflow", "tf2onnx"}
print(" ".join(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
"""
WORKER_IMPORTS = """
import sys
import django
django.setup()
import detection.ml.serving
import detection.services.predictions, detection.services.training
heavy = {"keras", "matplotlib", "onnx", "optuna", "sklearn", "tensorflow", "tf2onnx"}
print(" ".join(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("program", [WEB_PROCESS, WORKER_IMPORTS], ids=["web", "worker"])
def test_process_never_imports_what_trains_and_reports(program):
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == []
