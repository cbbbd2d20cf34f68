"""What the tests of the search share."""

from tests.ml.training.conftest import tiny

__all__ = ["tiny"]
