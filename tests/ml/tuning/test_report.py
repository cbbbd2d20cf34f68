import json

import pytest
from optuna.trial import TrialState

from detection.ml.errors import MLError
from detection.ml.evaluation import Figure
from detection.ml.tuning import SPACE, load_studies, run_search, write_report
from detection.ml.tuning.confirm import spread_over
from detection.ml.tuning.report import sentence_of_gains, sentence_of_order
from tests.ml.tuning.bowl import Bowl


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "search.sqlite3"
    run_search(
        Bowl(), storage=path, samplers=["random", "tpe"], trials=8, seed=1,
        report=lambda told: None,
    )  # fmt: skip
    return path


def gain(low, value, high):
    return Figure(value, low, high, 12, 6, "crop", "bootstrap")


def rows(proxy, real):
    return [{"proxy": x, "real": y} for x, y in zip(proxy, real, strict=True)]


def test_the_page_holds_table_figures_importance_and_sentences(storage, tmp_path):
    tuned = write_report(storage=storage, out=tmp_path / "docs" / "search.md")

    page = (tmp_path / "docs/search.md").read_text()
    assert "| random search | 8 (" in page
    assert "| TPE | 8 (" in page
    assert "| today's options, not tuned | 1 (1, 0, 0) |" in page
    assert "at the same budget" in page
    assert "was not measured: it takes at least 5 of them, and there are 0" in page.replace(
        "\n", " "
    )
    for name in ("search-history.png", "search-importance.png"):
        assert f"]({name})" in page
        assert (tmp_path / "docs" / name).stat().st_size > 5000
    for dimension in SPACE:
        assert f"| `{dimension.name}` | {dimension.range} |" in page
    assert json.loads((tmp_path / "docs/search.json").read_text()) == tuned
    assert tuned["options"].keys() == {dimension.name for dimension in SPACE} | {"head_epochs"}
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 120


def test_the_order_of_real_trainings_is_told_with_n(storage, tmp_path):
    confirmed = tmp_path / "real.json"
    confirmed.write_text(json.dumps({"rows": rows([1, 2, 3, 4, 5, 6], [1, 2, 3, 5, 4, 6])}))

    write_report(storage=storage, out=tmp_path / "search.md", confirmed=confirmed)

    page = (tmp_path / "search.md").read_text()
    told = page.replace("\n", " ")
    assert "The order of the proxy holds for real trainings" in told
    assert "0.94 (n = 6, p = 0.005)" in told


@pytest.mark.parametrize(
    ("proxy", "real", "sentence"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "was not measured"),
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], "is not shown to hold"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], "holds for real trainings"),
    ],
)
def test_the_order_holds_only_where_it_is_shown(proxy, real, sentence):
    assert sentence in sentence_of_order(rows(proxy, real))


@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        ({"tpe": gain(-0.3, -0.2, -0.1)}, "beaten at the same budget: TPE by 0.2000 (0.1000 to"),
        ({"tpe": gain(-0.3, -0.1, 0.1), "pso": gain(0.1, 0.2, 0.3)}, "No sampler beat random"),
        ({"today": gain(-0.3, -0.2, -0.1)}, "was not compared"),
    ],
)
def test_random_search_is_beaten_only_where_the_interval_says_so(gains, sentence):
    assert sentence in sentence_of_gains(gains, is_equal=True)
    assert "same budget" not in sentence_of_gains(gains, is_equal=False)


def test_configurations_to_train_really_are_spread_from_the_best_to_the_worst(storage):
    studies = load_studies(storage)
    values = [
        trial.value
        for name in ("random", "tpe")
        for trial in studies[name].trials
        if trial.state == TrialState.COMPLETE
    ]

    chosen = [trial.value for _, trial in spread_over(studies, 5)]

    assert chosen == sorted(chosen)
    assert len(set(chosen)) == 5
    assert (chosen[0], chosen[-1]) == (min(values), max(values))
    # Both samplers begin with the same configuration, which counts once.
    with pytest.raises(MLError, match=f"fewer than {len(values)}"):
        spread_over(studies, len(values))


def test_a_page_of_nothing_is_refused(tmp_path):
    with pytest.raises(MLError, match="no search in absent"):
        write_report(storage=tmp_path / "absent.sqlite3", out=tmp_path / "page.md")
