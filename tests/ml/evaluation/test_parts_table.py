from pathlib import Path

import numpy as np

from detection.ml.bundle import load_default_bundle
from detection.ml.evaluation import parts_rows
from detection.ml.serving import Predictor
from tests.bodies import section
from tests.imaging.synthetic import write_series

MODELS = Path(__file__).resolve().parents[3] / "ml_models"


def test_each_part_of_a_series_is_counted_three_ways(tmp_path):
    slices = [section(part, pixel_mm=1.5, side_px=300) for part in ("chest",) * 4 + ("vault",) * 3]
    folder = tmp_path / "scanner"
    write_series(folder, np.stack(slices), step=(0, 0, 5.0), PixelSpacing=[1.5, 1.5])
    predictor = Predictor(load_default_bundle(MODELS), threads=1, is_gated=False)

    rows = parts_rows([folder], predictor=predictor)

    assert {row.kind: (row.refused, row.n) for row in rows} == {
        f"scanner: {part}, {kind}": (n, n)
        for part, n in (("chest", 4), ("head", 3))
        for kind in ("in its series", "alone", "as a picture")
    }
