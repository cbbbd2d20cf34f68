"""Making accounts and giving roles: the one place where a user becomes staff."""

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import User
from accounts.roles import ROLES


@transaction.atomic
def user_create(
    *,
    username: str,
    email: str,
    role: str,
    first_name: str = "",
    last_name: str = "",
    password: str | None = None,
) -> User:
    """Create an account in one role. Without a password, nobody can sign in until one is set.

    Raises ValidationError if the role is unknown or a field is wrong or taken; then nothing is
    stored.
    """
    user = User(username=username, email=email, first_name=first_name, last_name=last_name)
    user.set_password(password)
    user.full_clean()
    user.save()
    user_set_role(user=user, role=role)
    return user


@transaction.atomic
def user_set_role(*, user: User, role: str) -> None:
    """Put a user into exactly one role; whether the user is staff follows from it.

    Raises ValidationError if the role is unknown.
    """
    if role not in ROLES:
        raise ValidationError(f"There is no role {role!r}. Choose one of {', '.join(ROLES)}.")
    user.groups.set([Group.objects.get(name=role)])
    # Nothing but the role gives rights, so that the table of roles is the whole truth.
    user.user_permissions.clear()
    user.is_staff = ROLES[role].is_staff
    user.save(update_fields=["is_staff"])
