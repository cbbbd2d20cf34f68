"""The demonstration accounts: only on a demonstration installation, and once."""

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User

pytestmark = pytest.mark.django_db


def test_demo_accounts_are_made_once(settings, capsys):
    settings.KIDNEYWEB_DEMO = True
    settings.IS_LOOPBACK = True

    call_command("seed_demo")
    call_command("seed_demo")

    users = {user.username: user for user in User.objects.all()}
    assert {name: user.groups.get().name for name, user in users.items()} == {
        "radiologist": "radiologist",
        "lead": "lead",
        "admin1": "administrator",
        "admin2": "administrator",
    }
    for user in users.values():
        assert user.check_password("demo-kidney-2026")
        assert user.email.endswith("@example.org")
        assert "synthetic" in user.get_full_name()


@pytest.mark.parametrize(("demo", "is_loopback"), [(False, True), (True, False)])
def test_demo_accounts_are_refused_elsewhere(settings, demo, is_loopback):
    settings.KIDNEYWEB_DEMO = demo
    settings.IS_LOOPBACK = is_loopback

    with pytest.raises(CommandError, match="public password"):
        call_command("seed_demo")

    assert not User.objects.exists()
