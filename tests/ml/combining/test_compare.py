import json

import cv2
import numpy as np
import pytest

from detection.ml.combining import CombineOptions, CompareOptions, combine, compare
from detection.ml.combining.paired import Measured
from detection.ml.combining.rows import Rows
from detection.ml.combining.sentences import advice, candidate, findings
from detection.ml.errors import MLError
from detection.ml.evaluation import Figure
from tests.ml.combining.conftest import members_of
from tests.networks import network_bundle

QUICK = CompareOptions(
    robustness_images=2,
    severities=(3,),
    fills=("local median",),
    deletion_images=2,
    timing_images=2,
    threads=1,
    draws=40,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory, bodies):
    """A folder of two networks, an ensemble of them, and a network that calls all a stone."""
    root = tmp_path_factory.mktemp("models")
    members = members_of(bodies, root=root)
    network_bundle(root, "blind-1", gain=0.0, offset=3.0, gate_passes=True)
    combine(
        data=bodies,
        members=[folder.name for folder in members],
        held_out={},
        folds=(),
        out=root,
        root=root,
        work=root / "work",
        options=CombineOptions(method="mean", trials=2, folds=2, threads=1),
        report=lambda line: None,
    )
    return root


def compared(models, bodies, out, *names, reference):
    not_ct = models / "not-ct"
    not_ct.mkdir(exist_ok=True)
    cv2.imwrite(str(not_ct / "blank.png"), np.full((200, 200), 9, np.uint8))
    return compare(
        data=bodies,
        models=names,
        reference=reference,
        out=out,
        root=models,
        work=models / "work",
        not_ct=not_ct,
        options=QUICK,
        report=lambda line: None,
    )


@pytest.fixture(scope="module")
def made(models, bodies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    (ensemble,) = (path.name for path in models.glob("ensemble-*"))
    names = ("sharp-1", "blind-1", ensemble)
    out = folder / "comparison.md"
    return folder, compared(models, bodies, out, *names, reference="sharp-1")


def test_page_numbers_and_figure_come_from_the_same_rows(made, parts):
    folder, metrics = made

    page = (folder / "comparison.md").read_text()
    assert json.loads((folder / "comparison.json").read_text()) == metrics
    assert (folder / "comparison.png").stat().st_size > 1000
    assert "](comparison.png)" in page
    assert [model["label"] for model in metrics["models"]] == ["sharp", "blind", "ensemble, mean"]
    # An interpreter with its libraries alone takes more than that.
    assert all(model["memory"] > 50e6 for model in metrics["models"])
    rows = {row["what"]: row for row in metrics["rows"]}
    assert rows["all: accuracy"]["figures"]["sharp"]["n"] >= len(parts["test"])
    # Boxes of the one source alone are tight.
    assert "Yildirim axial: all stones at 0.1 false findings an image" in rows
    assert "Gaussian noise: accuracy" in rows
    assert rows["files that are no CT refused"]["figures"]["blind"]["hits"] == 1
    assert rows["seconds an image"]["figures"]["ensemble, mean"]["value"] > 0
    for row in metrics["rows"]:
        assert set(row["figures"]) == {"sharp", "blind", "ensemble, mean"}
        assert set(row["differences"]) == {"blind", "ensemble, mean"}
        if row["is_shown"]:
            assert row["what"] in page
    words = " ".join(page.split())
    for sentence in (*metrics["findings"], *metrics["advice"]):
        assert " ".join(sentence.split()) in words
    # A row of a table cannot be wrapped.
    assert all(len(line) <= 120 for line in page.splitlines() if line[:1] != "|")


def test_a_clearly_worse_model_is_called_worse_and_the_reference_stays(made):
    _, metrics = made

    rows = {row["what"]: row for row in metrics["rows"]}
    assert rows["all: specificity"]["differences"]["blind"]["shows"] == "worse"
    assert any(line.startswith("blind is") and "worse in" in line for line in metrics["findings"])
    assert metrics["advice"][0].startswith("In general: sharp, which stays the default.")


def test_a_second_comparison_opens_no_network_to_read(made, models, bodies, monkeypatch, tmp_path):
    _, first = made

    def opened(network):
        raise AssertionError("read again")

    monkeypatch.setattr("detection.ml.combining.maps.RememberedNetwork.opened", property(opened))
    again = compared(models, bodies, tmp_path / "page.md", "blind-1", "sharp-1", reference="blind")

    row, turned = (
        next(row for row in metrics["rows"] if row["what"] == "all: AUC")
        for metrics in (first, again)
    )
    assert row["figures"]["sharp"] == turned["figures"]["sharp"]
    assert again["advice"][0].startswith("In general: sharp, which is better than blind in")


def test_a_comparison_of_nothing_is_refused(models, bodies, tmp_path):
    out = tmp_path / "page.md"

    with pytest.raises(MLError, match="--reference must name one of the models"):
        compared(models, bodies, out, "sharp-1", "blind-1", reference="none-1")
    with pytest.raises(MLError, match="needs a model beside the reference"):
        compared(models, bodies, out, "sharp-1", "sharp-1", reference="sharp-1")


def row(what, *, low, high, section="Verdicts", is_main=True, better=True):
    """A row of three models; `low` and `high` are the interval of b, that of c is around 0."""
    measured = {
        label: Measured(
            Figure(value, value, value, 50, 20, "image", "drawn"), np.array([value + 1e-9])
        )
        for label, value in (("a", 0.9), ("b", 0.9 + (low + high) / 2), ("c", 0.9))
    }
    rows = Rows(reference="a")
    rows.add(section, what, measured, is_main=is_main, is_higher_better=better)
    told = rows.rows[0]
    bounds = {"low": low, "high": high}
    shows = "not shown" if low <= 0 <= high else "better" if (low > 0) == better else "worse"
    told.differences["b"] |= bounds | {"shows": shows}
    told.differences["c"] |= {"low": -0.1, "high": 0.1, "shows": "not shown"}
    return told


METRICS = {
    "reference": "a",
    "models": [{"label": one, "bytes": size} for one, size in (("a", 9e6), ("b", 5e6), ("c", 3e6))],
}
SECONDS = {"section": "Time and size", "is_main": False, "better": False}


def test_nothing_beats_the_reference_if_no_interval_leaves_out_zero():
    rows = [row("AUC", low=-0.1, high=0.2), row("time", low=-0.2, high=0.1, **SECONDS)]

    assert findings(METRICS, rows)[0].startswith("Nothing beats a: in none of 1 figures")
    assert "b: no difference to a is shown in any figure." in findings(METRICS, rows)
    assert advice(METRICS, rows)[0].startswith("In general: a, which stays the default.")
    assert "Where time counts: a too; no model is shown to be faster." in advice(METRICS, rows)
    assert advice(METRICS, rows)[-1].startswith("Where space is short: c, 3.0 MB")


def test_a_model_that_wins_here_and_loses_there_is_not_the_default():
    rows = [
        row("AUC", low=0.01, high=0.03),
        row("accuracy", low=-0.03, high=-0.01),
        row("time", low=-0.5, high=-0.3, **SECONDS),
    ]

    assert candidate(rows) == ""
    said = findings(METRICS, rows)[0]
    assert said.startswith(
        "b is better in AUC (+2.0 points; +1.0 to +3.0); worse in accuracy (-2.0 "
    )
    fast = next(line for line in advice(METRICS, rows) if line.startswith("Where time"))
    assert fast.startswith("Where time counts: b, 0.50 s an image against 0.90 s of a; it is worse")


def test_a_model_that_is_better_and_nowhere_worse_could_be_the_default():
    rows = [
        row("AUC", low=0.01, high=0.03),
        row("accuracy", low=-0.01, high=0.02),
        row("time", low=-0.1, high=0.3, **SECONDS),
    ]

    assert candidate(rows) == "b"
    assert advice(METRICS, rows)[0].startswith("In general: b, which is better than a in AUC")
