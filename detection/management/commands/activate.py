"""`manage.py activate`: put a registered model version into service."""

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from detection.models import ModelVersion
from detection.services.registry import model_version_activate


class Command(BaseCommand):
    help = "Put a registered model version into service, in the name of an administrator."

    def add_arguments(self, parser):
        parser.add_argument("name", help="name of the model version")
        parser.add_argument("--by", required=True, metavar="USERNAME", help="who decided it")
        parser.add_argument("--note", default="", help="why")

    def handle(self, *, name, by, note, **options):
        user = User.objects.filter(username=by, is_active=True).first()
        if user is None or not user.has_perm("detection.activate_modelversion"):
            raise CommandError(f"There is no user {by!r} who may put a model into service.")
        model_version = ModelVersion.objects.filter(name=name).first()
        if model_version is None:
            known = ", ".join(ModelVersion.objects.order_by("pk").values_list("name", flat=True))
            raise CommandError(f"There is no model version {name!r}. Known: {known or 'none'}.")
        try:
            model_version_activate(model_version=model_version, activated_by=user, note=note)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"In service: {model_version.name}.")
