"""What the tests of training share."""

from collections.abc import Iterator

import pytest
import tensorflow as tf


@pytest.fixture
def eager() -> Iterator[None]:
    """Compute step by step: tracing the graph of a training step takes longer than a few steps.

    `test_train_command.py` and the retraining through the pages train with the graph.
    """
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
