"""Counts what the input gate of a bundle refuses, of each kind of picture and of CT by mistake.

No picture that is no CT has set a limit of the gate or chosen its features. The table is therefore
a leave-one-kind-out table for every kind of such pictures.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import ImageError
from detection.imaging.formats import decode_file
from detection.imaging.window import grey_slice
from detection.ml.calibration import wilson_interval
from detection.ml.data import Sample, thin
from detection.ml.serving import Picture, Predictor, Refusal
from detection.ml.training import WRONG_WAYS

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One kind of picture: the number judged, and the number refused by code of the reason."""

    kind: str
    n: int
    codes: dict[str, int]

    @property
    def refused(self) -> int:
        return sum(self.codes.values())

    @property
    def reasons(self) -> str:
        return ", ".join(f"{code} {count}" for code, count in sorted(self.codes.items()))

    def to_markdown(self) -> str:
        low, high = wilson_interval(self.refused, self.n)
        share = self.refused / self.n if self.n else float("nan")
        return (
            f"| {self.kind} | {self.refused}/{self.n} = {share:.3f} ({low:.3f}-{high:.3f}) "
            f"| {self.reasons} |"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the share refused, as a figure of a report, and the reasons."""
        low, high = wilson_interval(self.refused, self.n)
        value = self.refused / self.n if self.n else None
        figure = {"value": value, "low": low, "high": high, "hits": self.refused, "n": self.n}
        return {"kind": self.kind, "refused": figure, "reasons": self.reasons}


_HEADER = ("| kind | refused (95 % Wilson interval) | reasons |", "|---|---|---|")


def gate_rows(
    files: Iterable[Path], samples: Sequence[Sample], *, predictor: Predictor, per_group: int
) -> list[str]:
    """Judge every kind of picture and return the lines of a Markdown table.

    Parameters
    ----------
    files : iterable of Path
        Image files that are no CT.
    samples : sequence of Sample
        CT slices that should pass.
    per_group : int
        Number of slices of each patient group that are judged after a change as well.
    """
    rows = [
        *file_rows(files, predictor=predictor),
        *made_rows(predictor=predictor),
        *ct_rows(samples, predictor=predictor),
        *changed_rows(samples, predictor=predictor, per_group=per_group),
    ]
    return [*_HEADER, *(row.to_markdown() for row in rows)]


def judge(
    greys: Iterable[Grey], *, predictor: Predictor, colour_spread: float = 0.0
) -> list[Refusal | None]:
    """Return the refusals of pictures as the predictor decides them, None for one that passes."""
    pictures = (
        Picture(grey=np.ascontiguousarray(grey), colour_spread=colour_spread) for grey in greys
    )
    return [read.refusal for read in predictor.read(pictures)]


def ct_rows(samples: Sequence[Sample], *, predictor: Predictor) -> list[Row]:
    """Count false refusals among CT slices, of all and of each source and finding."""
    judged = judge((sample.read() for sample in samples), predictor=predictor)
    rows = [row_of("CT, all", judged)]
    for key in sorted({(sample.source, sample.finding) for sample in samples}):
        chosen = [
            refusal
            for sample, refusal in zip(samples, judged, strict=True)
            if (sample.source, sample.finding) == key
        ]
        rows.append(row_of(f"CT, {key[0]}, {key[1]}", chosen))
    return rows


def changed_rows(
    samples: Sequence[Sample], *, predictor: Predictor, per_group: int, seed: int = 0
) -> list[Row]:
    """Count refusals of CT slices after mild changes, and turned, flipped or inverted."""
    chosen = thin(samples, per_group=per_group, seed=seed)
    generator = np.random.default_rng(seed)
    rows = []
    for kind, change in _MILD.items():
        changed = (change(sample.read(), generator) for sample in chosen)
        rows.append(row_of(f"CT, {kind}", judge(changed, predictor=predictor)))
    ways: dict[str, Callable[[Grey], Grey]] = {**WRONG_WAYS, "flipped top to bottom": np.flipud}
    for kind, turn in ways.items():
        turned = (turn(sample.read()) for sample in chosen)
        rows.append(row_of(kind.replace("_", " "), judge(turned, predictor=predictor)))
    return rows


def made_rows(*, predictor: Predictor, count: int = 20, seed: int = 0) -> list[Row]:
    """Count refusals of pictures that are made here: text, noise, gradients and the like."""
    generator = np.random.default_rng(seed)
    return [
        row_of(kind, judge((make(generator) for _ in range(count)), predictor=predictor))
        for kind, make in _MADE.items()
    ]


def file_rows(paths: Iterable[Path], *, predictor: Predictor) -> list[Row]:
    """Judge image files by kind. A file that cannot be decoded counts as refused.

    The kind is the name without its ending and final digits, up to the first "_", or else the name
    of the folder.
    """
    held: dict[str, list[Refusal | None]] = {}
    for path in sorted(paths):
        kind = path.stem.rstrip("0123456789").partition("_")[0] or path.parent.name
        held.setdefault(kind, []).append(_judge_file(path, predictor))
    return [row_of(kind, judged) for kind, judged in held.items()]


def _judge_file(path: Path, predictor: Predictor) -> Refusal | None:
    try:
        volume = decode_file(path)
    except ImageError as error:
        return Refusal("not_decoded", str(error))
    if volume.plane != "unknown":
        reason = predictor.assess(volume).reason
        return Refusal("known_plane", reason) if reason else None
    judged = judge([grey_slice(volume, 0)], predictor=predictor, colour_spread=volume.colour_spread)
    return judged[0]


def row_of(kind: str, judged: Sequence[Refusal | None]) -> Row:
    """Count the refusals of one kind by their codes."""
    codes = Counter(refusal.code for refusal in judged if refusal)
    return Row(kind=kind, n=len(judged), codes=dict(codes))


def _levels(levels: NDArray[np.floating]) -> Grey:
    return (np.clip(levels, 0, 1) * 255).astype(np.uint8)


def _rotated(grey: Grey, generator: np.random.Generator) -> Grey:
    rows, columns = grey.shape
    angle = 10.0 if generator.random() < 0.5 else -10.0
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1)
    return np.asarray(cv2.warpAffine(grey, matrix, (columns, rows)), np.uint8)


def _noisy(grey: Grey, generator: np.random.Generator) -> Grey:
    return _levels(grey / 255 + generator.normal(0, 0.04, grey.shape))


def _compressed(grey: Grey, generator: np.random.Generator) -> Grey:
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def _brighter(grey: Grey, generator: np.random.Generator) -> Grey:
    return _levels(grey / 255 * (1.2 if generator.random() < 0.5 else 0.8))


_MILD: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "rotated by 10 degrees": _rotated,
    "noise of sigma 0.04": _noisy,
    "JPEG of quality 30": _compressed,
    "brightness 20 % up or down": _brighter,
}


def _size(generator: np.random.Generator) -> tuple[int, int]:
    rows, columns = generator.integers(256, 700, 2)
    return int(rows), int(columns)


def _text(generator: np.random.Generator) -> Grey:
    rows, columns = _size(generator)
    page = np.full((rows, columns), 255, np.uint8)
    for y in range(20, rows, int(generator.integers(14, 26))):
        line = "".join(chr(letter) for letter in generator.integers(97, 123, 70))
        cv2.putText(page, line, (10, y), 0, float(generator.uniform(0.3, 0.7)), 20, 1, cv2.LINE_AA)
    return page if generator.random() < 0.7 else 255 - page


def _noise(generator: np.random.Generator) -> Grey:
    return _levels(generator.normal(generator.uniform(0, 0.6), 0.25, _size(generator)))


def _blurred_noise(generator: np.random.Generator) -> Grey:
    field = generator.normal(0, 1, _size(generator)).astype(np.float32)
    smooth = cv2.GaussianBlur(field, (0, 0), float(generator.uniform(1, 12)))
    return _levels(0.5 + smooth / smooth.std() / 5)


def _gradient(generator: np.random.Generator) -> Grey:
    rows, columns = _size(generator)
    y, x = np.mgrid[:rows, :columns]
    angle = generator.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x / columns + np.sin(angle) * y / rows
    return _levels((slope - slope.min()) / np.ptp(slope))


def _disc(generator: np.random.Generator) -> Grey:
    rows, columns = _size(generator)
    picture = np.zeros((rows, columns), np.uint8)
    centre = (columns // 2, rows // 2)
    cv2.circle(picture, centre, int(min(rows, columns) * 0.4), int(generator.integers(60, 240)), -1)
    return picture


def _scene(generator: np.random.Generator) -> Grey:
    """Make a field with the spectrum of natural scenes, whose amplitude falls with frequency."""
    rows, columns = _size(generator)
    spectrum = np.fft.rfft2(generator.normal(0, 1, (rows, columns)))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    frequency[0, 0] = 1.0
    scene = np.fft.irfft2(spectrum / frequency ** generator.uniform(0.8, 1.8), (rows, columns))
    return _levels((scene - scene.min()) / np.ptp(scene))


_MADE: dict[str, Callable[[np.random.Generator], Grey]] = {
    "page of text": _text,
    "noise": _noise,
    "blurred noise": _blurred_noise,
    "gradient": _gradient,
    "disc": _disc,
    "scene-like texture": _scene,
    "blank": lambda generator: np.full(_size(generator), generator.integers(0, 256), np.uint8),
    "too small": lambda generator: np.zeros((100, 120), np.uint8),
}
