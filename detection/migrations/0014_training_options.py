from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("detection", "0013_agreement")]

    operations = [
        migrations.AddField(
            model_name="trainingrun",
            name="options",
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
    ]
