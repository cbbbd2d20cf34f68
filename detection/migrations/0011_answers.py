"""The answer of a study is the most suspicious one of its series, and has an extent."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ROWS_AT_ONCE = 500


def fill(apps, schema_editor):
    readings = apps.get_model("detection", "Prediction").objects
    for reading in readings.select_related("series").order_by("pk").iterator(ROWS_AT_ONCE):
        readings.filter(pk=reading.pk).update(**extent(reading))
    for study in apps.get_model("detection", "Study").objects.order_by("pk").iterator(ROWS_AT_ONCE):
        type(study).objects.filter(pk=study.pk).update(**answer(study, readings))


def extent(reading):
    # Earlier releases kept no count of slices that belong to a series and are not in its volume.
    read = sum(value is not None for value in reading.slice_probabilities)
    # The first release kept no scores of single images.
    if not reading.slice_probabilities and reading.status == "succeeded":
        read = reading.series.slices
    mm = reading.series.slice_spacing_mm
    return {
        "slices_read": read,
        "slices_given": reading.series.slices,
        "height_mm": read * mm if read and mm else None,
    }


def answer(study, readings):
    """Return what a study gets: a stone that any of its series shows, else the answer it had."""
    newest = {}
    for reading in readings.filter(series__study=study).select_related("series").order_by("pk"):
        if reading.status in ("succeeded", "refused"):
            newest[reading.series_id] = reading
    chosen = next((one for one in newest.values() if one.series.is_first), None)
    stones = [one for one in newest.values() if one.verdict == "stone"]
    deciding = max(stones, key=lambda one: one.probability, default=None)
    is_final = study.status in ("succeeded", "refused", "failed")
    if deciding is None or not is_final:
        deciding = chosen if study.status in ("succeeded", "refused") else None
    series_count = study.series.count()
    if deciding is None:
        return {"series_unread": 0}
    told = {
        "prediction_id": deciding.pk,
        "slices_read": deciding.slices_read,
        "slices_given": deciding.slices_given,
        "height_mm": deciding.height_mm,
        "series_read": 1,
        "series_unread": series_count - 1,
    }
    if deciding.verdict == "stone" and study.verdict != "stone":
        told |= {
            "status": deciding.status,
            "verdict": deciding.verdict,
            "probability": deciding.probability,
            "message": deciding.message,
            "slices": deciding.series.slices,
            "plane": deciding.series.plane,
        }
    return told


class Migration(migrations.Migration):
    dependencies = [
        ("detection", "0010_refused_files_and_faults"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.AlterModelOptions(
            name="series",
            options={
                "verbose_name_plural": "series",
                "permissions": [
                    ("set_aside_series", "Can set a series aside, so that it has no say")
                ],
            },
        ),
        migrations.RenameField("series", "is_chosen", "is_first"),
        migrations.AddField("series", "is_aside", models.BooleanField(default=False, editable=False)),
        migrations.AddField(
            "series",
            "scan",
            models.CharField(blank=True, default="", editable=False, max_length=64),
        ),
        *(
            migrations.AddField(
                model, name, models.PositiveIntegerField(default=0, editable=False)
            )
            for model, name in (
                ("prediction", "slices_read"),
                ("prediction", "slices_given"),
                ("study", "slices_read"),
                ("study", "slices_given"),
                ("study", "series_read"),
                ("study", "series_unread"),
                ("study", "series_aside"),
            )
        ),
        *(
            migrations.AddField(
                model, "height_mm", models.FloatField(blank=True, editable=False, null=True)
            )
            for model in ("prediction", "study")
        ),
        migrations.AddField(
            "study", "has_stone_aside", models.BooleanField(default=False, editable=False)
        ),
        migrations.AddField(
            "study",
            "prediction",
            models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="detection.prediction",
            ),
        ),
        migrations.CreateModel(
            name="SeriesAside",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("is_aside", models.BooleanField()),
                ("reason", models.CharField(max_length=255)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "series",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="asides",
                        to="detection.series",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="series_asides",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "series set aside",
                "verbose_name_plural": "series set aside",
                "ordering": ["-id"],
                "default_permissions": ("view",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True),
                        name="series_aside_has_reason",
                    )
                ],
            },
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
