"""Says what the weights of a bundle have seen, and which bundle judges it on unknown patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detection.ml.bundle import Bundle, load_bundle
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


def check_parts(bundle: Bundle, *, parts: Mapping[str, int], fingerprint: str) -> None:
    """Refuse a bundle that was trained on other parts than those of the data folder.

    A bundle of other data may have seen the patients that are to judge it. New boxes change the
    fingerprint and leave the parts as they are.

    Raises
    ------
    MLError
        If the sizes of the parts differ, or the fingerprints where the bundle tells no sizes.
    """
    told, sizes = bundle.manifest.get("data", {}), bundle.manifest.get("split")
    differs = sizes != parts if sizes else told.get("fingerprint") != fingerprint
    if differs:
        raise MLError(
            f"{bundle.name} was trained on other parts than those of this data folder: it may know "
            "the patients that would judge it."
        )


def judged(member: Bundle, stand_in: Bundle | None, *, root: Path) -> Judged:
    """Return a bundle with that which judges it.

    Parameters
    ----------
    stand_in : Bundle, optional
        A bundle of the same training without the validation part.
    root : Path
        Where the bundles stand that weights may have started from.

    Raises
    ------
    MLError
        If weights that have seen the validation part have no stand-in, or one that cannot stand
        for them.
    """
    if stand_in is None:
        if has_seen_validation(member, root=root):
            raise MLError(
                f"The weights of {member.name} have seen the validation part. Give a bundle that "
                "was trained alike without it with --held-out."
            )
        return Judged(member=member, stand_in=member)
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
