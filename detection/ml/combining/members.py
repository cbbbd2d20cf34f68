"""Finds the members of an ensemble, and for each the network that has not seen the patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detection.ml.bundle import Bundle, load_bundle, open_bundle
from detection.ml.errors import BundleError, MLError

_INIT_BUNDLE = "bundle "


@dataclass(frozen=True)
class Judged:
    """A member, and the bundle whose maps of the validation part stand for those of new patients.

    They are one and the same unless the member's weights have seen the validation part.
    """

    member: Bundle
    stand_in: Bundle

    @property
    def name(self) -> str:
        return self.member.name


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
    return [
        _judged(one, held_out.get(text) or held_out.get(one.name), root=root)
        for text, one in found.items()
    ]


def has_seen_validation(bundle: Bundle, *, root: Path) -> bool:
    """Say whether the weights of a bundle have seen the validation part.

    They have if their last training took it in, or if that started from a bundle that had seen it
    and that still stands beside it or in `root`.
    """
    training = bundle.manifest.get("training", {})
    if training.get("refit"):
        return True
    init = str(training.get("init", ""))
    if not init.startswith(_INIT_BUNDLE):
        return False
    name = init.removeprefix(_INIT_BUNDLE)
    for folder in (bundle.path.resolve().parent, root):
        try:
            return has_seen_validation(load_bundle(folder / name), root=root)
        except BundleError:
            continue
    return False


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


def check_parts(bundle: Bundle, *, parts: Mapping[str, int], fingerprint: str) -> None:
    """Refuse a bundle that was trained on other parts than those of the data folder.

    A bundle of other data may have seen the patients that are to judge it. New boxes change the
    fingerprint and leave the parts as they are.

    Raises
    ------
    MLError
        If neither the fingerprint nor the sizes of the parts agree.
    """
    told = bundle.manifest
    if told.get("data", {}).get("fingerprint") != fingerprint and told.get("split") != parts:
        raise MLError(
            f"{bundle.name} was trained on other parts than those of this data folder: it may know "
            "the patients that would judge it."
        )


def _judged(member: Bundle, held_out: str | None, *, root: Path) -> Judged:
    if held_out is None:
        if has_seen_validation(member, root=root):
            raise MLError(
                f"The weights of {member.name} have seen the validation part. Please name a bundle "
                f"of the same training without it: --held-out {member.name}=BUNDLE."
            )
        return Judged(member=member, stand_in=member)
    stand_in = open_bundle(held_out, roots=[root])
    if has_seen_validation(stand_in, root=root):
        raise MLError(
            f"{stand_in.name} cannot stand for {member.name}: it has seen the validation part too."
        )
    if (stand_in.backbone, stand_in.preprocessing) != (member.backbone, member.preprocessing):
        raise MLError(
            f"{stand_in.name} cannot stand for {member.name}: it is another architecture, or reads "
            "images in another way."
        )
    return Judged(member=member, stand_in=stand_in)
