"""The method's command line: `python -m detection.ml VERB`."""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from detection.ml.arguments import (
    add_start_arguments,
    add_training_arguments,
    training_options,
)
from detection.ml.backbones import backbone_of
from detection.ml.ensemble_verbs import add_verbs
from detection.ml.errors import MLError
from detection.ml.progress_lines import fail, json_line, progress_line, say
from detection.ml.search_verb import add_search_verb

_ROOT = Path(__file__).resolve().parents[2] / "ml_models"


def main(arguments: list[str] | None = None) -> int:
    # People read what the verbs print, and TensorFlow's remarks on the processor tell them nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves it off where AVX-512 VNNI is missing: ResNet50 then trains a third slower.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    options = _parser().parse_args(arguments)
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m detection.ml", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("classify", help="read images: one JSON object for each")
    verb.add_argument("paths", nargs="+", metavar="PATH")
    verb.add_argument("--json", action="store_true", help="the default and only format")
    _add_model_argument(verb)
    verb.set_defaults(run=_classify)

    verb = verbs.add_parser("train", help="train, calibrate, measure and export a model")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--out", type=Path, required=True, help="where the new bundle goes")
    add_training_arguments(verb)
    verb.add_argument(
        "--refit",
        action="store_true",
        help="then train again with the validation part, calibrated by the first training",
    )
    verb.add_argument(
        "--work", type=Path, help="keep the weights of each stage here, and go on from them"
    )
    verb.add_argument("--json-progress", action="store_true", help="progress as JSON lines")
    verb.set_defaults(run=_train)

    verb = verbs.add_parser("evaluate", help="measure a bundle on one part of a data folder")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    _add_model_argument(verb)
    verb.add_argument("--part", choices=("train", "validation", "test"), default="validation")
    verb.set_defaults(run=_evaluate)

    verb = verbs.add_parser("gate", help="what the input gate of a bundle refuses: a table")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    _add_model_argument(verb)
    verb.add_argument("--part", choices=("validation", "test"), default="validation")
    verb.add_argument("--per-group", type=int, default=2, help="images of a group to change")
    verb.add_argument(
        "--other", type=Path, action="append", default=[], metavar="FOLDER", help="files to refuse"
    )
    verb.add_argument(
        "--parts",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="CT series of any part of the body: what is read of each part",
    )
    verb.set_defaults(run=_gate)

    verb = verbs.add_parser("bundle", help="make a bundle of trained weights, gate and all")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--weights", type=Path, required=True, help="trained.npz of a training")
    verb.add_argument("--out", type=Path, required=True, help="where the new bundle goes")
    verb.set_defaults(run=_bundle)

    verb = verbs.add_parser("quantise", help="make a bundle of the same weights, served in int8")
    verb.add_argument("bundle", type=Path, metavar="BUNDLE")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--out", type=Path, required=True, help="where the new bundle goes")
    verb.add_argument(
        "--held-out",
        type=Path,
        metavar="BUNDLE",
        help="decides where the first bundle has seen the validation part",
    )
    verb.set_defaults(run=_quantise)

    add_search_verb(verbs)

    verb = verbs.add_parser("baselines", help="train and score the baselines of the model card")
    _add_training_arguments(verb)
    verb.set_defaults(run=_baselines)

    verb = verbs.add_parser("ablate", help="compare the augmentations, each one alone, on a proxy")
    _add_training_arguments(verb)
    verb.set_defaults(run=_ablate)

    verb = verbs.add_parser("report", help="measure a bundle on the test part: the model card")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--out", type=Path, required=True, help="where card and figures go")
    _add_model_argument(verb)
    verb.add_argument("--not-ct", type=Path, metavar="FOLDER", help="files that are no CT")
    verb.add_argument("--baselines", type=Path, metavar="FILE", help="what `baselines` wrote")
    verb.add_argument("--ablation", type=Path, metavar="FILE", help="what `ablate` wrote")
    verb.add_argument("--work", type=Path, help="keep the readings here, and read no image twice")
    verb.add_argument("--robustness-images", type=int, default=40, help="images for each severity")
    verb.add_argument("--threads", type=int, default=2)
    verb.set_defaults(run=_report)

    verb = verbs.add_parser("export", help="rebuild the float32 ONNX file of a bundle")
    verb.add_argument("bundle", type=Path, metavar="BUNDLE")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE")
    verb.set_defaults(run=_export)

    verb = verbs.add_parser("split", help="list the images of one part of the fixed split")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--part", choices=("train", "validation", "test"), default="test")
    verb.set_defaults(run=_split)

    verb = verbs.add_parser("series", help="set the series rule on runs of slices and report it")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--out", type=Path, required=True, metavar="PAGE.md")
    _add_model_argument(verb)
    verb.add_argument(
        "--write", action="store_true", help="make a new bundle with the rule, beside the old one"
    )
    verb.add_argument(
        "--samples", nargs="*", type=Path, default=[], metavar="PATH", help="volumes to count on"
    )
    verb.add_argument(
        "--phantoms", type=int, default=24, help="bodies to read without stones, and with stones"
    )
    verb.set_defaults(run=_series)

    add_verbs(verbs)
    return parser


def _add_model_argument(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--model",
        metavar="NAME_OR_FOLDER",
        help="another bundle than the default one: its name below ml_models, or its folder",
    )


def _add_training_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE")
    add_start_arguments(verb)


def _classify(options: argparse.Namespace) -> int:
    from detection.ml.serving import classify_paths, open_predictor

    try:
        predictor = open_predictor(root=_ROOT, model=options.model)
    except MLError as error:
        return fail(error)
    return 0 if classify_paths(options.paths, predictor=predictor, out=sys.stdout) else 1


def _train(options: argparse.Namespace) -> int:
    report = json_line if options.json_progress else progress_line
    # TensorFlow takes seconds to import, so only the verbs that need it import it.
    from detection.ml.training import train

    try:
        bundle, dataset = train(
            data=options.data,
            out=options.out,
            options=training_options(options, refit=options.refit),
            report=report,
            work=options.work,
        )
    except MLError as error:
        if options.json_progress:
            json_line({"stage": "error", "message": str(error)})
            return 1
        return fail(error)
    report({"stage": "done", "bundle": str(bundle), "snapshot": dataset.snapshot()})
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from detection.ml.data import PARTS, halved_sources, load_dataset, split
    from detection.ml.serving import open_predictor
    from detection.ml.training import measure, score

    try:
        predictor = open_predictor(root=_ROOT, model=options.model)
        dataset = load_dataset(options.data)
        scores = score(
            split(dataset.samples, parts=PARTS)[options.part],
            map_logits=predictor.network.map_logits,
            preprocessing=predictor.preprocessing,
            halved=halved_sources(dataset.samples),
        )
    except MLError as error:
        return fail(error)
    calibration = predictor.bundle.calibration
    print(json.dumps(measure(scores, calibration=calibration, threshold=predictor.threshold)))
    return 0


def _gate(options: argparse.Namespace) -> int:
    from detection.ml.data import PARTS, load_dataset, split
    from detection.ml.evaluation import gate_rows, parts_rows
    from detection.ml.serving import open_predictor

    try:
        predictor = open_predictor(root=_ROOT, model=options.model)
        samples = split(load_dataset(options.data).samples, parts=PARTS)[options.part]
    except MLError as error:
        return fail(error)
    files = [path for folder in options.other for path in folder.rglob("*") if path.is_file()]
    print("\n".join(gate_rows(files, samples, predictor=predictor, per_group=options.per_group)))
    for row in parts_rows(options.parts, predictor=predictor):
        print(row.to_markdown())
    return 0


def _bundle(options: argparse.Namespace) -> int:
    from detection.ml.training import bundle_trained

    try:
        bundle = bundle_trained(
            weights=options.weights, data=options.data, out=options.out, report=progress_line
        )
    except MLError as error:
        return fail(error)
    print(bundle)
    return 0


def _quantise(options: argparse.Namespace) -> int:
    from detection.ml.bundle import load_bundle
    from detection.ml.training import quantise_bundle

    try:
        made = quantise_bundle(
            load_bundle(options.bundle),
            data=options.data,
            out=options.out,
            held_out=load_bundle(options.held_out) if options.held_out else None,
            report=progress_line,
        )
    except MLError as error:
        return fail(error)
    print(made)
    say(f"The new bundle has no series rule yet: `series --write --model {made}` sets it.")
    return 0


def _baselines(options: argparse.Namespace) -> int:
    from detection.ml.evaluation import BaselineOptions, run_baselines

    chosen = BaselineOptions(
        init=options.init, architecture=options.architecture, seed=options.seed
    )
    try:
        run_baselines(data=options.data, out=options.out, options=chosen, report=say)
    except MLError as error:
        return fail(error)
    return 0


def _ablate(options: argparse.Namespace) -> int:
    from detection.ml.evaluation import AblationOptions, run_ablation

    chosen = AblationOptions(
        init=options.init, architecture=options.architecture, seed=options.seed
    )
    try:
        run_ablation(data=options.data, out=options.out, options=chosen, report=say)
    except MLError as error:
        return fail(error)
    return 0


def _report(options: argparse.Namespace) -> int:
    from detection.ml.evaluation import ReportOptions, write_report

    chosen = ReportOptions(robustness_images=options.robustness_images, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            metrics = write_report(
                data=options.data,
                out=options.out,
                model=options.model,
                root=_ROOT,
                store=options.work or Path(folder),
                not_ct=options.not_ct,
                baselines=options.baselines,
                ablation=options.ablation,
                options=chosen,
                report=say,
            )
        except MLError as error:
            return fail(error)
    for row in metrics["bar"]:
        figure = row["figure"] or {"value": None}
        print(json.dumps({"what": row["what"], "value": figure["value"], "met": row["met"]}))
    return 0


def _export(options: argparse.Namespace) -> int:
    from detection.ml.bundle import load_bundle
    from detection.ml.training import WEIGHTS_NAME, export_float32

    try:
        bundle = load_bundle(options.bundle)
        bundle.check_single()
        export_float32(
            bundle.path / WEIGHTS_NAME,
            options.out,
            backbone=backbone_of(bundle.backbone),
            preprocessing=bundle.preprocessing,
        )
    except MLError as error:
        return fail(error)
    return 0


def _split(options: argparse.Namespace) -> int:
    from detection.ml.data import PARTS, load_dataset, split

    try:
        samples = split(load_dataset(options.data).samples, parts=PARTS)[options.part]
    except MLError as error:
        return fail(error)
    for sample in samples:
        print(
            json.dumps({"image": sample.image, "is_stone": sample.is_stone, "group": sample.group})
        )
    return 0


def _series(options: argparse.Namespace) -> int:
    from detection.imaging.errors import ImageError
    from detection.ml.evaluation import make_report

    try:
        text = make_report(
            options.data,
            root=_ROOT,
            model=options.model,
            samples=options.samples,
            phantoms=options.phantoms,
            is_written=options.write,
            report=say,
        )
    except (MLError, ImageError) as error:
        return fail(error)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    # A stop by SIGTERM unwinds like Ctrl-C, so that no half-made bundle stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
