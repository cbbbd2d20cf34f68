"""What is installed where: the list of a server that only reads, and that it is enough for it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SLICE = ROOT / "tests/samples/ct_slices/A002304_02.dcm"
LEFT_OUT = (
    "cmaes", "keras", "matplotlib", "onnx", "optuna", "scipy", "sklearn", "tensorflow", "tf2onnx",
)  # fmt: skip
PATIENCE_SECONDS = 180.0
IMPORTS_NOTHING_LEFT_OUT = """
import importlib.util, sys
print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""
UPLOADS = """
import sys
import django
django.setup()
from django.core.files.uploadedfile import SimpleUploadedFile
from accounts.services import user_create
from detection.services.uploads import upload_create
reader = user_create(
    username="reader", email="reader@example.org", role="radiologist",
    first_name="Rea", last_name="Synthetic", password="a-synthetic-passphrase",
)
with open(sys.argv[1], "rb") as file:
    upload_create(uploaded_by=reader, files=[SimpleUploadedFile("slice.dcm", file.read())])
"""
WAITS_FOR_THE_READING = """
import json, sys, time
import django
django.setup()
from django.test import Client
from accounts.models import User
from detection.models import Study
deadline = time.monotonic() + float(sys.argv[1])
# There is none before the import has found it.
while not ((study := Study.objects.first()) and study.is_final) and time.monotonic() < deadline:
    time.sleep(0.2)
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.get(), backend="django.contrib.auth.backends.ModelBackend")
page = client.get(study.get_absolute_url())
print(json.dumps([study.status, page.status_code, "data-viewer" in page.content.decode()]))
"""


def listed(name: str) -> dict[str, str]:
    """Each line of a requirements file, by the name of its distribution."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {str(Requirement(line)): canonicalize_name(Requirement(line).name)
            for line in lines if line}  # fmt: skip


def with_all_they_need(requirements: list[Requirement]) -> dict[str, Distribution]:
    """The installed distributions that pip would install for these, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(one, extra) for one in requirements for extra in ("", *one.extras)]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[name] = distribution(name)
        for line in found[name].requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed, more) for more in ("", *needed.extras)]
    return found


def make_environment(folder: Path, distributions: dict[str, Distribution]) -> Path:
    """Make a virtual environment that holds these distributions alone, as links; its Python.

    A true one takes a minute and 740 MB. Child processes use the same, since its Python is
    another program than that of the tests.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for one in distributions.values():
        for file in one.files or ():
            if ".." not in file.parts:
                link = packages / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.locate())
    return folder / "bin/python"


def test_what_a_reading_server_installs_is_a_part_of_the_whole_list():
    whole, part = listed("requirements.txt"), listed("requirements-serve.txt")

    assert part.items() < whole.items()
    left_out = set(whole.values()) - set(part.values())
    assert left_out == {
        "cmaes", "keras", "matplotlib", "onnx", "optuna", "scikit-learn", "scipy", "tensorflow",
        "tensorflow-cpu", "tf2onnx",
    }  # fmt: skip


@pytest.fixture(scope="module")
def serving_python(tmp_path_factory) -> Path:
    requirements = [Requirement(line) for line in listed("requirements-serve.txt")]
    return make_environment(
        tmp_path_factory.mktemp("serving") / "venv", with_all_they_need(requirements)
    )


@pytest.fixture
def environment(tmp_path, data_dir) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/serving.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }


def answer_of(python: Path, *arguments: str, environment: dict[str, str]) -> str:
    finished = subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 2,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def status_of(path: str, *, socket_path: Path) -> int | None:
    """The status of an answer of the web process, None while it does not listen."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(socket_path))
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.mark.slow
def test_web_and_worker_read_a_study_with_the_serving_list_alone(
    serving_python, environment, tmp_path
):
    def run(*arguments: str) -> str:
        return answer_of(serving_python, *arguments, environment=environment)

    assert run("-c", IMPORTS_NOTHING_LEFT_OUT, *LEFT_OUT).strip() == "[]"
    run("manage.py", "migrate", "--verbosity=0")
    run("manage.py", "register_model")
    run("-c", UPLOADS, str(SLICE))
    socket_path = tmp_path / "web"
    programs = {
        "web": ["-m", "gunicorn", "kidneyweb.wsgi", "--bind", f"unix:{socket_path}"],
        "worker": ["manage.py", "worker", "--queue", "default"],
    }
    started = []
    try:
        for name, arguments in programs.items():
            with (tmp_path / f"{name}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [serving_python, *arguments],
                        cwd=ROOT, env=environment, stdout=log, stderr=log,
                    )
                )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while status_of("/healthz", socket_path=socket_path) != 200:
            assert time.monotonic() < deadline, (tmp_path / "web.log").read_text()
            time.sleep(0.1)
        answer = run("-c", WAITS_FOR_THE_READING, str(PATIENCE_SECONDS))
        assert json.loads(answer.splitlines()[-1]) == ["succeeded", 200, True], (
            tmp_path / "worker.log"
        ).read_text()
    finally:
        for process in started:
            process.terminate()
            process.wait(timeout=PATIENCE_SECONDS)
