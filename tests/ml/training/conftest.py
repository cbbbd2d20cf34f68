"""What the tests of training share."""

import pytest

from detection.ml.backbones import BACKBONES, Backbone
from tests.ml.training.tiny_backbone import TINY


@pytest.fixture
def tiny(monkeypatch) -> Backbone:
    """A backbone of four convolutions among the known ones: a training of it takes seconds."""
    monkeypatch.setitem(BACKBONES, TINY.name, TINY)
    return TINY
