"""`manage.py rotate_identifier_keys`: encrypt identifiers and file names with the newest key."""

from django.core.management.base import BaseCommand

from detection.services.identifiers import identifiers_rotate


class Command(BaseCommand):
    help = "Encrypt all identifiers and file names with the first key of IDENTIFIER_KEYS."

    def handle(self, *args, **options) -> None:
        rotated, unreadable = identifiers_rotate()
        self.stdout.write(f"{rotated} rows are encrypted with the newest key.")
        if unreadable:
            self.stdout.write(
                f"{unreadable} rows could not be read with any key and were left as they are."
            )
