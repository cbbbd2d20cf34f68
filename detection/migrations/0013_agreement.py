"""Findings count the members of an ensemble that see them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("detection", "0012_pending_and_names")]

    operations = [
        migrations.AddField(
            model_name="finding",
            name="members_seeing",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="finding",
            name="members",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="finding",
            constraint=models.CheckConstraint(
                condition=models.Q(members_seeing__isnull=True, members__isnull=True)
                | models.Q(
                    members_seeing__isnull=False,
                    members__isnull=False,
                    members_seeing__lte=models.F("members"),
                ),
                name="finding_seen_by_members",
            ),
        ),
    ]
