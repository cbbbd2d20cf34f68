"""Remembers what networks said of a picture, so that no network reads the same picture twice."""

import hashlib
import io
import sqlite3
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.ml.bundle import Bundle
from detection.ml.combining.progress import Progress
from detection.ml.data import Sample
from detection.ml.preprocess import letterbox
from detection.ml.serving import Array, Features, ServedNetwork, in_batches

Canvases = NDArray[np.uint8]
STORE_NAME = "maps.sqlite3"
_CELLS = "cells"


class MapStore:
    """Outputs of networks by the digest of the bundle and the content of the canvas.

    The canvas stands for the image and whatever was changed about it. The store is one SQLite file:
    a run that was stopped goes on from it, and an ensemble reads the maps of its members.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._networks: dict[str, RememberedNetwork] = {}
        # Each output is written at once. A crash of the machine costs what can be computed again.
        self._rows = sqlite3.connect(path, isolation_level=None)
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute(
            "CREATE TABLE IF NOT EXISTS outputs (key BLOB PRIMARY KEY, arrays BLOB NOT NULL)"
        )

    def network(self, bundle: Bundle, *, threads: int) -> "RememberedNetwork":
        """Return the network of a bundle with this memory, the same one for each call."""
        if bundle.digest not in self._networks:
            self._networks[bundle.digest] = RememberedNetwork(bundle, store=self, threads=threads)
        return self._networks[bundle.digest]

    def get(self, digest: str, canvas: Canvases) -> dict[str, Array] | None:
        """Return the outputs of a network for a canvas `(height, width)`; None if not known."""
        found = self._rows.execute(
            "SELECT arrays FROM outputs WHERE key = ?", (_key(digest, canvas),)
        ).fetchone()
        if found is None:
            return None
        with np.load(io.BytesIO(found[0]), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def put(self, digest: str, canvas: Canvases, arrays: dict[str, Array]) -> None:
        """Keep the outputs of a network for a canvas."""
        written = io.BytesIO()
        np.savez(written, allow_pickle=False, **arrays)
        self._rows.execute(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?)",
            (_key(digest, canvas), written.getvalue()),
        )


class RememberedNetwork(ServedNetwork):
    """The network of a bundle, which is opened only for a canvas that the store does not know."""

    def __init__(self, bundle: Bundle, *, store: MapStore, threads: int | None = None) -> None:
        self.preprocessing = bundle.preprocessing
        self._bundle = bundle
        self._store = store
        self._threads = threads
        self._opened: ServedNetwork | None = None

    @property
    def opened(self) -> ServedNetwork:
        """The network itself, without memory."""
        if self._opened is None:
            self._opened = ServedNetwork(self._bundle, threads=self._threads)
        return self._opened

    def run(self, canvases: Canvases) -> tuple[Array, Features]:
        """Run as `ServedNetwork.run`, one canvas at a time.

        The last bits of a logit depend on how many canvases are computed together.
        """
        outputs = [self._run(canvas) for canvas in canvases]
        joined = {name: np.stack([one[name] for one in outputs]) for name in outputs[0]}
        return joined.pop(_CELLS), joined

    def _run(self, canvas: Canvases) -> dict[str, Array]:
        known = self._store.get(self._bundle.digest, canvas)
        if known is not None:
            return known
        cells, features = self.opened.run(canvas[None])
        arrays = {_CELLS: cells[0], **{name: one[0] for name, one in features.items()}}
        self._store.put(self._bundle.digest, canvas, arrays)
        return arrays


def maps_of(
    samples: Sequence[Sample], *, network: ServedNetwork, progress: Progress
) -> NDArray[np.float16]:
    """Return the logits of the maps of samples, float16 `(n, h / 8, w / 8)`."""
    fitted = ((sample, letterbox(sample.read(), network.preprocessing)[0]) for sample in samples)
    held = []
    for _, cells in in_batches(network.map_logits, fitted, canvas_of=itemgetter(1), size=1):
        held.append(cells[0].astype(np.float16))
        progress.tick()
    return np.stack(held)


def _key(digest: str, canvas: Canvases) -> bytes:
    content = hashlib.sha256(digest.encode())
    content.update(repr(canvas.shape).encode())
    content.update(np.ascontiguousarray(canvas).tobytes())
    return content.digest()
