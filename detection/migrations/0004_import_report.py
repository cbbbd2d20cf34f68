"""One row for each file and archive member, and what a history line shows."""

import django.db.models.deletion
from django.db import migrations, models

import detection.models.encryption


class Migration(migrations.Migration):
    dependencies = [
        ('detection', '0003_volumes'),
    ]
    operations = [
        migrations.AddField(
            model_name='sourcefile',
            name='advice',
            field=models.CharField(blank=True, default='', max_length=255),
        ),
        migrations.AddField(
            model_name='sourcefile',
            name='archive_member',
            field=detection.models.encryption.EncryptedTextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='sourcefile',
            name='code',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='sourcefile',
            name='name_index',
            field=models.CharField(blank=True, db_index=True, default='', editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name='sourcefile',
            name='series',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='source_files', to='detection.series'),
        ),
        migrations.AddField(
            model_name='study',
            name='file_count',
            field=models.PositiveIntegerField(default=1, editable=False),
        ),
        migrations.AddField(
            model_name='study',
            name='largest_stone_mm',
            field=models.FloatField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='study',
            name='name',
            field=detection.models.encryption.EncryptedTextField(blank=True, default='', editable=False),
        ),
        migrations.AddField(
            model_name='study',
            name='plane',
            field=models.CharField(blank=True, default='', editable=False, max_length=16),
        ),
        migrations.AddField(
            model_name='study',
            name='size_class',
            field=models.CharField(blank=True, default='', editable=False, max_length=16),
        ),
        migrations.AddField(
            model_name='study',
            name='slices',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AlterField(
            model_name='sourcefile',
            name='display_name',
            # Still as it was sent: the next migrations encrypt it.
            field=models.TextField(),
        ),
        migrations.AlterField(
            model_name='sourcefile',
            name='status',
            field=models.CharField(choices=[('received', 'Received'), ('accepted', 'Accepted'), ('skipped', 'Skipped'), ('refused', 'Refused')], default='received', max_length=16),
        ),
    ]
