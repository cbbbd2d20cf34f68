"""The verbs of ensembles on the command line: predict, crossfit, combine and compare."""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detection.ml.arguments import add_training_arguments, training_options
from detection.ml.errors import MLError
from detection.ml.progress_lines import fail, progress_line, say

_ROOT = Path(__file__).resolve().parents[2] / "ml_models"
_METHODS = ("best", "mean", "stacking", "pso", "ga")


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the sub-parsers of `python -m detection.ml`."""
    verb = verbs.add_parser("predict", help="write the maps that a bundle has of one part")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--model", required=True, metavar="NAME_OR_FOLDER")
    verb.add_argument("--part", choices=("train", "validation", "test"), default="validation")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    verb.add_argument("--threads", type=int, default=2)
    verb.set_defaults(run=_predict)

    verb = verbs.add_parser(
        "crossfit", help="train without each fold of the patients, and write the maps of the fold"
    )
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--folds", type=int, default=2, help="parts of the patients, 2 to 10")
    verb.add_argument("--out", type=Path, required=True, help="folder of the maps, for `combine`")
    add_training_arguments(verb)
    verb.add_argument("--work", type=Path, required=True, help="keep the trainings, to go on")
    verb.set_defaults(run=_crossfit)

    verb = verbs.add_parser("combine", help="make an ensemble of trained bundles")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--members", nargs="+", required=True, metavar="NAME_OR_FOLDER")
    verb.add_argument(
        "--held-out",
        nargs="*",
        default=[],
        metavar="MEMBER=BUNDLE",
        help="for a member that has seen the validation part: the same training without it",
    )
    verb.add_argument(
        "--folds",
        nargs="*",
        default=[],
        metavar="MEMBER=FILE.npz",
        help="what `crossfit` wrote for this member: more patients that it does not know",
    )
    verb.add_argument("--method", choices=_METHODS, default="best")
    verb.add_argument("--out", type=Path, required=True, help="where the members stand")
    verb.add_argument("--gate", default="", metavar="MEMBER", help="whose input gate judges")
    verb.add_argument("--trials", type=int, default=200, help="weights that a search tries")
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--threads", type=int, default=2)
    verb.add_argument("--work", type=Path, help="keep the maps here, and read no image twice")
    verb.set_defaults(run=_combine)

    verb = verbs.add_parser("compare", help="compare models on the test part: a page")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--models", nargs="+", required=True, metavar="NAME_OR_FOLDER")
    verb.add_argument("--reference", required=True, metavar="NAME", help="one of the models")
    verb.add_argument("--out", type=Path, required=True, metavar="PAGE.md")
    verb.add_argument("--not-ct", type=Path, metavar="FOLDER", help="files that are no CT")
    verb.add_argument("--images", type=int, help="read so many of the test part alone")
    verb.add_argument("--robustness-images", type=int, default=16, help="for each severity")
    verb.add_argument("--deletion-images", type=int, default=24, help="for each source")
    verb.add_argument("--threads", type=int, default=2)
    verb.add_argument("--work", type=Path, help="keep maps here, and read no image twice")
    verb.set_defaults(run=_compare)


def _predict(options: argparse.Namespace) -> int:
    from detection.ml.combining import predict

    try:
        predictions = predict(
            data=options.data,
            model=options.model,
            root=_ROOT,
            part=options.part,
            out=options.out,
            threads=options.threads,
            report=say,
        )
    except MLError as error:
        return fail(error)
    print(json.dumps({"file": str(options.out), "images": len(predictions.images)}))
    return 0


def _crossfit(options: argparse.Namespace) -> int:
    from detection.ml.combining import crossfit

    try:
        if not 2 <= options.folds <= 10:
            raise MLError("The number of folds must be between 2 and 10.")
        files = crossfit(
            data=options.data,
            folds=options.folds,
            out=options.out,
            work=options.work,
            options=training_options(options),
            training_report=progress_line,
            report=say,
        )
    except MLError as error:
        return fail(error)
    print("\n".join(map(str, files)))
    return 0


def _combine(options: argparse.Namespace) -> int:
    from detection.ml.combining import CombineOptions, combine

    chosen = CombineOptions(
        method=options.method,
        trials=options.trials,
        seed=options.seed,
        gate=options.gate,
        threads=options.threads,
    )
    try:
        with _work_folder(options.work) as work:
            bundle = combine(
                data=options.data,
                members=options.members,
                held_out=dict(_pairs(options.held_out, "--held-out")),
                folds=[(name, Path(file)) for name, file in _pairs(options.folds, "--folds")],
                out=options.out,
                root=_ROOT,
                work=work,
                options=chosen,
                report=say,
            )
    except MLError as error:
        return fail(error)
    print(bundle)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from detection.ml.combining import CompareOptions, compare

    chosen = CompareOptions(
        images=options.images,
        robustness_images=options.robustness_images,
        deletion_images=options.deletion_images,
        threads=options.threads,
    )
    try:
        with _work_folder(options.work) as work:
            metrics = compare(
                data=options.data,
                models=options.models,
                reference=options.reference,
                out=options.out,
                root=_ROOT,
                work=work,
                not_ct=options.not_ct,
                options=chosen,
                report=say,
            )
    except MLError as error:
        return fail(error)
    print("\n".join([*metrics["findings"], *metrics["advice"]]))
    return 0


def _pairs(texts: list[str], option: str) -> list[tuple[str, str]]:
    """Read MEMBER=VALUE pairs. Raises MLError for anything else."""
    found = []
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise MLError(f"{option} takes a member and a value, such as NAME=FILE.")
        found.append((name, value))
    return found


@contextmanager
def _work_folder(asked: Path | None) -> Iterator[Path]:
    if asked:
        yield asked
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
