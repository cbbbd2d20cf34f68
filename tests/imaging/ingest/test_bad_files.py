import re
from pathlib import Path

import pytest

from detection.imaging.errors import Code
from detection.imaging.ingest import ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.limits import Limits
from tests.imaging.bad_files import BAD_FILES, SLOW

QUICK = [bad for bad in BAD_FILES if bad[0] not in SLOW]
TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("name", "make", "code"), QUICK, ids=[bad[0] for bad in QUICK])
def test_bad_file_is_answered_with_its_reason_and_leaves_nothing(tmp_path, name, make, code):
    target = tmp_path / "volumes"
    target.mkdir()
    make(tmp_path / "bad")
    before = set(tmp_path.rglob("*"))
    limits = Limits()
    result = ingest(
        [tmp_path / "bad"], target_folder=target, limits=limits, worker=InProcess(limits=limits)
    )

    rows = [row for row in result.report if row.code]
    assert code in {row.code for row in rows}
    for row in rows:
        assert row.status in ("refused", "skipped")
        assert row.reason.endswith((".", ":"))
        assert len(row.reason) + len(row.advice) <= 255
    left = set(tmp_path.rglob("*")) - before
    assert left == {series.volume_path for series in result.series}


def test_every_code_is_tested():
    written = "".join(path.read_text() for path in TESTS.rglob("*.py"))
    tested = set(re.findall(r"Code\.([A-Z_]+)", written))

    assert {code.name for code in Code} - tested == set()
