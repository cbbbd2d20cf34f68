"""Faults of the installation pass as errors of the system: no file is refused for them."""

import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from detection.imaging.errors import Code, ImageError
from detection.imaging.ingest import Sandbox, ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.limits import Limits
from detection.imaging.volume import Volume, load_volume, save_volume
from tests.disks import full, read_only, small_disk
from tests.imaging.synthetic import write_ct, write_series

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts disks")


def picture(folder):
    pixels = np.random.default_rng(0).integers(0, 255, (600, 600), np.uint8)
    Image.fromarray(pixels).save(folder / "picture", "PNG")
    return folder / "picture"


def dicom(folder):
    write_ct(folder / "slice", np.zeros((400, 400), np.uint16))
    return folder / "slice"


def archive(folder):
    with zipfile.ZipFile(folder / "cd.zip", "w") as packed:
        packed.write(picture(folder), "a/picture")
    return folder / "cd.zip"


def nifti(folder):
    pixels = np.random.default_rng(0).integers(-100, 200, (160, 160, 9)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(pixels, np.diag([0.7, 0.7, 3, 1])), folder / "volume.nii")
    return folder / "volume.nii"


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", size_bytes=256 * 1024) as mounted:
        yield mounted


@pytest.fixture(params=["child", "in this process"])
def worker(request):
    if request.param == "child":
        with Sandbox() as child:
            yield child
    else:
        yield InProcess()


@pytest.mark.parametrize("make", [picture, dicom, archive, nifti])
def test_disk_without_room_for_the_volume_is_no_fault_of_the_file(tmp_path, disk, make, worker):
    source = make(tmp_path)

    with pytest.raises(OSError, match="No space left"):
        ingest([source], target_folder=disk, worker=worker)
    # Nothing half done is left on the full disk, and the same file is read where there is room.
    assert list(disk.iterdir()) == []
    (tmp_path / "roomy").mkdir()
    result = ingest([source], target_folder=tmp_path / "roomy", worker=worker)
    assert [row.status for row in result.report] == ["accepted"]


def test_full_disk_is_no_fault_of_the_file(tmp_path, disk):
    source = picture(tmp_path)
    with full(disk), pytest.raises(OSError, match="No space left"):
        ingest([source], target_folder=disk)


def test_read_only_disk_is_no_fault_of_the_file(tmp_path, disk):
    source = picture(tmp_path)
    with read_only(disk), pytest.raises(OSError, match="Read-only file system"):
        ingest([source], target_folder=disk)


def test_target_that_vanishes_is_no_fault_of_the_file(tmp_path, worker):
    job = {
        "do": "picture",
        "kind": "png",
        "source": str(picture(tmp_path)),
        "target": str(tmp_path / "gone" / "volume"),
    }

    with pytest.raises(FileNotFoundError):
        worker.run(job, timeout_seconds=30)


def test_series_for_which_there_is_no_room_is_refused_in_no_slice(tmp_path, disk):
    (tmp_path / "series").mkdir()
    write_series(tmp_path / "series", np.zeros((9, 160, 160), np.int16))

    with pytest.raises(OSError, match="No space left"):
        ingest([tmp_path / "series"], target_folder=disk)


def test_child_that_may_open_no_more_files_is_at_fault_and_not_the_file(tmp_path):
    source = picture(tmp_path)
    job = {"do": "scan", "source": str(source)}
    with Sandbox() as child:
        child.run(job, timeout_seconds=30)
        pid = child._child._process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))

        with pytest.raises(OSError, match="Too many open files"):
            child.run(job, timeout_seconds=30)


def test_volume_that_is_larger_than_may_be_written_is_the_fault_of_its_file(tmp_path):
    source = picture(tmp_path)
    with Sandbox(limits=Limits(max_written_bytes=4096)) as child:
        result = ingest([source], target_folder=tmp_path, worker=child)

    assert [(row.status, row.code) for row in result.report] == [("refused", Code.UNREADABLE)]


def test_source_that_cannot_be_opened_is_refused_and_the_others_are_read(tmp_path):
    result = ingest([tmp_path / "nothing", picture(tmp_path)], target_folder=tmp_path)

    assert [row.status for row in result.report] == ["refused", "accepted"]


@pytest.mark.parametrize("told", [True, "28", 10**6, -1, None, [28]])
def test_child_that_was_taken_over_tells_of_no_fault_that_does_not_exist(monkeypatch, told):
    class Lying:
        def send(self, job):
            pass

        def receive(self, *, timeout_seconds):
            return {"fault": told, "error": "It is damaged.", "code": "damaged"}

    child = Sandbox()
    monkeypatch.setattr(child, "_ready_child", Lying)

    with pytest.raises(ImageError, match="damaged"):
        child.run({"do": "scan", "source": "x"}, timeout_seconds=1)


def test_stored_volume_that_the_disk_does_not_give_is_not_called_damaged(tmp_path):
    path = tmp_path / "volume"
    save_volume(Volume(pixels=np.zeros((1, 8, 8), np.uint8), is_hu=False), path)
    code = (
        "import resource, sys; from pathlib import Path;"
        "from detection.imaging.volume import load_volume;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3));"
        "load_volume(Path(sys.argv[1]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        check=False,
    )

    assert "OSError: [Errno 24] Too many open files" in ended.stderr
    assert "damaged" not in ended.stderr
    assert load_volume(path)
