from tests.imaging.fuzz_decode import fuzz


def test_changed_files_always_get_an_answer(tmp_path):
    answers, bad = fuzz(seconds=8, most=400, seed=7, keep=tmp_path)

    assert bad == 0, list(tmp_path.iterdir())
    assert answers["inputs"] >= 5
    assert answers["read"]
