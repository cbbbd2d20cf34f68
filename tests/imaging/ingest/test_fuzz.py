import math

from tests.imaging.fuzz_decode import fuzz


def test_changed_files_always_get_an_answer(tmp_path):
    answers, bad = fuzz(seconds=math.inf, most=400, seed=7, keep=tmp_path)

    assert bad == 0, list(tmp_path.iterdir())
    assert answers["inputs"] == 400
    assert answers["read"]
