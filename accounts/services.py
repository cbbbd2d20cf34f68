"""Making accounts and giving roles: the one place where a user becomes staff."""

from django.apps import apps as installed_apps
from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group
from django.contrib.contenttypes.management import create_contenttypes
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DEFAULT_DB_ALIAS, transaction

from accounts.models import User
from accounts.roles import ROLES, undeclared_permissions


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


def roles_sync(*, apps: Apps = installed_apps, using: str = DEFAULT_DB_ALIAS) -> None:
    """Give the groups of the roles exactly the permissions of the table, and no others.

    A missing group comes back, users keep their groups, and a member may open the administration
    if the role may. A permission that was added to a role by hand is taken back: the table is the
    whole truth about a role. Groups that are no role are left alone. Repeating it writes nothing.

    `apps` holds the models as the migrations have left them. While the migrations stand half way,
    a permission of a later model is left out; the sync after the last one adds it. Raises
    ImproperlyConfigured if a permission is one that no model declares.
    """
    for role_name, permission in undeclared_permissions():
        raise ImproperlyConfigured(
            f"The role {role_name} names the permission {permission}, which no model has."
        )
    try:
        group_model = apps.get_model("auth", "Group")
        permission_model = apps.get_model("auth", "Permission")
        user_model = apps.get_model("accounts", "User")
    except LookupError:
        # The migrations stand before the ones that make these tables.
        return
    named = {permission for role in ROLES.values() for permission in role.permissions}
    labels = {permission.partition(".")[0] for permission in named}
    # Django makes permissions app by app after `migrate`, and some apps come after this one.
    for label in sorted(labels):
        config = installed_apps.get_app_config(label)
        create_contenttypes(config, verbosity=0, using=using, apps=apps)
        create_permissions(config, verbosity=0, using=using, apps=apps)
    with transaction.atomic(using=using):
        known = {
            f"{permission.content_type.app_label}.{permission.codename}": permission
            for permission in permission_model.objects.using(using)
            .filter(content_type__app_label__in=labels)
            .select_related("content_type")
        }
        for role in ROLES.values():
            group, _ = group_model.objects.using(using).get_or_create(name=role.name)
            group.permissions.set([known[name] for name in role.permissions & known.keys()])
        members = user_model.objects.using(using).filter(is_superuser=False)
        staff = members.filter(groups__name__in=[r.name for r in ROLES.values() if r.is_staff])
        others = members.filter(groups__name__in=ROLES).exclude(pk__in=staff.values("pk"))
        for people, is_staff in ((staff, True), (others, False)):
            wrong = list(people.exclude(is_staff=is_staff).values_list("pk", flat=True))
            if wrong:
                user_model.objects.using(using).filter(pk__in=wrong).update(is_staff=is_staff)
