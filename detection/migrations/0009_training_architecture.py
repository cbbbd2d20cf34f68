from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("detection", "0008_notices")]

    operations = [
        migrations.AddField(
            model_name="trainingrun",
            name="architecture",
            # What every run trained before there was a choice.
            field=models.CharField(default="resnet50", max_length=40),
        ),
    ]
