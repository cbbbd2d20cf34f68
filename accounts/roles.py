"""The roles of a reading room and the permissions of each, as `app.codename`.

Code asks for permissions, never for a role. Permissions of other apps stand here as plain
strings: accounts imports none of them. After `migrate` the groups hold exactly what stands here.
"""

from dataclasses import dataclass

from django.apps import apps
from django.contrib.auth import get_permission_codename


@dataclass(frozen=True)
class Role:
    """A group of that name, and whether its members may open the administration pages."""

    name: str
    permissions: frozenset[str]
    is_staff: bool = False


RADIOLOGIST = Role(
    "radiologist",
    frozenset(
        {
            "detection.add_study",
            "detection.view_study",
            "detection.view_pixels",
            "detection.view_identifiers",
        }
    ),
)
LEAD = Role(
    "lead",
    RADIOLOGIST.permissions
    | {
        "detection.view_all_studies",
        "detection.view_modelversion",
        "detection.view_trainingrun",
        "detection.set_aside_series",
    },
)
# Reads history and logs, and sees no image, no identifier and no file name.
AUDITOR = Role(
    "auditor",
    frozenset(
        {
            "detection.view_study",
            "detection.view_all_studies",
            "detection.view_prediction",
            "detection.view_modelversion",
            "detection.view_modelactivation",
            "detection.view_trainingrun",
            "detection.view_identifieraccess",
            "detection.view_seriesaside",
            "accounts.view_user",
        }
    ),
    is_staff=True,
)
ADMINISTRATOR = Role(
    "administrator",
    AUDITOR.permissions
    | {
        "detection.view_pixels",
        "detection.view_finding",
        "detection.view_datasetsnapshot",
        "detection.view_upload",
        "detection.view_sourcefile",
        "detection.view_series",
        "detection.activate_modelversion",
        "detection.add_trainingrun",
        "detection.change_trainingrun",
        "accounts.add_user",
        "accounts.change_user",
    },
    is_staff=True,
)
ROLES = {role.name: role for role in (RADIOLOGIST, LEAD, ADMINISTRATOR, AUDITOR)}


def undeclared_permissions() -> list[tuple[str, str]]:
    """Return the (role, permission) pairs whose permission no installed model declares."""
    declared = set()
    for model in apps.get_models():
        options = model._meta
        names = [get_permission_codename(action, options) for action in options.default_permissions]
        names += [codename for codename, _ in options.permissions]
        declared.update(f"{options.app_label}.{name}" for name in names)
    return [
        (role.name, permission)
        for role in ROLES.values()
        for permission in sorted(role.permissions - declared)
    ]
