"""The model registry: recording bundles, and putting one of them into service."""

import logging
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import User
from detection.ml.bundle import MANIFEST_NAME, Bundle, load_bundle, load_default_bundle
from detection.ml.errors import BundleError
from detection.models import ModelActivation, ModelVersion, TrainingRun
from detection.selectors.model_card import model_members
from detection.selectors.registry import model_root, model_version_active, model_version_path

logger = logging.getLogger(__name__)


def model_version_register(
    *, path: Path, origin: str, training_run: TrainingRun | None = None
) -> ModelVersion:
    """Record a bundle as a model version. It is not put into service.

    Registering the same bundle again returns the version that is there. Raises ValidationError if
    the bundle is missing or damaged, lies elsewhere than bundles of its origin do, or bears a name
    that another one has.
    """
    if path.resolve().parent != model_root(origin=origin).resolve():
        raise ValidationError(
            f"The bundle {path.name} must lie directly below {model_root(origin=origin)}."
        )
    return _record(_verified(path), origin=origin, training_run=training_run)


@transaction.atomic
def shipped_model_register() -> ModelVersion:
    """Record the default bundle of the project, and put it into service if none can serve.

    That is so at the start, and after an update that brought another bundle in the place of the
    shipped one in service, or of a member that it needs. Repeating it changes nothing. Raises
    ValidationError if the bundle is missing or damaged.
    """
    try:
        bundle = load_default_bundle(Path(settings.SHIPPED_MODEL_ROOT))
    except BundleError as error:
        raise ValidationError(str(error)) from error
    model_version = _record(bundle, origin=ModelVersion.Origin.SHIPPED)
    active = model_version_active()
    if active is None:
        note = "The model this installation began with."
    elif (gone := _retired(active)) and active != model_version:
        why = "was in service" if gone == active.name else f"{active.name} needs"
        note = f"The update no longer brings {gone}, which {why}."
    else:
        return model_version
    model_version_activate(model_version=model_version, activated_by=None, note=note)
    return model_version


def shipped_others_register() -> tuple[list[ModelVersion], list[str]]:
    """Record the bundles that came with the project beside its default one, as candidates.

    Returns
    -------
    versions : list of ModelVersion
        Those that can serve.
    problems : list of str
        A sentence for each that cannot: it keeps nothing else from being recorded.
    """
    root = Path(settings.SHIPPED_MODEL_ROOT)
    versions, problems = [], []
    for manifest in sorted(root.glob(f"*/{MANIFEST_NAME}")):
        try:
            versions.append(
                model_version_register(path=manifest.parent, origin=ModelVersion.Origin.SHIPPED)
            )
        except ValidationError as error:
            problems += error.messages
    return versions, problems


def _retired(model_version: ModelVersion) -> str:
    """Name the bundle that came with the project and has left its tree since; "" if none has.

    It is that of the version, or of a member without which an ensemble does not serve.
    """
    if model_version.origin != ModelVersion.Origin.SHIPPED:
        return ""
    path = model_version_path(model_version=model_version)
    needed = [path, *(member.path for member in model_members(model_version=model_version))]
    return next((one.name for one in needed if not one.exists()), "")


def model_version_activate(
    *, model_version: ModelVersion, activated_by: User | None, note: str = ""
) -> ModelActivation:
    """Put a model version into service for new predictions.

    Every activation goes through here, and going back is one more. Each adds a row to the log.
    Raises ValidationError, and changes nothing, if the bundle or a member of it is missing or
    damaged, or if the version is in service already.
    """
    _verified(model_version_path(model_version=model_version), expected_digest=model_version.digest)
    with transaction.atomic():
        # Two people who press the button at once make one entry.
        ModelVersion.objects.select_for_update().get(pk=model_version.pk)
        if model_version_active() == model_version:
            raise ValidationError(f"The model version {model_version.name} is in service already.")
        activation = ModelActivation.objects.create(
            model_version=model_version, activated_by=activated_by, note=note
        )
    logger.info(
        "model version activated",
        extra={"model_version": model_version.pk, "activation": activation.pk},
    )
    return activation


def _verified(path: Path, *, expected_digest: str | None = None) -> Bundle:
    try:
        return load_bundle(path, expected_digest=expected_digest)
    except BundleError as error:
        raise ValidationError(str(error)) from error


def _record(
    bundle: Bundle, *, origin: str, training_run: TrainingRun | None = None
) -> ModelVersion:
    # The folder is found again by the version's name.
    if bundle.name != bundle.path.name:
        raise ValidationError(
            f"The bundle in the folder {bundle.path.name} calls itself {bundle.name}. "
            "Rename the folder to the bundle's name."
        )
    model_version, is_new = ModelVersion.objects.get_or_create(
        name=bundle.name,
        defaults={
            "origin": origin,
            "digest": bundle.digest,
            "operating_point": bundle.operating_point,
            "metrics": bundle.metrics,
            "training_run": training_run,
        },
    )
    if (model_version.digest, model_version.origin) != (bundle.digest, origin):
        raise ValidationError(
            f"Another bundle is registered as {bundle.name}, with other content. A bundle never "
            "changes: give the new one a name of its own."
        )
    if is_new:
        logger.info("model version registered", extra={"model_version": model_version.pk})
    return model_version
