"""Studies count the series that are still being read, and are found by the name they show."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("detection", "0011_answers")]

    operations = [
        migrations.AddField(
            model_name="study",
            name="series_pending",
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="study",
            name="name_index",
            field=models.CharField(
                blank=True, db_index=True, default="", editable=False, max_length=64
            ),
        ),
    ]
