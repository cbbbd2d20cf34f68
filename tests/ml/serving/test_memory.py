from pathlib import Path

from detection.ml.bundle import load_bundle
from detection.ml.serving import peak_memory

MODELS = Path(__file__).resolve().parents[3] / "ml_models"


def test_a_network_of_more_weights_takes_more_memory():
    light, heavy = (
        peak_memory(load_bundle(next(MODELS.glob(f"{name}-*"))), threads=1)
        for name in ("mobilenetv2", "resnet50")
    )

    # Beside the libraries, which both have: float16 weights of 5 and 48 MB, which are served as
    # float32.
    assert heavy > light + 60e6
    assert light > 50e6
