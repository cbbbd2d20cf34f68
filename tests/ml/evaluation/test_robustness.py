import numpy as np
import pytest

from detection.ml.evaluation.readings import seeded
from detection.ml.evaluation.robustness import CORRUPTIONS, MILD, at_256_px, corruption


def picture():
    grey = np.full((200, 300), 110, np.uint8)
    grey[:, :40] = 0
    grey[80:120, 100:180] = 200
    texture = np.random.default_rng(0).normal(0, 12, grey.shape)
    return np.where(grey > 0, np.clip(grey + texture, 1, 255), 0).astype(np.uint8)


def distance(kind, severity):
    changed = kind.change(severity)(picture(), None, seeded("a.jpg", kind.name))
    return np.abs(changed.astype(float) - picture()).mean()


@pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda kind: kind.name)
def test_corruption_has_five_severities_that_grow(kind):
    distances = [distance(kind, severity) for severity in range(1, 6)]

    assert len(kind.strengths) == 5
    assert distances[0] > 0
    assert distances == sorted(distances)


@pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda kind: kind.name)
def test_corruption_keeps_size_and_depends_on_the_image_alone(kind):
    one, same, other = (
        kind.change(3)(picture(), None, seeded(image, kind.name))
        for image in ("a.jpg", "a.jpg", "b.jpg")
    )

    assert one.shape == picture().shape
    assert one.dtype == np.uint8
    assert (one == same).all()
    assert one.shape == other.shape


def test_noise_has_the_sigma_it_names():
    changed = corruption("Gaussian noise").change(3)(
        np.full((300, 300), 128, np.uint8), None, seeded("a", "noise")
    )

    assert changed.std() == pytest.approx(0.04 * 255, rel=0.03)


def test_salt_and_pepper_are_half_white_and_half_black():
    changed = corruption("Salt and pepper").change(5)(
        np.full((500, 500), 128, np.uint8), None, seeded("a", "salt")
    )

    assert (changed == 255).mean() == pytest.approx(0.01, rel=0.1)
    assert (changed == 0).mean() == pytest.approx(0.01, rel=0.1)


def test_mild_corruptions_are_those_of_the_bar():
    strengths = {name: corruption(name).strengths[severity - 1] for name, severity in MILD}

    assert strengths == {"Gaussian noise": 0.04, "Rotation": 10, "JPEG": 30, "Brightness": 0.2}


@pytest.mark.parametrize(
    ("shape", "expected"), [((320, 512), (160, 256)), ((256, 256), (256, 256))]
)
def test_256_px_is_the_longest_side(shape, expected):
    changed = at_256_px(np.zeros(shape, np.uint8), None, seeded("a", "256"))

    assert changed.shape == expected
