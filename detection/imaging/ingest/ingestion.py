"""Reads one upload: its files one after the other, then the series of DICOM slices."""

import stat
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detection.imaging.errors import (
    Code,
    ImageError,
    Notice,
    notices_json,
    notices_told,
    once,
    split_advice,
)
from detection.imaging.formats import PICTURE_KINDS, Identifiers, Kind, is_system_file
from detection.imaging.ingest.answers import (
    Unreadable,
    believed,
    checked,
    members_believed,
    notices_believed,
    unreadable_believed,
)
from detection.imaging.ingest.jobs import Worker
from detection.imaging.ingest.plan import SeriesPlan, plan_series, replan
from detection.imaging.ingest.result import (
    FileReport,
    IngestedSeries,
    IngestResult,
    Status,
    describe,
)
from detection.imaging.ingest.sandbox import JobDied
from detection.imaging.ingest.slices import LeftOut, SliceRef
from detection.imaging.limits import Limits

Progress = Callable[[int, int], None]
# How many times a series is read, each time without the slices that failed.
_DEATHS_AT_MOST = 5
_MAX_TEXT = 255
_FOLDERS_PER_DEPTH = 8


@dataclass
class _Row:
    """A row of the report while the upload is read."""

    index: int
    source_index: int
    name: str
    member: str
    path: Path
    depth: int = 0
    status: Status = "refused"
    # An unpacked archive is not in the report: its members are.
    is_shown: bool = True
    code: str = ""
    sentence: str = ""
    identifiers: Identifiers = Identifiers()

    def answer(self, status: Status, code: str = "", sentence: str = "") -> None:
        self.status, self.code, self.sentence = status, code, sentence


class Ingestion:
    """One upload: the rows of its report, its series, and what of the limits is left."""

    def __init__(
        self, *, scratch: Path, limits: Limits, worker: Worker, progress: Progress | None
    ) -> None:
        self.scratch, self.limits, self.worker = scratch, limits, worker
        self.series: list[IngestedSeries] = []
        self._progress = progress
        self._rows: list[_Row] = []
        self._waiting: list[_Row] = []
        self._refs: list[SliceRef] = []
        self._files_left, self._bytes_left = limits.max_files, limits.max_total_bytes
        self._done = self._known = self._names = 0

    def add_path(self, path: Path, source_index: int) -> None:
        if path.is_dir():
            self._add_folder(path, path, source_index, depth=0)
        else:
            self._wait(self._new_row(source_index, path.name, "", path))

    def _new_row(
        self, source_index: int, name: str, member: str, path: Path, depth: int = 0
    ) -> _Row:
        row = _Row(len(self._rows), source_index, name, member, path, depth)
        self._rows.append(row)
        return row

    def _wait(self, row: _Row) -> None:
        self._waiting.append(row)
        self._known += 1

    def _add_folder(self, root: Path, folder: Path, source_index: int, *, depth: int) -> None:
        for path in sorted(folder.iterdir()):
            kind = path.lstat().st_mode
            if stat.S_ISDIR(kind) and depth < self.limits.max_depth * _FOLDERS_PER_DEPTH:
                self._add_folder(root, path, source_index, depth=depth + 1)
                continue
            row = self._new_row(source_index, root.name, str(path.relative_to(root)), path)
            if self._files_left <= 0:
                row.answer(
                    "refused",
                    Code.TOO_MANY_FILES,
                    f"There are too many files (at most {self.limits.max_files} are read in one "
                    "upload). Please upload a part of them.",
                )
                return
            self._files_left -= 1
            if stat.S_ISREG(kind):
                self._wait(row)
            elif stat.S_ISDIR(kind):
                row.answer("refused", Code.TOO_DEEP, _TOO_DEEP)
            else:
                sentence = "This is a link or a device, not a file. Please name the file itself."
                row.answer("refused", Code.LINK, sentence)

    def read_all(self) -> None:
        while self._waiting:
            row = self._waiting.pop(0)
            try:
                self._read(row)
            except ImageError as error:
                row.answer(*_status_of(error))
            self._step()
        plans, left_out = plan_series(self._refs, limits=self.limits)
        self._known += len(plans)
        self._leave_out(left_out)
        for order, plan in enumerate(plans):
            self._stack(plan, order)
            self._step()
        first: dict[str, int] = {}
        for one in self.series:
            first[one.group] = min(one.rows[0], first.get(one.group, one.rows[0]))
        self.series.sort(key=lambda one: (first[one.group], one.order))
        self._tell_of_several()

    def _step(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._known)

    def _read(self, row: _Row) -> None:
        if row.member and is_system_file(row.member):
            row.answer("skipped", Code.SYSTEM_FILE, _SYSTEM_FILE)
            return
        answer = self.worker.run(
            {"do": "scan", "source": str(row.path.resolve())},
            timeout_seconds=self.limits.seconds_per_file,
        )
        kind = str(answer.get("kind"))
        if kind == Kind.ZIP:
            self._unpack(row)
        elif kind in PICTURE_KINDS:
            self._convert(row, kind, "picture", self.limits.seconds_per_file)
        elif kind == Kind.NIFTI:
            self._convert(row, kind, "nifti", self.limits.seconds_per_job)
        else:
            row.identifiers, refs = believed(answer, row=row.index)
            self._refs += refs
            row.answer("accepted")

    def _unpack(self, row: _Row) -> None:
        if row.depth >= self.limits.max_depth:
            raise ImageError(_TOO_DEEP, code=Code.TOO_DEEP)
        folder = self._new_path()
        folder.mkdir(mode=0o700)
        answer = self.worker.run(
            {
                "do": "unpack",
                "source": str(row.path.resolve()),
                "folder": str(folder),
                "files_left": self._files_left,
                "bytes_left": self._bytes_left,
            },
            timeout_seconds=self.limits.seconds_per_job,
        )
        if row.depth:
            # The unpacked copy of an archive within an archive is not needed any more.
            row.path.unlink(missing_ok=True)
        at = len(self._rows)
        for member in members_believed(answer.get("members")):
            name = f"{row.member}/{member.name}" if row.member else member.name
            path = Path(member.path)
            found = self._new_row(row.source_index, row.name, name, path, row.depth + 1)
            self._files_left -= 1
            if not member.path:
                status: Status = "skipped" if member.is_skipped else "refused"
                found.answer(status, member.code, member.sentence)
            elif path.parent == folder and path.is_file() and not path.is_symlink():
                self._bytes_left -= path.stat().st_size
                self._wait(found)
        row.is_shown = len(self._rows) == at
        row.answer("refused", Code.EMPTY, "The ZIP archive holds no files.")

    def _convert(self, row: _Row, kind: str, job: str, timeout_seconds: float) -> None:
        """Convert one file to one volume, a series of its own."""
        target = self._new_path()
        answer = self.worker.run(
            {"do": job, "kind": kind, "source": str(row.path.resolve()), "target": str(target)},
            timeout_seconds=timeout_seconds,
        )
        header = checked(target, answer.get("header"))
        group = uuid.uuid4().hex
        self.series.append(
            IngestedSeries(
                volume_path=target,
                header=header,
                kind=kind,
                study=group,
                group=group,
                description=describe(header, kind=kind),
                is_original=False,
                notices=notices_told(header["notices"]),
                rows=(row.index,),
                source_indices=(row.source_index,),
                is_single_image=kind in PICTURE_KINDS,
            )
        )
        row.answer("accepted")

    def _stack(self, plan: SeriesPlan, order: int) -> None:
        """Read a planned series, leaving out slices that cannot be read."""
        gone: set[int] = set()
        for _ in range(_DEATHS_AT_MOST):
            target = self._new_path()
            files = plan.files()
            try:
                answer = self.worker.run(
                    self._stack_job(plan, files, target),
                    timeout_seconds=self.limits.seconds_per_file,
                )
                bad = unreadable_believed(answer.get("bad") or [], files=len(files))
            except JobDied as error:
                bad = [Unreadable(max(0, min(error.at, len(files) - 1)), error.code, str(error))]
            except ImageError as error:
                self._refuse(plan, error)
                return
            if not bad:
                try:
                    self._accept(plan, target, answer, order)
                except ImageError as error:
                    self._refuse(plan, error)
                return
            for fault in bad:
                row = files[fault.file][0]
                gone.add(row)
                self._rows[row].answer("refused", fault.code, fault.sentence)
            fewer = replan(plan, gone)
            if fewer is None:
                return
            plan = fewer
        sentence = "Decoding this series failed again and again. Please export it again."
        self._refuse(plan, ImageError(sentence, code=Code.DECODER_DIED))

    def _stack_job(
        self, plan: SeriesPlan, files: list[tuple[int, list[tuple[int, int]]]], target: Path
    ) -> dict[str, Any]:
        arrangement = plan.arrangement
        return {
            "do": "stack",
            "target": str(target),
            "files": [[str(self._rows[row].path.resolve()), frames] for row, frames in files],
            "is_turned": arrangement is not None and arrangement.order[1] == 2,
            "flips": arrangement.flips[1:] if arrangement else (False, False),
            "header": plan.header(),
        }

    def _accept(self, plan: SeriesPlan, target: Path, answer: dict[str, Any], order: int) -> None:
        header = plan.header()
        found = notices_believed(answer.get("notices"))
        header["notices"] = notices_json(once((*plan.notices, *found)))
        header = checked(target, header)
        rows = tuple(sorted({ref.row for ref in plan.slices}))
        for row in rows:
            # A copy that stands in for a damaged file was left out before.
            self._rows[row].answer("accepted")
        self.series.append(
            IngestedSeries(
                volume_path=target,
                header=header,
                kind=str(Kind.DICOM),
                study=plan.study,
                group=plan.group,
                description=describe(
                    header, kind=str(Kind.DICOM), is_contrast_told=plan.is_contrast_told
                ),
                is_original=all(ref.facts.is_original for ref in plan.slices),
                notices=notices_told(header["notices"]),
                rows=rows,
                source_indices=tuple(sorted({self._rows[row].source_index for row in rows})),
                is_single_image=len(plan.slices) == plan.slices[0].facts.frames == 1,
                identifiers=self._rows[rows[0]].identifiers,
                scan=plan.scan,
                is_contrast_told=plan.is_contrast_told,
                order=order,
            )
        )

    def _refuse(self, plan: SeriesPlan, error: ImageError) -> None:
        for row in {ref.row for ref in plan.slices}:
            self._rows[row].answer(*_status_of(error))

    def _leave_out(self, left_out: list[LeftOut]) -> None:
        for one in left_out:
            status: Status = "refused" if one.is_refused else "skipped"
            self._rows[one.ref.row].answer(status, one.notice.code, one.notice.text)

    def _tell_of_several(self) -> None:
        counts: dict[str, int] = {}
        for one in self.series:
            counts[one.study] = counts.get(one.study, 0) + 1
        for index, one in enumerate(self.series):
            if counts[one.study] > 1:
                notice = Notice(
                    Code.SEVERAL_SERIES,
                    f"The study holds {counts[one.study]} series: this is one of them.",
                )
                self.series[index] = replace(one, notices=(*one.notices, notice))

    def _new_path(self) -> Path:
        self._names += 1
        return self.scratch / f"{self._names:06d}"

    def result(self, volume_paths: Sequence[Path]) -> IngestResult:
        shown = [row for row in self._rows if row.is_shown]
        places = {row.index: place for place, row in enumerate(shown)}
        series = [
            replace(one, volume_path=path, rows=tuple(places[row] for row in one.rows))
            for one, path in zip(self.series, volume_paths, strict=True)
        ]
        return IngestResult(series=tuple(series), report=tuple(self._report(shown)))

    def _report(self, rows: Sequence[_Row]) -> list[FileReport]:
        reports = []
        for row in rows:
            reason, advice = split_advice(row.sentence[:_MAX_TEXT])
            reports.append(
                FileReport(
                    source_index=row.source_index,
                    name=row.name[:_MAX_TEXT],
                    member=row.member[:_MAX_TEXT],
                    status=row.status,
                    code=str(row.code),
                    reason=reason,
                    advice=advice,
                )
            )
        return reports


_TOO_DEEP = (
    "There are too many archives or folders within each other. "
    "Please upload the images in one folder or archive."
)
_SYSTEM_FILE = "This file belongs to the computer or disc the images were on."


def _status_of(error: ImageError) -> tuple[Status, str, str]:
    # Many exports hold a localiser or a table of contents: neither is a fault.
    is_usual = error.code in (Code.LOCALISER, Code.DICOMDIR)
    return "skipped" if is_usual else "refused", str(error.code), str(error)
