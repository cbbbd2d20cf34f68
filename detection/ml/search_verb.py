"""The verb `tune` on the command line."""

import argparse
import json
from pathlib import Path
from typing import Any

from detection.ml.arguments import add_start_arguments, crop_size
from detection.ml.errors import MLError
from detection.ml.progress_lines import fail, progress_line


def add_search_verb(verbs: Any) -> None:
    """Add the verb to the sub-parsers of `python -m detection.ml`."""
    verb = verbs.add_parser("tune", help="search the options of the training on a cheap proxy")
    verb.add_argument("data", type=Path, metavar="DATA_FOLDER")
    verb.add_argument("--storage", type=Path, required=True, metavar="FILE.sqlite3")
    verb.add_argument(
        "--trials", type=int, default=40, help="of each sampler, those in the storage included"
    )
    verb.add_argument(
        "--sampler",
        action="append",
        metavar="NAME",
        help="random, tpe, cmaes, ga or pso; repeatable (default: all)",
    )
    verb.add_argument("--out", type=Path, metavar="PAGE.md", help="the page, its figures and .json")
    verb.add_argument(
        "--confirm", type=int, default=0, metavar="N", help="then train N configurations really"
    )
    verb.add_argument(
        "--confirmed", type=Path, metavar="FILE", help="the real trainings, read or written"
    )
    verb.add_argument("--images", type=int, default=160, help="images of the proxy")
    verb.add_argument("--folds", type=int, default=3)
    verb.add_argument("--epochs", type=int, default=2, help="epochs of each fold")
    verb.add_argument("--crop", default="96x128", metavar="HEIGHTxWIDTH")
    verb.add_argument("--real-epochs", type=int, default=3, help="epochs of a real training")
    add_start_arguments(verb, architecture="mobilenetv2")
    verb.set_defaults(run=_tune)


def _tune(options: argparse.Namespace) -> int:
    from detection.ml.tuning import (
        SAMPLERS,
        ConfirmOptions,
        Proxy,
        ProxyOptions,
        load_studies,
        run_confirmation,
        run_search,
        write_report,
    )

    try:
        samplers = options.sampler or SAMPLERS
        if not set(samplers) <= set(SAMPLERS):
            raise MLError(f"--sampler takes {', '.join(SAMPLERS)}.")
        if options.confirm and not options.confirmed:
            raise MLError("--confirm needs --confirmed FILE for what it finds.")
        proxy = ProxyOptions(
            init=options.init,
            architecture=options.architecture,
            seed=options.seed,
            folds=options.folds,
            epochs=options.epochs,
            images=options.images,
            crop=crop_size(options.crop) or ProxyOptions.crop,
        )
        if options.trials:
            progress_line({"stage": "prepare", "fraction": 0, "message": "Reading the folder."})
            run_search(
                Proxy(options.data, proxy),
                storage=options.storage,
                samplers=samplers,
                trials=options.trials,
                seed=options.seed,
                report=progress_line,
            )
        if options.confirm:
            run_confirmation(
                data=options.data,
                studies=load_studies(options.storage),
                count=options.confirm,
                out=options.confirmed,
                proxy=proxy,
                options=ConfirmOptions(epochs=options.real_epochs),
                report=progress_line,
            )
        if options.out:
            print(
                json.dumps(
                    write_report(
                        storage=options.storage, out=options.out, confirmed=options.confirmed
                    )
                )
            )
    except MLError as error:
        return fail(error)
    return 0
