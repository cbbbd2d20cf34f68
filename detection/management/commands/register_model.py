"""`manage.py register_model`: record a model bundle in the registry."""

from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from detection.models import ModelVersion
from detection.selectors.registry import model_root, model_version_active
from detection.services.registry import (
    model_version_register,
    shipped_model_register,
    shipped_others_register,
)


class Command(BaseCommand):
    help = (
        "Record a model bundle. Without a path: those that came with the project, of which the "
        "default one is put into service if no model is. May be repeated."
    )

    def add_arguments(self, parser):
        parser.add_argument(
            "path",
            nargs="?",
            type=Path,
            help="folder of a bundle, directly below ml_models or MODEL_ROOT",
        )

    def handle(self, *, path, **options):
        try:
            if path is None:
                model_version = shipped_model_register()
                _, problems = shipped_others_register()
                for problem in problems:
                    self.stderr.write(problem)
            else:
                shipped = model_root(origin=ModelVersion.Origin.SHIPPED).resolve()
                is_shipped = path.resolve().parent == shipped
                origin = ModelVersion.Origin.SHIPPED if is_shipped else ModelVersion.Origin.SITE
                model_version = model_version_register(path=path, origin=origin)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        active = model_version_active()
        self.stdout.write(
            f"Registered: {model_version.name}. In service: {active.name if active else 'none'}."
        )
