"""`manage.py requeue`: what waits or has failed is done again now."""

from contextlib import suppress
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from detection.models import Study, Upload
from detection.services.media import media_prepare
from detection.services.requeue import (
    Requeued,
    requeue_failed,
    requeue_waiting,
    study_read_again,
    upload_requeue,
)


class Command(BaseCommand):
    help = (
        "Queue again what waits for the installation and what failed, once its cause is mended. "
        "Without arguments: both. A study that is named is also read by the model in service if "
        "another version has read it."
    )

    def add_arguments(self, parser):
        parser.add_argument("--waiting", action="store_true", help="only what waits")
        parser.add_argument("--failed", action="store_true", help="only the readings that failed")
        parser.add_argument(
            "which",
            nargs="*",
            metavar="WHICH",
            help="the number of a study, or the UUID of a study or of an upload",
        )

    def handle(self, *, waiting, failed, which, **options):
        if which and (waiting or failed):
            raise CommandError("Please name studies and uploads, or give an option, not both.")
        found = [_find(text) for text in which]
        done = Requeued()
        # The disk may have come back from a copy without its mark.
        with suppress(OSError):
            media_prepare()
        try:
            for row in found:
                done += (
                    study_read_again(study=row)
                    if isinstance(row, Study)
                    else upload_requeue(upload=row)
                )
            if not which and (waiting or not failed):
                done += requeue_waiting()
            if not which and (failed or not waiting):
                done += requeue_failed()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(_sentence(done))


def _find(text: str) -> Study | Upload:
    if text.isascii() and text.isdigit():
        row: Study | Upload | None = Study.objects.filter(pk=int(text)).first()
    else:
        try:
            uuid = UUID(text)
        except ValueError as error:
            raise CommandError(f"{text} is no number and no UUID.") from error
        row = Study.objects.filter(uuid=uuid).first() or Upload.objects.filter(uuid=uuid).first()
    if row is None:
        raise CommandError(f"There is no study and no upload {text}.")
    return row


def _sentence(done: Requeued) -> str:
    parts = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((done.uploads, "upload"), (done.readings, "reading"))
        if count
    ]
    if not parts:
        return "Nothing had to be queued again."
    is_one = done.uploads + done.readings == 1
    return f"{' and '.join(parts)} {'was' if is_one else 'were'} queued again."
