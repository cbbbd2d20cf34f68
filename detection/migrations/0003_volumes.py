"""What is known of a volume, how far its reading is, and measured stones."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('detection', '0002_roles'),
    ]
    operations = [
        migrations.AddField(
            model_name='finding',
            name='diameter_mm',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='mean_hu',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='peak_hu',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='side',
            field=models.CharField(blank=True, default='', max_length=16),
        ),
        migrations.AddField(
            model_name='finding',
            name='size_class',
            field=models.CharField(blank=True, default='', max_length=16),
        ),
        migrations.AddField(
            model_name='finding',
            name='slice_first',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='slice_last',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='volume_mm3',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='x_mm',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='y_mm',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='finding',
            name='z_mm',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='prediction',
            name='coronal_positions_mm',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name='prediction',
            name='coronal_probabilities',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name='prediction',
            name='key_slices',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name='prediction',
            name='slice_probabilities',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name='prediction',
            name='slices_done',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='prediction',
            name='slices_total',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='series',
            name='deidentification',
            field=models.CharField(blank=True, default='', max_length=255),
        ),
        migrations.AddField(
            model_name='series',
            name='description',
            field=models.CharField(blank=True, default='', max_length=255),
        ),
        migrations.AddField(
            model_name='series',
            name='is_chosen',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='series',
            name='slice_spacing_mm',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='series',
            name='warnings',
            field=models.JSONField(blank=True, default=list),
        ),
    ]
