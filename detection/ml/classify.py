"""The verb classify: image files in, one JSON object for each out."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from detection.imaging.decode import decode_file
from detection.imaging.errors import ImageError
from detection.ml.bundle import load_bundle, load_default_bundle
from detection.ml.errors import MLError
from detection.ml.predictor import CANNOT_ASSESS, Predictor

logger = logging.getLogger(__name__)
ERROR = "error"


def open_predictor(*, root: Path, model: Path | None = None) -> Predictor:
    """Load the bundle at `model`, or the default one of `root`. Raises BundleError."""
    return Predictor(load_bundle(model) if model else load_default_bundle(root))


def classify_paths(paths: Iterable[str], *, predictor: Predictor, out: TextIO) -> bool:
    """Write one JSON line for each path, in order; say whether every input got an answer.

    An input that cannot be read or assessed by a fault is the status "error" with the reason,
    and the others go on; "cannot_assess" is an answer.
    """
    answered = True
    for path in paths:
        result = classify_path(path, predictor=predictor)
        answered &= result["status"] != ERROR
        out.write(json.dumps(result) + "\n")
        out.flush()
    return answered


def classify_path(path: str, *, predictor: Predictor) -> dict[str, Any]:
    """Classify one file; see the README for the keys."""
    result: dict[str, Any] = {
        "path": path,
        "status": ERROR,
        "probability": None,
        "reason": "",
        "model_version": predictor.bundle.name,
        "size": None,
        "findings": [],
    }
    try:
        volume = decode_file(Path(path))
        _, rows, columns = volume.pixels.shape
        result["size"] = [columns, rows]
        assessment = predictor.assess(volume)
    except (ImageError, MLError) as error:
        return {**result, "reason": str(error)}
    except OSError as error:
        return {**result, "reason": f"The file cannot be read: {error.strerror or error}."}
    except Exception:
        # The boundary of one input: the other inputs must get their answers.
        logger.exception("classify failed")
        return {**result, "reason": "An unexpected error occurred while reading this file."}
    result["status"] = assessment.verdict
    result["reason"] = assessment.reason
    if assessment.verdict != CANNOT_ASSESS:
        result["probability"] = round(float(assessment.probability or 0.0), 6)
    result["findings"] = [
        {
            "plane": finding.plane,
            "slice": finding.slice_index,
            "box": [round(side, 1) for side in finding.box],
            "probability": round(finding.probability, 6),
        }
        for finding in assessment.findings
    ]
    return result
