"""Nothing to do: `accounts.services.roles_sync` gives the roles their permissions after `migrate`.

Databases have recorded this step, and later ones come after it.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("detection", "0006_encrypt_file_names")]
    operations = []
