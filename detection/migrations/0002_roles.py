"""Nothing to do: `accounts.services.roles_sync` makes the groups of the roles after `migrate`.

Databases have recorded this step, and later ones come after it.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("detection", "0001_initial"),
        ("accounts", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = []
