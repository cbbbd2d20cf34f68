from dataclasses import dataclass

import numpy as np
import pytest

from detection.ml.serving import Picture
from detection.ml.serving.picture_checks import refused
from detection.ml.serving.turned import confirmed


@dataclass
class _Batch:
    pictures: list
    features: dict


def _batch(*pictures):
    pictures = list(pictures)
    return _Batch(pictures, {"grey": [picture.grey for picture in pictures]})


class _Network:
    """Gives pictures themselves for features."""

    def __init__(self):
        self.read_pictures = 0

    def read(self, pictures):
        batch = _batch(*pictures)
        self.read_pictures += len(batch.pictures)
        yield batch


class _Gate:
    """Passes pictures that are bright at the top left; they are `gain` nearer than others."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def refusals(self, features):
        return [
            None if grey[0, 0] > 100 else refused("unlike_abdomen") for grey in features["grey"]
        ]

    def scores(self, features):
        return np.array([2 - self.gain * (grey[0, 0] > 100) for grey in features["grey"]])


def _bright_at(row, column, shape=(6, 8)):
    grey = np.zeros(shape, np.uint8)
    grey[row, column] = 200
    return Picture(grey=grey, spacing_mm=(1.0, 2.0))


@pytest.mark.parametrize(
    ("code", "picture"),
    [
        ("rotated_90", _bright_at(0, -1)),
        ("rotated_90", _bright_at(-1, 0)),
        ("rotated_180", _bright_at(-1, -1)),
        ("rotated_180", _bright_at(-1, 0)),
        ("inverted", _bright_at(3, 3)),
    ],
)
def test_a_picture_that_passes_once_it_is_put_right_lies_wrong(code, picture):
    (judged,) = confirmed([refused(code)], _batch(picture), network=_Network(), gate=_Gate())

    assert judged.code == code


@pytest.mark.parametrize("code", ["rotated_90", "rotated_180"])
@pytest.mark.parametrize("at", [(3, 3), (0, 4)])
def test_a_picture_that_never_passes_is_unlike_the_abdomen(code, at):
    (judged,) = confirmed(
        [refused(code)], _batch(_bright_at(*at)), network=_Network(), gate=_Gate()
    )

    assert judged.code == "unlike_abdomen"


def test_other_pictures_are_not_read_again():
    network = _Network()
    given = [None, refused("unlike_ct"), refused("unlike_abdomen")]

    assert confirmed(given, _batch(*[_bright_at(3, 3)] * 3), network=network, gate=_Gate()) == given
    assert network.read_pictures == 0


def test_a_picture_that_passes_either_way_is_not_called_turned():
    given, gate = [refused("rotated_180")], _Gate(gain=0.1)

    (judged,) = confirmed(given, _batch(_bright_at(-1, -1)), network=_Network(), gate=gate)

    assert judged.code == "unlike_abdomen"
