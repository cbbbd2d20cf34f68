"""Runs a network: the one loop over batches of pictures, and the network of a bundle."""

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

# Pictures held at once. More would cost memory and save no time on a processor.
BATCH = 8

Array = NDArray[np.float32]
# Grey pictures as they lie on the canvas, uint8 `(n, height, width)`.
Canvases = NDArray[np.uint8]
# From the name of a feature output to its values, `(n, d)`.
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
    """Run a network over items, holding one batch of them at a time.

    Parameters
    ----------
    network : callable
        From canvases, uint8 `(n, height, width)`, to any output.
    items : iterable
        The items, taken as they are needed.
    canvas_of : callable
        From an item to its canvas, uint8 `(height, width)`.
    size : int
        Number of items in a batch; the last batch may be smaller.

    Yields
    ------
    tuple
        The items of a batch, and the output of the network for their canvases.
    """
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch, network(np.stack([canvas_of(item) for item in batch]))


def open_network(
    path: Path, *, threads: int | None = None, is_alone: bool = True
) -> NetworkOutputs:
    """Open an ONNX file of `detection.ml.training.export` as a function of canvases.

    `threads` and `is_alone` are those of `open_session`.
    """
    session = open_session(path, threads=threads, is_alone=is_alone)
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]

    def run(canvases: Canvases) -> tuple[Array, Features]:
        stone_map, *features = session.run(None, {name: network_input(canvases)})
        return stone_map[..., 0], dict(zip(outputs[1:], features, strict=True))

    return run


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of pictures and the output of the network for them.

    `boxes` are the places of the pictures on their canvases. `cells` holds the logits of the
    canvases, float32 `(n, h / 8, w / 8)`. `features` is empty for a bundle without features.
    `member_cells` are those of each member of an ensemble, `(members, n, h / 8, w / 8)`, calibrated
    by the member's own calibration; None for a single network.
    """

    pictures: list[Picture]
    boxes: list[Letterbox]
    cells: Array
    features: Features
    member_cells: Array | None = None


class ServedNetwork:
    """The loaded network of a bundle. Loading takes about a second; keep one for each process.

    Parameters
    ----------
    threads, is_alone
        As for `open_session`; by default as many threads as processors, at most four.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot load the bundle's model.
    """

    # From which probability on each member of an ensemble sees a stone; a single network has none.
    member_thresholds: tuple[float, ...] = ()

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, is_alone: bool = True
    ) -> None:
        threads = threads or min(4, os.cpu_count() or 1)
        try:
            self._outputs = open_network(bundle.serving_path, threads=threads, is_alone=is_alone)
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
            The other outputs by name, float32 `(n, d)`. Empty for a bundle without features.

        Raises
        ------
        MLError
            If a logit is not finite.
        """
        logits, features = self._outputs(canvases)
        if not np.isfinite(logits).all():
            raise MLError("The model gave no usable numbers for this image.")
        return logits, features

    def run_members(self, canvases: Canvases) -> tuple[Array, Features, Array | None]:
        """Run as `run` does; return the cells of each member beside it, as `Batch` holds them."""
        return (*self.run(canvases), None)

    def map_logits(self, canvases: Canvases) -> Array:
        """Return the logits of the map alone, float32 `(n, h / 8, w / 8)`; see `run`."""
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
        for batch, (cells, features, member_cells) in in_batches(
            self.run_members, fitted, canvas_of=attrgetter("canvas")
        ):
            yield Batch(
                pictures=[one.picture for one in batch],
                boxes=[one.box for one in batch],
                cells=cells,
                features=features,
                member_cells=member_cells,
            )


@dataclass(frozen=True, eq=False)
class _Fitted:
    picture: Picture
    canvas: NDArray[np.uint8]
    box: Letterbox
