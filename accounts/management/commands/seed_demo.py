"""`manage.py seed_demo`: create the demonstration accounts, on such an installation only."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from accounts.services import user_create

PASSWORD = "demo-kidney-2026"
ACCOUNTS = {
    "radiologist": ("radiologist", "Rada", "Demo (synthetic)"),
    "lead": ("lead", "Lea", "Demo (synthetic)"),
    "admin1": ("administrator", "Ada One", "Demo (synthetic)"),
    "admin2": ("administrator", "Ada Two", "Demo (synthetic)"),
}


class Command(BaseCommand):
    help = "Create the demonstration accounts (only with KIDNEYWEB_DEMO=1)."

    def handle(self, *args, **options) -> None:
        # The system checks ask this too, but a call of the command from Python skips them.
        if not (settings.KIDNEYWEB_DEMO and settings.IS_LOOPBACK):
            raise CommandError(
                "Demonstration accounts have a public password and are for this machine alone. Set "
                "KIDNEYWEB_DEMO=1, and leave only localhost, 127.0.0.1 and [::1] in ALLOWED_HOSTS. "
                "On a server, make accounts in the administration instead."
            )
        for username, (role, first_name, last_name) in ACCOUNTS.items():
            if User.objects.filter(username=username).exists():
                continue
            user_create(
                username=username,
                email=f"{username}@example.org",
                role=role,
                password=PASSWORD,
                first_name=first_name,
                last_name=last_name,
            )
            self.stdout.write(f"Created the demonstration account {username}.")
