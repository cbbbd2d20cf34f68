"""`manage.py make_phantoms`: write synthetic slices to train on and series to read."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from detection.imaging.phantoms import write_phantom_volumes, write_phantoms


class Command(BaseCommand):
    help = (
        "Write a small training data folder of clearly synthetic CT slices with known stones, "
        "so that a retraining can be tried; with --volumes also CT series. No database is needed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser):
        parser.add_argument(
            "--out",
            type=Path,
            help="folder to be written (default: phantoms, below TRAINING_DATA_ROOT)",
        )
        parser.add_argument("--images", type=int, default=24, help="how many (default: 24)")
        parser.add_argument("--seed", type=int, default=1, help="same seed, same images")
        parser.add_argument(
            "--volumes",
            type=int,
            default=0,
            help="also write so many CT series, below the data folder: phantom-volumes",
        )

    def handle(self, *args, out, images, seed, volumes=0, **options):
        folder = out or Path(settings.TRAINING_DATA_ROOT) / "phantoms"
        if seed < 0:
            raise CommandError("The seed must not be negative.")
        try:
            with_stones = write_phantoms(folder, images=images, seed=seed)
            if volumes:
                series = Path(settings.DATA_DIR) / "phantom-volumes"
                held = write_phantom_volumes(series, volumes=volumes, seed=seed)
        except (FileExistsError, ValueError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{folder} cannot be written: {error.strerror}.") from error
        self.stdout.write(
            f"{images} synthetic images written to {folder}, {with_stones} of them with stones."
        )
        if volumes:
            self.stdout.write(
                f"{volumes} synthetic series written to {series}, {held} of them with stones."
            )
