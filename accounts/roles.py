"""The roles of a reading room and the permissions of each, as `app.codename`.

Code asks for permissions, never for a role. Permissions of other apps stand here as plain
strings: accounts imports none of them.
"""

from dataclasses import dataclass
from typing import Any


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


def roles_sync(*, group_model: Any, permission_model: Any) -> None:
    """Create the groups and give each exactly its permissions.

    The models are parameters, because a migration passes its historical ones. A permission that
    does not exist yet at that point of the history is left out: the migration that adds it to a
    role comes after the one that adds its model, and calls this again.
    """
    known = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in permission_model.objects.select_related("content_type")
    }
    for role in ROLES.values():
        group, _ = group_model.objects.get_or_create(name=role.name)
        group.permissions.set([known[name] for name in role.permissions & known.keys()])
