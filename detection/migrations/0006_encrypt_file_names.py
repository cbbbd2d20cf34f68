"""Encrypt the names of the files that are there already, and fill what a history line shows."""

from django.db import migrations

import detection.models.encryption
from detection.models.encryption import blind_index, decrypt, encrypt, name_stem

ROWS_AT_ONCE = 500


def encrypt_names(apps, schema_editor):
    SourceFile = apps.get_model("detection", "SourceFile")
    # A row that has its index is done: a migration that was cut off goes on with the rest.
    rows = SourceFile.objects.filter(name_index="").exclude(display_name="").order_by("pk")
    while batch := list(rows[:ROWS_AT_ONCE]):
        for row in batch:
            name = row.display_name
            row.name_index = blind_index(name_stem(name), field="name") or "-"
            row.display_name = encrypt(name)
        SourceFile.objects.bulk_update(batch, ["display_name", "name_index"])


def fill_studies(apps, schema_editor):
    SourceFile = apps.get_model("detection", "SourceFile")
    Study = apps.get_model("detection", "Study")
    for series in apps.get_model("detection", "Series").objects.iterator():
        Study.objects.filter(pk=series.study_id).update(slices=series.slices, plane=series.plane)
        SourceFile.objects.filter(study_id=series.study_id, status="accepted").update(
            series_id=series.pk
        )
    for study in Study.objects.filter(source_files__isnull=False).distinct():
        first = SourceFile.objects.filter(study_id=study.pk).order_by("pk").first()
        study.name = decrypt(first.display_name)
        study.save(update_fields=["name"])



class Migration(migrations.Migration):
    dependencies = [
        ("detection", "0005_identifiers"),
    ]
    operations = [
        migrations.RunPython(encrypt_names, migrations.RunPython.noop),
        migrations.RunPython(fill_studies, migrations.RunPython.noop),
        # The column stays as it is.
        migrations.AlterField(
            model_name="sourcefile",
            name="display_name",
            field=detection.models.encryption.EncryptedTextField(),
        ),
    ]
