"""Refused files are in no study any more; uploads and readings can wait for the installation."""

import django.db.models.deletion
from django.db import migrations, models


ROWS_AT_ONCE = 500
# The studies that stood for files before these were imported, and for those that were refused.
PLACEHOLDERS = ["received", "importing", "not_imported"]


def placeholders_delete(apps, schema_editor):
    """Delete the studies that hold no image; their files stay in the import reports."""
    Study = apps.get_model("detection", "Study")
    SourceFile = apps.get_model("detection", "SourceFile")
    empty = Study.objects.filter(
        status__in=PLACEHOLDERS, series=None, identifier_accesses=None
    ).order_by("pk")
    while pks := list(empty.values_list("pk", flat=True)[:ROWS_AT_ONCE]):
        SourceFile.objects.filter(study__in=pks).update(study=None)
        Study.objects.filter(pk__in=pks).delete()


class Migration(migrations.Migration):

    dependencies = [
        ('detection', '0009_training_architecture'),
    ]

    operations = [
        migrations.AddField(
            model_name='prediction',
            name='faults',
            field=models.PositiveSmallIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='prediction',
            name='retry_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='series',
            name='content',
            field=models.CharField(blank=True, db_index=True, default='', editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name='sourcefile',
            name='duplicate_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='detection.study'),
        ),
        migrations.AddField(
            model_name='study',
            name='examination_index',
            field=models.CharField(blank=True, db_index=True, default='', editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name='upload',
            name='faults',
            field=models.PositiveSmallIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='upload',
            name='message',
            field=models.CharField(blank=True, default='', max_length=255),
        ),
        migrations.AddField(
            model_name='upload',
            name='retry_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AlterField(
            model_name='sourcefile',
            name='study',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='source_files', to='detection.study'),
        ),
        migrations.AlterField(
            model_name='study',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('succeeded', 'Read'), ('refused', 'Cannot assess'), ('failed', 'Failed')], default='queued', max_length=16),
        ),
        # There is no way back: an earlier release shows these files in no history.
        migrations.RunPython(placeholders_delete, migrations.RunPython.noop),
    ]
