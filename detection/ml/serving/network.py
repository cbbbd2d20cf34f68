"""Running a network: the one loop that batches pictures, and the network of a bundle."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detection.ml.bundle import Bundle
from detection.ml.errors import BundleError, MLError
from detection.ml.preprocess import Letterbox, letterbox, network_input
from detection.ml.serving.pictures import Picture
from detection.ml.serving.session import open_session

# So many pictures are held at once. More cost memory and save no time on a processor.
BATCH = 8

Array = NDArray[np.float32]
# Grey pictures as they lie on the canvas, uint8 `(n, height, width)`.
Canvases = NDArray[np.uint8]
# Output of the network to its values, `(d,)` for one slice or `(n, d)` for several.
Features = Mapping[str, Array]
# From canvases to the logits of the map, `(n, h / 8, w / 8)`, and the features beside it.
NetworkOutputs = Callable[[Canvases], tuple[Array, Features]]

Item = TypeVar("Item")
Output = TypeVar("Output")


def in_batches(
    network: Callable[[Canvases], Output],
    items: Iterable[Item],
    *,
    canvas_of: Callable[[Item], NDArray[np.uint8]],
    size: int = BATCH,
) -> Iterator[tuple[list[Item], Output]]:
    """Run a network over items; never more than a batch of them is held.

    Parameters
    ----------
    network : callable
        From canvases, uint8 `(n, height, width)`, to whatever it gives of them.
    items : iterable
        Taken one by one, as they are needed.
    canvas_of : callable
        From an item to its canvas, uint8 `(height, width)`.
    size : int
        How many items make a batch; the last one may be smaller.

    Yields
    ------
    tuple
        The items of a batch, and what the network gives of their canvases.
    """
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch, network(np.stack([canvas_of(item) for item in batch]))


def open_network(path: Path, *, threads: int | None = None) -> NetworkOutputs:
    """Open an ONNX file that `training.export` wrote, as a function of canvases."""
    session = open_session(path, threads=threads)
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]

    def run(canvases: Canvases) -> tuple[Array, Features]:
        stone_map, *features = session.run(None, {name: network_input(canvases)})
        return stone_map[..., 0], dict(zip(outputs[1:], features, strict=True))

    return run


@dataclass(frozen=True, eq=False)
class Batch:
    """What the network says of some pictures.

    `cells` are the logits of their canvases, float32 `(n, h / 8, w / 8)`; `boxes` tell where each
    picture lies on its canvas; `features` are empty for a bundle without features.
    """

    pictures: list[Picture]
    boxes: list[Letterbox]
    cells: Array
    features: Features


class ServedNetwork:
    """The network of a bundle, loaded. It takes about a second; keep one for a process.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot load the bundle's model.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        threads = threads or min(4, os.cpu_count() or 1)
        try:
            self._outputs = open_network(bundle.serving_path, threads=threads)
        except Exception as error:
            raise BundleError(
                f"The model of the bundle {bundle.name} could not be loaded. Restore its folder, "
                "or put another model version into service."
            ) from error
        self.preprocessing = bundle.preprocessing

    def run(self, canvases: Canvases) -> tuple[Array, Features]:
        """Run the network on canvases, uint8 `(n, height, width)`.

        Returns
        -------
        logits : np.ndarray
            float32 `(n, h / 8, w / 8)`.
        features : mapping
            What else the bundle's network gives, by output name: float32 `(n, d)`. Empty for a
            bundle without features.

        Raises
        ------
        MLError
            If the network gives no usable numbers.
        """
        logits, features = self._outputs(canvases)
        if not np.isfinite(logits).all():
            raise MLError("The model gave no usable numbers for this image.")
        return logits, features

    def map_logits(self, canvases: Canvases) -> Array:
        """Run the network for its map alone: float32 `(n, h / 8, w / 8)`."""
        return self.run(canvases)[0]

    def read(self, pictures: Iterable[Picture]) -> Iterator[Batch]:
        """Fit pictures to the canvas and run the network, a batch at a time."""
        fitted = (
            _Fitted(
                picture,
                *letterbox(picture.grey, self.preprocessing, spacing_mm=picture.spacing_mm),
            )
            for picture in pictures
        )
        for batch, (cells, features) in in_batches(
            self.run, fitted, canvas_of=attrgetter("canvas")
        ):
            yield Batch(
                pictures=[one.picture for one in batch],
                boxes=[one.box for one in batch],
                cells=cells,
                features=features,
            )


@dataclass(frozen=True, eq=False)
class _Fitted:
    picture: Picture
    canvas: NDArray[np.uint8]
    box: Letterbox
