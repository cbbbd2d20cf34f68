import os
import sys
import threading

import numpy as np
import pytest

from detection.imaging.errors import Code
from detection.imaging.ingest import Sandbox, ingest
from detection.imaging.limits import Limits
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import png_bytes, write_ct, write_series

PIXELS_HU = np.arange(5 * 6 * 8, dtype=np.int16).reshape(5, 6, 8)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and limits processes")


class Dying(Sandbox):
    """A sandbox whose child is killed or hangs while it reads a certain file, as by a faulty codec.

    The file becomes a FIFO just before the job that shall not end. The child waits in it for bytes
    that never come, so that it cannot be at another file when it is killed.
    """

    def __init__(self, culprit, *, by, limits):
        super().__init__(limits=limits)
        self.culprit, self.by, self.deaths = culprit, by, 0

    def run(self, job, *, timeout_seconds, progress=None):
        is_its_job = (
            job["do"] == "scan" and job["source"] == str(self.culprit)
            if self.by == "scan"
            else job["do"] == "stack"
        )
        if not is_its_job or self.deaths:
            return super().run(job, timeout_seconds=timeout_seconds, progress=progress)
        self.culprit.unlink()
        os.mkfifo(self.culprit)
        watcher = threading.Thread(target=self._meet, daemon=True)
        watcher.start()
        try:
            return super().run(job, timeout_seconds=timeout_seconds, progress=progress)
        finally:
            watcher.join(timeout=60)

    def _meet(self):
        # Returns when the child has opened the other end.
        fifo = os.open(self.culprit, os.O_WRONLY)
        self.deaths += 1
        child = self._child._process
        if self.by != "hang":
            child.kill()
        child.wait()
        os.close(fifo)


@pytest.fixture
def series(tmp_path):
    paths = write_series(tmp_path / "in", PIXELS_HU)
    (tmp_path / "volumes").mkdir()
    return paths


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ("scan", Code.DECODER_DIED),
        ("codec", Code.DECODER_DIED),
        ("hang", Code.TIMED_OUT),
    ],
)
def test_file_that_ends_the_decoder_is_named_and_the_rest_is_kept(tmp_path, series, by, code):
    limits = Limits(seconds_per_file=60 if by != "hang" else 5)
    target = tmp_path / "volumes"
    with Dying(series[2].resolve(), by=by, limits=limits) as sandbox:
        result = ingest([tmp_path / "in"], target_folder=target, limits=limits, worker=sandbox)

    (one,) = result.series
    assert load_volume(one.volume_path).pixels.tolist() == PIXELS_HU[[0, 1, 3, 4]].tolist()
    assert [row.code for row in result.report] == ["", "", code, "", ""]
    assert "Please" in result.report[2].advice or "export it again" in result.report[2].reason
    assert sandbox.deaths == 1
    assert [path.name for path in target.iterdir()] == [one.volume_path.name]


def test_file_that_needs_too_much_memory_is_refused_and_the_rest_is_kept(tmp_path, series):
    side = 5000
    rows = bytes((side * 3 + 1) * side)
    (tmp_path / "in/giant").write_bytes(
        png_bytes(width=side, height=side, colour_type=2, rows=rows)
    )
    limits = Limits(memory_bytes=400 * 2**20)
    result = ingest([tmp_path / "in"], target_folder=tmp_path / "volumes", limits=limits)

    assert [one.header["slices"] for one in result.series] == [5]
    assert [row.code for row in result.report if row.name == "in"].count(Code.OUT_OF_MEMORY) == 1


def test_full_disk_leaves_nothing(tmp_path, series):
    limits = Limits(max_written_bytes=300)
    result = ingest([tmp_path / "in"], target_folder=tmp_path / "volumes", limits=limits)

    assert result.series == ()
    assert {row.code for row in result.report} == {Code.UNREADABLE}
    assert list((tmp_path / "volumes").iterdir()) == []


def test_progress_is_told(tmp_path, series):
    steps = []
    ingest(
        series,
        target_folder=tmp_path / "volumes",
        progress=lambda *step: steps.append(step),
    )

    assert steps[-1] == (6, 6)
    assert [done for done, _ in steps] == [1, 2, 3, 4, 5, 6]


def test_many_files_need_one_child(tmp_path):
    (tmp_path / "volumes").mkdir()
    paths = [
        write_ct(tmp_path / str(number), np.full((6, 8), number, np.int16)) for number in range(100)
    ]
    with Sandbox() as sandbox:
        ingest(paths[:1], target_folder=tmp_path / "volumes", worker=sandbox)
        child = sandbox._child._process.pid
        result = ingest(paths, target_folder=tmp_path / "volumes", worker=sandbox)

        assert len(result.series) == 100
        assert sandbox._child._process.pid == child
