"""Give the roles what came with the identifiers."""

from importlib import import_module

from django.db import migrations

create_roles = import_module("detection.migrations.0002_roles").create_roles


class Migration(migrations.Migration):
    dependencies = [("detection", "0006_encrypt_file_names")]
    operations = [migrations.RunPython(create_roles, migrations.RunPython.noop)]
