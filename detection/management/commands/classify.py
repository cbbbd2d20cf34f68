"""`manage.py classify`: files in, one JSON object for each file or series out; no database."""

import sys
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from detection.ml.errors import MLError
from detection.ml.serving import classify_paths, open_predictor


class Command(BaseCommand):
    help = "Read images and series: one JSON object a line for each, and nothing else."
    # Neither database nor pages are needed, so neither is checked.
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("paths", nargs="+", metavar="PATH")
        parser.add_argument("--json", action="store_true", help="the default and only format")
        parser.add_argument(
            "--model",
            metavar="NAME_OR_FOLDER",
            help="another bundle than the shipped one: its name below ml_models or MODEL_ROOT, or "
            "its folder",
        )

    def handle(self, *, paths, model, **options):
        try:
            predictor = open_predictor(
                root=Path(settings.SHIPPED_MODEL_ROOT),
                model=model,
                further=[Path(settings.MODEL_ROOT)],
            )
        except MLError as error:
            raise CommandError(str(error)) from error
        if not classify_paths(paths, predictor=predictor, out=self.stdout):
            sys.exit(1)
