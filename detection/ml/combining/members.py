"""Finds the members of an ensemble, and for each the network that has not seen the patients."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from detection.ml.bundle import Bundle, load_bundle, open_bundle
from detection.ml.errors import BundleError, MLError
from detection.ml.training import Judged, judged


def judged_members(
    members: Sequence[str], *, held_out: Mapping[str, str], root: Path
) -> list[Judged]:
    """Load the members and check that each has maps of the validation part to be judged by.

    Parameters
    ----------
    members : sequence of str
        Names or folders.
    held_out : mapping
        From a member, as `members` has it or by its name, to the name or folder of a bundle of the
        same training without the validation part.

    Raises
    ------
    MLError
        If the members are not at least two different networks of one preprocessing, if one that has
        seen the validation part has no stand-in, or if a stand-in cannot stand for its member.
    """
    found = {text: open_bundle(text, roots=[root]) for text in members}
    bundles = list(found.values())
    if len(members) < 2 or len({one.name for one in bundles}) < len(members):
        raise MLError("An ensemble needs at least two different members.")
    for one in bundles:
        if one.is_ensemble:
            raise MLError(f"{one.name} is itself an ensemble, and an ensemble has no ensembles.")
        if one.preprocessing != bundles[0].preprocessing:
            raise MLError(
                f"The members read images in different ways: {one.name} on another canvas or with "
                f"another window than {bundles[0].name}."
            )
    names = {text: one.name for text, one in found.items()}
    unknown = set(held_out) - set(names) - set(names.values())
    if unknown:
        raise MLError(f"--held-out names {min(unknown)}, which is no member.")
    stand_ins = [held_out.get(text) or held_out.get(one.name) for text, one in found.items()]
    return [
        judged(one, open_bundle(told, roots=[root]) if told else None, root=root)
        for one, told in zip(bundles, stand_ins, strict=True)
    ]


def check_beside(members: Sequence[Bundle], *, out: Path) -> None:
    """Refuse members that do not stand in the folder into which the ensemble goes.

    Raises
    ------
    MLError
        Naming the member.
    """
    for member in members:
        try:
            load_bundle(out / member.name, expected_digest=member.digest)
        except BundleError as error:
            raise MLError(
                f"The members of an ensemble stand beside it, and {member.name} does not stand in "
                f"{out.name}. Copy its folder there first."
            ) from error
