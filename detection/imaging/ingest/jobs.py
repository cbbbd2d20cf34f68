"""The jobs of the decoding process, each from one JSON object to another."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from detection.imaging.errors import (
    Code,
    ImageError,
    Notice,
    is_of_the_installation,
    notices_json,
    notices_told,
    once,
)
from detection.imaging.formats import (
    HEAD_BYTES,
    Kind,
    check_size,
    convert_nifti,
    damage_named,
    decode_frame,
    decode_picture,
    frame_datasets,
    frames_of,
    is_nifti_gzip,
    open_dicom,
    read_identifiers,
    representable_hu,
    slice_facts,
    sniff,
    unpack,
)
from detection.imaging.hounsfield import HounsfieldJudge
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import save_volume, write_volume

# Called with the number of a step of a long job, from 0.
Tell = Callable[[int], None]


class Worker(Protocol):
    """What does the jobs: a `Sandbox` or `InProcess`."""

    def run(
        self,
        job: dict[str, Any],
        *,
        timeout_seconds: float,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, Any]: ...


class InProcess:
    """Does jobs on trusted files in this process; errors are what they are in a `Sandbox`."""

    def __init__(self, *, limits: Limits = LIMITS) -> None:
        self._limits = limits

    def run(
        self,
        job: dict[str, Any],
        *,
        timeout_seconds: float,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        try:
            return do_job(job, limits=self._limits, tell=progress or (lambda _: None))
        except (MemoryError, OSError) as error:
            refusal = refusal_of(error, job)
            if refusal is None:
                raise
            raise refusal from error


def do_job(job: dict[str, Any], *, limits: Limits, tell: Tell) -> dict[str, Any]:
    """Do one job.

    Raises
    ------
    ImageError
        If the file cannot be used.
    OSError, MemoryError
        If it cannot be read or stored, or needs too much.
    """
    return _JOBS[job["do"]](job, limits, tell)


def refusal_of(error: MemoryError | OSError, job: dict[str, Any]) -> ImageError | None:
    """Return the refusal of the file over which a job failed; None if the installation failed."""
    if isinstance(error, MemoryError):
        sentence = "The image needs more memory to be read than is allowed."
        return ImageError(sentence, code=Code.OUT_OF_MEMORY)
    sources = [job["source"]] if "source" in job else [path for path, _ in job["files"]]
    if is_of_the_installation(error, sources=sources):
        return None
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    return ImageError(f"The file could not be read or stored: {reason}.", code=Code.UNREADABLE)


def _scan(job: dict[str, Any], limits: Limits, tell: Tell) -> dict[str, Any]:
    """Tell the kind of a file and, of a DICOM image, the facts and identifiers of its slices."""
    path = Path(job["source"])
    with path.open("rb") as file:
        kind = sniff(file.read(HEAD_BYTES))
    if kind is Kind.ZIP:
        return {"kind": kind}
    check_size(path, limits)
    if kind is Kind.GZIP:
        if not is_nifti_gzip(path):
            raise ImageError(
                "This file is compressed with gzip and holds no NIfTI volume. "
                "Please unpack it and upload the images themselves.",
                code=Code.NOT_AN_IMAGE,
            )
        kind = Kind.NIFTI
    if kind is not Kind.DICOM:
        return {"kind": kind}
    with damage_named():
        facts = slice_facts(open_dicom(path, limits=limits))
        identifiers, keys = read_identifiers(path)
    return {
        "kind": kind,
        "slices": [asdict(one) for one in facts],
        "identifiers": asdict(identifiers),
        "keys": asdict(keys),
    }


def _unpack(job: dict[str, Any], limits: Limits, tell: Tell) -> dict[str, Any]:
    members = unpack(
        Path(job["source"]),
        Path(job["folder"]),
        limits=limits,
        files_left=job["files_left"],
        bytes_left=job["bytes_left"],
    )
    return {"members": [asdict(member) for member in members]}


def _picture(job: dict[str, Any], limits: Limits, tell: Tell) -> dict[str, Any]:
    """Write a picture as a volume file."""
    volume = decode_picture(Path(job["source"]), kind=Kind(job["kind"]), limits=limits)
    save_volume(volume, Path(job["target"]))
    return {"header": volume.header()}


def _nifti(job: dict[str, Any], limits: Limits, tell: Tell) -> dict[str, Any]:
    header = convert_nifti(
        Path(job["source"]), Path(job["target"]), limits=limits, progress=lambda done, _: tell(done)
    )
    return {"header": header}


def _stack(job: dict[str, Any], limits: Limits, tell: Tell) -> dict[str, Any]:
    """Write the slices of a series to their places in a volume file, one at a time.

    `files` is a list of [path, [[frame, place], ...]]. If files cannot be read, the answer names
    them and no volume is left. The values of all slices together are judged; where only some of
    the files are not in HU, these count as files that cannot be read.

    Raises
    ------
    ImageError
        If the series holds no HU, although its files say how their values become HU.
    """
    header = job["header"]
    shape = (header["slices"], header["rows"], header["columns"])
    told = notices_told(header["notices"])
    found: tuple[Notice, ...] = ()
    bad: list[dict[str, Any]] = []
    judge = HounsfieldJudge(is_declared=True)
    target = Path(job["target"])
    with write_volume(target, shape=shape, is_hu=header["is_hu"]) as writer:
        for number, (path, wanted) in enumerate(job["files"]):
            tell(number)
            try:
                with damage_named():
                    frames = _read_frames(Path(path), dict(wanted), job, limits, judge)
                    for place, pixels, new in frames:
                        writer.write_slice(place, pixels)
                        found = once((*found, *new))
                        tell(number)
            except ImageError as error:
                bad.append({"file": number, "code": error.code, "error": str(error)})
        if not bad and header["is_hu"]:
            try:
                found = once((*found, *judge.judge()))
            except ImageError as error:
                bad = _not_hu(job, limits, tell, error)
        writer.finish({**header, "notices": notices_json(once((*told, *found)))})
    if bad:
        target.unlink()
        return {"bad": bad}
    return {"notices": notices_json(found)}


def _not_hu(
    job: dict[str, Any], limits: Limits, tell: Tell, refusal: ImageError
) -> list[dict[str, Any]]:
    """Return the files of a series in no HU that are to blame, where the others surely hold HU.

    Raises
    ------
    ImageError
        The `refusal` of the whole series, if no file is surely in HU.
    """
    bad: list[dict[str, Any]] = []
    has_sure = False
    for number, (path, wanted) in enumerate(job["files"]):
        judge = HounsfieldJudge(is_declared=True)
        for _ in _read_frames(Path(path), dict(wanted), job, limits, judge):
            tell(number)
        try:
            has_sure |= not judge.judge()
        except ImageError as error:
            bad.append({"file": number, "code": error.code, "error": str(error)})
    if not has_sure or not bad:
        raise refusal
    return bad


def _read_frames(
    path: Path, places: dict[int, int], job: dict[str, Any], limits: Limits, judge: HounsfieldJudge
) -> Iterator[tuple[int, NDArray[Any], tuple[Notice, ...]]]:
    dicom = open_dicom(path, limits=limits)
    datasets = frame_datasets(dicom)
    rows, columns = (slice(None, None, -1 if flip else None) for flip in job["flips"])
    for frame, stored in enumerate(frames_of(dicom)):
        if frame not in places:
            continue
        pixels, is_hu, notices = decode_frame(datasets[frame], stored, syntax=dicom.syntax)
        turned = pixels.T if job["is_turned"] else pixels
        if is_hu != job["header"]["is_hu"]:
            break
        if is_hu:
            judge.add(pixels, representable=representable_hu(datasets[frame]))
        yield places.pop(frame), turned[rows, columns], notices
        if not places:
            return
    raise ImageError(
        "The DICOM file holds another image than its header says. Please export it again.",
        code=Code.DAMAGED,
    )


_JOBS: dict[str, Callable[[dict[str, Any], Limits, Tell], dict[str, Any]]] = {
    "scan": _scan,
    "unpack": _unpack,
    "picture": _picture,
    "nifti": _nifti,
    "stack": _stack,
}
