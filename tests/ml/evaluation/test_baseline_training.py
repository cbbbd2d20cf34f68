"""Baselines and ablation ask the record of a backbone: here a tiny one."""

import json

import numpy as np
import pytest

from detection.imaging.phantoms import write_phantoms
from detection.ml.backbones import BACKBONES
from detection.ml.evaluation import AblationOptions, BaselineOptions, run_ablation, run_baselines
from tests.ml.training.tiny_backbone import TINY


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setitem(BACKBONES, TINY.name, TINY)
    write_phantoms(tmp_path / "data", images=40, seed=1)
    return tmp_path / "data"


def test_baselines_of_any_backbone(data, tmp_path):
    run_baselines(
        data=data,
        out=tmp_path / "baselines.json",
        options=BaselineOptions(init="random", architecture=TINY.name, epochs=1),
        report=lambda line: None,
    )

    told = json.loads((tmp_path / "baselines.json").read_text())
    rows = {row["name"]: row for row in told["baselines"]}
    assert rows["whole_image"]["title"] == "Tiny, whole image, global pooling"
    assert rows["whole_image"]["how"].startswith(
        "coarse and a global average trained on the frozen layers up to middle (random)"
    )
    for row in rows.values():
        assert len(row["scores"]) == len(told["keys"])
        assert np.isfinite(row["scores"]).all()


def test_ablation_of_any_backbone(data, tmp_path):
    run_ablation(
        data=data,
        out=tmp_path / "ablation.json",
        options=AblationOptions(init="random", architecture=TINY.name),
        report=lambda line: None,
    )

    told = json.loads((tmp_path / "ablation.json").read_text())
    assert "logistic regression on middle features (random) at 192 x 160 px" in told["how"]
    assert [row["augmentation"] for row in told["rows"]][0] == "none"
