import json
from pathlib import Path

from detection.ml.card import Section, bar_rows, card_text
from detection.ml.card.form import (
    Items,
    Picture,
    Text,
    bounded,
    markdown,
    number,
    points,
    share,
    table,
)

METRICS = Path(__file__).resolve().parents[3] / "docs/model-card/metrics.json"
SHARE = {"value": 0.975, "hits": 195, "n": 200, "low": 0.942, "high": 0.991}


def test_share_carries_count_and_interval():
    assert share(SHARE) == "97.5 % (195/200; 94.2 to 99.1)"


def test_figures_carry_n_and_interval():
    assert number(SHARE, digits=2) == "0.97 (n = 200; 0.94 to 0.99)"
    assert points({"value": -0.012, "low": -0.03, "high": 0.001}) == "-1.2 (-3.0 to +0.1)"
    assert bounded(SHARE) == "97.5 % (94.2 to 99.1)"


def test_what_was_not_measured_is_no_number():
    nothing = {"value": None, "low": None, "high": None, "n": 0}

    for write in (share, number, points):
        assert write(None) == "not measured"
        assert write(nothing) == "not measured"
    assert bounded(nothing) == "not measured"


def test_markdown_holds_every_block():
    text = markdown(
        "Card",
        [
            Section("Lead", (Text("First."),)),
            Section(
                "Second",
                (
                    Items(("one", "two")),
                    table(("a", "b"), [("1", "2")]),
                    Picture("x.png", "A picture"),
                ),
            ),
        ],
    )

    assert text == (
        "# Card\n\nFirst.\n\n## Second\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "![A picture](x.png)\n\n*A picture*\n"
    )


def test_markdown_has_no_line_longer_than_120_characters_but_a_table_row():
    long = "Words of a caption, " * 12 + "and its end"

    text = markdown(
        "Card", [Section("Lead", (Text(long), Items((long,)), Picture("figure.png", long)))]
    )

    assert max(map(len, text.splitlines())) <= 120
    assert "end](figure.png)" in text


def metrics(**changed):
    nothing = {
        "levels": {},
        "localisation": {},
        "mild": [],
        "gate": {"ct_refused": None, "not_ct_refused": None},
        "calibration": {},
        "deletion": [],
        "resolution": [],
    }
    return nothing | changed


def row_of(rows, start):
    return next(row for row in rows if row["what"].startswith(start))


def test_nothing_measured_is_neither_met_nor_missed():
    assert {row["met"] for row in bar_rows(metrics())} == {None}


def test_worst_of_the_mild_corruptions_stands_at_the_bar():
    rows = bar_rows(
        metrics(
            mild=[
                {"change": {"value": -0.01, "low": -0.02, "high": 0.0, "n": 9}},
                {"change": {"value": -0.03, "low": -0.05, "high": -0.01, "n": 9}},
                {"change": {"value": 0.02, "low": 0.0, "high": 0.03, "n": 9}},
            ]
        )
    )

    row = row_of(rows, "Accuracy lost")
    assert (row["figure"]["value"], row["figure"]["low"], row["figure"]["high"]) == (
        0.03,
        0.01,
        0.05,
    )
    assert row["met"] is False


def test_deletion_is_judged_by_the_worse_natural_fill():
    def deleted(blanked, fill, value):
        return {
            "source": "yildirim2021",
            "blanked": blanked,
            "fill": fill,
            "still_stone": {"value": value, "hits": 1, "n": 9, "low": 0.0, "high": 1.0},
        }

    rows = bar_rows(
        metrics(
            deletion=[
                deleted("boxed stone", "inpainting", 0.1),
                deleted("boxed stone", "local median", 0.12),
                deleted("boxed stone", "black", 0.6),
                deleted("equal patch elsewhere", "inpainting", 0.96),
                deleted("equal patch elsewhere", "local median", 0.94),
            ]
        )
    )

    assert row_of(rows, "Boxed stone")["met"] is True
    assert row_of(rows, "Boxed stone")["figure"]["value"] == 0.12
    assert row_of(rows, "Equal patch")["met"] is False


def test_limit_itself_is_enough():
    rows = bar_rows(
        metrics(gate={"ct_refused": {"value": 0.02}, "not_ct_refused": {"value": 0.99}})
    )

    assert row_of(rows, "CT images refused")["met"] is True
    assert row_of(rows, "Images that are no CT")["met"] is True


def test_card_of_an_ensemble_names_its_members_and_claims_no_training():
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    for key in ("training", "serving"):
        metrics["model"].pop(key)
    metrics["model"]["members"] = [
        {"name": "alpha-1", "digest": "a", "weight": 0.25},
        {"name": "beta-1", "digest": "b", "weight": 0.75},
    ]
    metrics["model"]["combination"] = {"method": "pso"}

    text = " ".join(card_text(metrics).split())

    assert "Members: alpha-1 (weight 0.250), beta-1 (weight 0.750). Weights by: pso." in text
    assert "Served as an ensemble of 2 networks" in text
    assert "The model is an ensemble: the bundle of each member says" in text
    assert "weights were trained on the training" not in text
