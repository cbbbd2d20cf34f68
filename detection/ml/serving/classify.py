"""The verb `classify`: reads files, folders and archives, and writes a JSON object per series."""

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from detection.imaging.errors import (
    ImageError,
    is_of_the_installation,
    notices_json,
    once,
)
from detection.imaging.ingest import FileReport, IngestedSeries, IngestResult, Sandbox, ingest
from detection.imaging.volume import load_volume
from detection.ml.bundle import open_bundle
from detection.ml.errors import MLError
from detection.ml.serving.answer import CANNOT_ASSESS, KIDNEYS_ONLY, Extent, verdict_sentence
from detection.ml.serving.predictor import Predictor
from detection.ml.serving.study_rule import SeriesAnswer, study_answer

logger = logging.getLogger(__name__)
ERROR = "error"


def open_predictor(
    *, root: Path, model: str | Path | None = None, further: Sequence[Path] = ()
) -> Predictor:
    """Load a bundle by its folder or its name below `root` or `further`; else the default one.

    Raises
    ------
    BundleError
        As `open_bundle`.
    """
    return Predictor(open_bundle(model, roots=[root, *further]))


def classify_paths(paths: Iterable[str], *, predictor: Predictor, out: TextIO) -> bool:
    """Write one JSON line for each series, in order; return whether all inputs got an answer.

    A single image is one series; a folder or an archive holds any number. An input that cannot be
    read, or over which the model fails, gets the status "error" with a reason, and the others go
    on. "cannot_assess" is an answer.
    """
    answered = True
    with ExitStack() as stack:
        # One decoding process for all inputs; the first one starts it.
        sandbox = stack.enter_context(Sandbox())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="classify-")))
        for path in paths:
            for result in _classify(path, predictor=predictor, sandbox=sandbox, folder=folder):
                answered &= result["status"] != ERROR
                out.write(json.dumps(result) + "\n")
                out.flush()
    return answered


def _classify(
    path: str, *, predictor: Predictor, sandbox: Sandbox, folder: Path
) -> Iterator[dict[str, Any]]:
    result: dict[str, Any] = {
        "path": path,
        "status": ERROR,
        "probability": None,
        "reason": "",
        "model_version": predictor.bundle.name,
        "size": None,
        "findings": [],
        "notices": [],
        "answer": "",
        "scope": KIDNEYS_ONLY,
        "slices_read": 0,
        "slices_unread": 0,
    }
    try:
        source = Path(path)
        if not source.is_dir():
            # Opening the path itself gives the system's own reason for a missing or locked file.
            source.open("rb").close()
        found = ingest([source], target_folder=folder, worker=sandbox)
        if not found.series:
            yield {**result, "reason": _why_nothing(found.report)}
        yield from _by_study(result, found, predictor)
    except Exception as error:
        # The boundary of one input: the other inputs must get their answers.
        yield {**result, "reason": _why(error, path)}


def _why(error: Exception, path: str) -> str:
    """Return the sentence for an error, and log the cause of one that nobody expected."""
    if isinstance(error, (ImageError, MLError)):
        return str(error)
    if isinstance(error, OSError):
        is_fault = is_of_the_installation(error, sources=[path])
        what = (
            "The file could not be read or stored here" if is_fault else "The file cannot be read"
        )
        return f"{what}: {error.strerror or error}."
    logger.error("classify failed", exc_info=error)
    return "An unexpected error occurred while reading this file."


def _by_study(
    result: dict[str, Any], found: IngestResult, predictor: Predictor
) -> Iterator[dict[str, Any]]:
    """Answer the series of an input in order, each as soon as its whole study has been read."""
    waiting = Counter(series.study for series in found.series)
    several = {study for study, count in waiting.items() if count > 1}
    answers: dict[str, list[SeriesAnswer]] = {study: [] for study in waiting}
    held: list[tuple[str, dict[str, Any]]] = []
    for number, series in enumerate(found.series, start=1):
        told = result | _told(series, number, found)
        one, extent = _assess(told, series, predictor=predictor)
        series.volume_path.unlink(missing_ok=True)
        verdict = "" if one["status"] == ERROR else one["status"]
        answers[series.study].append(
            SeriesAnswer(
                verdict,
                one["probability"],
                extent,
                plane=series.header["plane"],
                scan=series.scan,
            )
        )
        waiting[series.study] -= 1
        held.append((series.study, one))
        while held and not waiting[held[0][0]]:
            study, one = held.pop(0)
            yield one | _of_study(answers[study]) if study in several else one


def _of_study(answers: Sequence[SeriesAnswer]) -> dict[str, Any]:
    """Return the keys that every series of a study of several has: the answer about the study."""
    answer = study_answer(answers)
    if not answer.verdict:
        return {"study_status": ERROR, "study_answer": ""}
    sentence = verdict_sentence(
        answer.verdict, answer.extent, reason=answer.reason, unread_series=answer.unread_series
    )
    return {"study_status": answer.verdict, "study_answer": sentence}


def _why_nothing(report: Sequence[FileReport]) -> str:
    """Return the reason why an input holds no series: that of its first refused file."""
    refused = [row for row in report if row.status == "refused"]
    row = next(iter(refused or report), None)
    reason = f"{row.reason} {row.advice}".strip() if row else "The folder is empty."
    if len(report) > 1:
        reason = f"None of the {len(report)} files could be read. The first: {reason}"
    return reason


def _told(series: IngestedSeries, number: int, found: IngestResult) -> dict[str, Any]:
    """Return the keys of a series that a single image lacks."""
    member = found.report[series.rows[0]].member if len(series.rows) == 1 else ""
    if series.is_single_image and not member:
        return {}
    told: dict[str, Any] = {}
    if len(found.series) > 1:
        told["series"] = number
    if member:
        told["member"] = member
    told["slices"] = []
    if series.notices:
        told["warnings"] = [notice.reason for notice in series.notices]
    if refused := sum(row.status == "refused" for row in found.report):
        told["files_refused"] = refused
    return told


def _assess(
    result: dict[str, Any], series: IngestedSeries, *, predictor: Predictor
) -> tuple[dict[str, Any], Extent]:
    """Return the object of a series with the model's answer about its volume, and its extent."""
    header, notices = series.header, series.notices
    nothing = Extent(slices_read=0, slices=header["slices"] + header.get("slices_unread", 0))
    result = {
        **result,
        "size": [header["columns"], header["rows"]],
        "notices": notices_json(notices),
        "slices_unread": nothing.slices_unread,
    }
    try:
        assessment = predictor.assess(load_volume(series.volume_path))
    except Exception as error:
        # The boundary of one series: the others must get their answers.
        return {**result, "reason": _why(error, result["path"])}, nothing
    extent = assessment.extent or nothing
    result["status"] = assessment.verdict
    result["reason"] = assessment.reason
    if assessment.verdict != CANNOT_ASSESS:
        result["probability"] = round(float(assessment.probability or 0.0), 6)
    if "slices" in result:
        result["slices"] = [
            None if p is None else round(float(p), 6) for p in assessment.slice_probabilities
        ]
    result["findings"] = [finding.to_json() for finding in assessment.findings]
    result["notices"] = notices_json(once((*notices, *assessment.notices)))
    result["answer"] = verdict_sentence(assessment.verdict, extent, reason=assessment.reason)
    result["slices_read"] = extent.slices_read
    result["slices_unread"] = extent.slices_unread
    return result, extent
