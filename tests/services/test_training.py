import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from detection.models import ModelVersion, TrainingRun
from detection.selectors.registry import model_version_active
from detection.services import training, training_process
from detection.services.training import (
    training_command,
    training_log_path,
    training_run_cancel,
    training_run_claim,
    training_run_create,
    training_run_execute,
    training_run_sweep,
)
from tests.factories import bundle_make, model_version_make

SNAPSHOT = {"fingerprint": "f" * 64, "images": 10, "stone_images": 4, "groups": 5}
# Each stands in for `python -m detection.ml train`: a real child process with its protocol.
GOOD = """
import json, os, shutil, sys
out, ready_made, name = sys.argv[1:4]
print(json.dumps({"stage": "prepare", "fraction": 0.0, "message": "Reading."}))
print("a library prints this")
sys.stderr.write("a library warns\\n")
os.makedirs(out)
shutil.copytree(ready_made, os.path.join(out, name))
print(json.dumps({"stage": "train", "fraction": 0.5, "epoch": 1, "epochs": 2, "step": 3,
                  "steps": 3, "loss": 0.25, "seconds_left": 4}))
print(json.dumps({"stage": "done", "bundle": os.path.join(out, name), "snapshot": %r}))
""".replace("%r", repr(SNAPSHOT))
REFUSING = """
import json, sys
print(json.dumps({"stage": "error", "message": "The data folder lacks groups."}))
sys.exit(1)
"""
CRASHING = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
LYING = """
import json, sys
print(json.dumps({"stage": "done", "bundle": "/tmp", "snapshot": {}}))
"""
WAITING = """
import json, signal
print(json.dumps({"stage": "train", "fraction": 0.1}), flush=True)
signal.pause()
"""


@pytest.fixture
def data_folder(settings):
    folder = Path(settings.TRAINING_DATA_ROOT) / "phantoms"
    folder.mkdir(parents=True)
    (folder / "manifest.csv").write_text("image\n")
    return folder


@pytest.fixture
def training_run(administrator, model_version, data_folder):
    return training_run_create(requested_by=administrator, data_folder="phantoms", seed=7, epochs=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(training_process, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(training, "_stop", {"is_requested": False})


def child(program, *arguments):
    return lambda run, out: [sys.executable, "-c", program, str(out), *map(str, arguments)]


def execute(training_run, build_command):
    training_run_execute(training_run=training_run, build_command=build_command)
    training_run.refresh_from_db()


def leftovers(settings):
    return sorted(Path(settings.MODEL_ROOT).glob(".*"))


def test_training_is_queued_for_the_training_worker(training_run):
    queued = DBTaskResult.objects.get()
    assert training_run.status == TrainingRun.Status.QUEUED
    assert (queued.queue_name, queued.args_kwargs["args"]) == ("training", [training_run.pk])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "other", "../training/phantoms", "/etc", "phantoms/", "link", "empty"]
)
def test_only_listed_folders_can_be_trained_on(
    administrator, model_version, data_folder, tmp_path, name
):
    outside = tmp_path / "outside"
    shutil.copytree(data_folder, outside)
    (data_folder.parent / "link").symlink_to(outside)
    (data_folder.parent / "empty").mkdir()

    with pytest.raises(ValidationError, match="not a data folder"):
        training_run_create(requested_by=administrator, data_folder=name)

    assert not TrainingRun.objects.exists()


@pytest.mark.parametrize(
    "numbers",
    [
        {"epochs": 0},
        {"epochs": 1000},
        {"seed": -1},
        {"learning_rate": 0.0},
        {"learning_rate": 0.011},
        {"learning_rate": float("nan")},
    ],
)
def test_numbers_have_bounds(administrator, model_version, data_folder, numbers):
    with pytest.raises(ValidationError, match="must be between"):
        training_run_create(requested_by=administrator, data_folder="phantoms", **numbers)


def test_training_needs_a_model_to_start_from(administrator, data_folder):
    with pytest.raises(ValidationError, match="No model is in service"):
        training_run_create(requested_by=administrator, data_folder="phantoms")


def test_command_is_the_methods_own(training_run, model_version, settings, data_folder):
    command = training_command(training_run, Path("/out"))

    assert command[1:4] == ["-m", "detection.ml", "train"]
    assert command[4] == str(data_folder)
    assert command[command.index("--architecture") + 1] == "resnet50"
    assert command[command.index("--init") + 1] == str(settings.MODEL_ROOT / model_version.name)
    assert command[command.index("--seed") + 1] == "7"
    assert command[command.index("--epochs") + 1] == "2"
    assert command[command.index("--learning-rate") + 1] == "0.0001"
    assert command[command.index("--unfreeze") + 1] == "upper"
    assert not {"--crop", "--refit", "--teacher"} & set(command)


def test_options_go_to_the_command(administrator, model_version, data_folder, settings):
    run = training_run_create(
        requested_by=administrator,
        data_folder="phantoms",
        architecture="googlenet",
        start="random",
        epochs=3,
        learning_rate=0.002,
        trained="head",
        crop=True,
        refit=True,
    )

    command = training_command(TrainingRun.objects.get(), Path("/out"))

    assert run.options == {
        "start": "random",
        "bundle": "",
        "learning_rate": 0.002,
        "trained": "head",
        "crop": True,
        "refit": True,
        "teacher": model_version.name,
    }
    for name, value in {
        "--init": "random",
        "--epochs": "3",
        "--learning-rate": "0.002",
        "--unfreeze": "head",
        "--crop": "288x352",
        "--teacher": str(settings.MODEL_ROOT / model_version.name),
    }.items():
        assert command[command.index(name) + 1] == value
    assert "--refit" in command


def test_a_waiting_run_keeps_its_start_when_another_model_goes_into_service(
    training_run, model_version, settings
):
    model_version_make("newer", is_active=True)

    command = training_command(training_run, Path("/out"))

    assert command[command.index("--init") + 1] == str(settings.MODEL_ROOT / model_version.name)


def test_a_run_that_waited_while_the_choice_came_takes_what_is_advised(training_run):
    command = training_command(training_run, Path("/out"))
    TrainingRun.objects.update(options={})
    training_run.refresh_from_db()

    assert training_command(training_run, Path("/out")) == command


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"start": "bundle"}, "is a GoogLeNet"),
        ({"start": "imagenet"}, "no ImageNet weights of GoogLeNet"),
        ({"start": "elsewhere"}, "not a start"),
        ({"trained": "none"}, "not a part"),
    ],
)
def test_only_what_there_is_can_be_chosen(
    administrator, model_version, data_folder, told, sentence
):
    with pytest.raises(ValidationError, match=sentence):
        training_run_create(
            requested_by=administrator, data_folder="phantoms", architecture="googlenet", **told
        )

    assert not TrainingRun.objects.exists()


def test_the_chosen_architecture_is_trained(administrator, model_version, data_folder, second):
    run = training_run_create(
        requested_by=administrator, data_folder="phantoms", architecture="second"
    )

    command = training_command(run, Path("/out"))

    assert TrainingRun.objects.get().architecture == "second"
    assert run.architecture_title == second.title
    assert command[command.index("--architecture") + 1] == "second"


@pytest.mark.parametrize("name", ["", "second", "resnet50; rm", "../resnet50"])
def test_only_known_architectures_can_be_trained(administrator, model_version, data_folder, name):
    with pytest.raises(ValidationError, match="not an architecture"):
        training_run_create(requested_by=administrator, data_folder="phantoms", architecture=name)

    assert not TrainingRun.objects.exists()


def test_a_run_whose_architecture_has_gone_says_so(training_run):
    TrainingRun.objects.update(architecture="second")
    training_run.refresh_from_db()

    execute(training_run, training_command)

    assert training_run.status == TrainingRun.Status.FAILED
    assert "not an architecture" in training_run.message
    assert training_run.architecture_title == "second"


def test_training_ends_as_a_candidate(training_run, model_version, settings, tmp_path):
    ready_made = bundle_make(tmp_path, "candidate")

    execute(training_run, child(GOOD, ready_made, "candidate"))

    assert (training_run.status, training_run.message) == (TrainingRun.Status.SUCCEEDED, "")
    candidate = training_run.model_version
    assert (candidate.name, candidate.origin) == ("candidate", ModelVersion.Origin.SITE)
    assert (Path(settings.MODEL_ROOT) / "candidate" / "model.json").is_file()
    assert model_version_active() == model_version
    assert training_run.snapshot.fingerprint == SNAPSHOT["fingerprint"]
    assert (training_run.snapshot.folder, training_run.snapshot.groups) == ("phantoms", 5)
    assert training_run.progress["fraction"] == 1.0
    assert leftovers(settings) == []
    log = training_log_path(training_run).read_text()
    for text in ("Reading.", "a library prints", "a library warns", "Epoch 1 of 2", "loss 0.25"):
        assert text in log


def test_second_training_on_the_same_data_shares_the_snapshot(
    training_run, administrator, tmp_path
):
    execute(training_run, child(GOOD, bundle_make(tmp_path, "one"), "one"))
    second = training_run_create(requested_by=administrator, data_folder="phantoms")

    execute(second, child(GOOD, bundle_make(tmp_path, "two"), "two"))

    assert second.snapshot == training_run.snapshot


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (REFUSING, "The data folder lacks groups."),
        (CRASHING, "unexpected error"),
        (LYING, "unexpected place"),
        ("", "unexpected error"),
    ],
    ids=["refusing", "crashing", "lying", "silent"],
)
def test_failure_is_kept_as_a_sentence(training_run, settings, program, message):
    execute(training_run, child(program))

    assert training_run.status == TrainingRun.Status.FAILED
    assert message in training_run.message
    assert training_run.finished_at
    assert leftovers(settings) == []


def test_damaged_bundle_is_no_candidate(training_run, settings, tmp_path):
    ready_made = bundle_make(tmp_path, "candidate")
    (ready_made / "model.onnx").write_bytes(b"damaged")

    execute(training_run, child(GOOD, ready_made, "candidate"))

    assert training_run.status == TrainingRun.Status.FAILED
    assert "damaged" in training_run.message
    assert not (Path(settings.MODEL_ROOT) / "candidate").exists()
    assert not hasattr(TrainingRun.objects.get(), "model_version")


def test_waiting_training_is_cancelled_at_once(training_run, administrator):
    training_run_cancel(training_run=training_run, cancelled_by=administrator)

    execute(training_run, child(CRASHING))

    assert training_run.status == TrainingRun.Status.CANCELLED
    assert "Administrator" in training_run.message
    assert training_run.started_at is None
    with pytest.raises(ValidationError, match="finished already"):
        training_run_cancel(training_run=training_run, cancelled_by=administrator)


@pytest.fixture
def children(monkeypatch):
    started = []
    start = training_process.subprocess.Popen

    def remember(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(training_process.subprocess, "Popen", remember)
    return started


def test_running_training_is_cancelled(training_run, administrator, settings, children):
    def build(run, out):
        # By the time the child is asked about, the administrator has pressed the button.
        training_run_cancel(training_run=run, cancelled_by=administrator)
        return child(WAITING)(run, out)

    execute(training_run, build)

    assert training_run.status == TrainingRun.Status.CANCELLED
    assert "Administrator" in training_run.message
    assert children[0].returncode == -signal.SIGTERM
    assert leftovers(settings) == []


def test_stopped_worker_ends_its_training(training_run, children):
    def build(run, out):
        training.training_stop()
        return child(WAITING)(run, out)

    execute(training_run, build)

    assert training_run.status == TrainingRun.Status.FAILED
    assert "worker was stopped" in training_run.message
    assert children[0].returncode == -signal.SIGTERM


def test_second_training_waits_for_the_first(training_run, administrator):
    second = training_run_create(requested_by=administrator, data_folder="phantoms")
    assert training_run_claim(training_run=training_run)

    execute(second, child(CRASHING))

    assert second.status == TrainingRun.Status.QUEUED


def test_training_of_a_dead_worker_is_failed_and_not_repeated(training_run, settings):
    training_run_claim(training_run=training_run)
    folder = Path(settings.MODEL_ROOT) / f".training-{training_run.uuid}"
    folder.mkdir(parents=True)
    TrainingRun.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=30))

    training_run_sweep()

    training_run.refresh_from_db()
    assert training_run.status == TrainingRun.Status.FAILED
    assert "start it again" in training_run.message
    assert not folder.exists()
    execute(training_run, child(CRASHING))
    assert training_run.status == TrainingRun.Status.FAILED


def test_waiting_training_without_a_task_gets_one(training_run):
    TrainingRun.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    DBTaskResult.objects.all().delete()

    training_run_sweep()
    training_run_sweep()

    assert DBTaskResult.objects.get().args_kwargs["args"] == [training_run.pk]
