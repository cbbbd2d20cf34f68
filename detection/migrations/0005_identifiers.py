"""Identifiers in a table of their own, and who has seen them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import detection.models.encryption


class Migration(migrations.Migration):
    dependencies = [
        ('detection', '0004_import_report'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.AlterModelOptions(
            name='study',
            options={'permissions': [('view_all_studies', 'Can see the studies of every user'), ('view_pixels', 'Can see the images of a study'), ('view_identifiers', 'Can see whose study it is, and the names of its files')], 'verbose_name_plural': 'studies'},
        ),
        migrations.CreateModel(
            name='IdentifierAccess',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('study', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='identifier_accesses', to='detection.study')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='identifier_accesses', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'identifier accesses',
                'ordering': ['-id'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='StudyIdentifiers',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('patient_id', detection.models.encryption.EncryptedTextField(blank=True, default='')),
                ('patient_name', detection.models.encryption.EncryptedTextField(blank=True, default='')),
                ('birth_date', detection.models.encryption.EncryptedTextField(blank=True, default='')),
                ('accession_number', detection.models.encryption.EncryptedTextField(blank=True, default='')),
                ('study_uid', detection.models.encryption.EncryptedTextField(blank=True, default='')),
                ('patient_id_index', models.CharField(blank=True, db_index=True, default='', max_length=64)),
                ('accession_number_index', models.CharField(blank=True, db_index=True, default='', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('study', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='identifiers', to='detection.study')),
            ],
            options={
                'verbose_name_plural': 'study identifiers',
                'default_permissions': (),
            },
        ),
    ]
