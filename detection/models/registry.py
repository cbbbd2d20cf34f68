"""The model registry: versions, their activations, trainings and the data these saw."""

import uuid

from django.conf import settings
from django.db import models

from detection.ml.backbones import BACKBONES


class DatasetSnapshot(models.Model):
    """One state of a data folder that was trained on, told by the fingerprint of its content."""

    folder = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, unique=True)
    images = models.PositiveIntegerField()
    stone_images = models.PositiveIntegerField()
    groups = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.folder} ({self.fingerprint[:12]})"


class TrainingRun(models.Model):
    """One retraining that an administrator asked for; the training worker runs it as a child."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    FINAL_STATUSES = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="training_runs"
    )
    # A folder name below TRAINING_DATA_ROOT, never a path of the server.
    data_folder = models.CharField(max_length=255)
    # A name of `BACKBONES`. The code decides which there are, so that the database lists none.
    architecture = models.CharField(max_length=40, default="resnet50")
    seed = models.PositiveIntegerField(default=1)
    epochs = models.PositiveSmallIntegerField(default=2)
    # `selectors.training.TrainingPlan.options`; {} in a run that is older than the choice.
    options = models.JSONField(default=dict, blank=True, editable=False)
    snapshot = models.ForeignKey(
        DatasetSnapshot, on_delete=models.PROTECT, null=True, blank=True, editable=False
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    # {"stage": "train", "epoch": 1, "epochs": 2, "fraction": 0.4, "seconds_left": 31}
    progress = models.JSONField(default=dict, blank=True, editable=False)
    cancel_requested = models.BooleanField(default=False, editable=False)
    message = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(status="failed") | ~models.Q(message=""),
                name="training_run_failed_has_message",
            ),
        ]
        indexes = [models.Index(fields=["status", "heartbeat_at"], name="training_run_stale")]

    def __str__(self) -> str:
        return f"Training run {self.pk}"

    @property
    def architecture_title(self) -> str:
        """Return the architecture's title, or its name if this release has it no more."""
        known = BACKBONES.get(self.architecture)
        return known.title if known else self.architecture

    @property
    def is_finished(self) -> bool:
        return self.status in self.FINAL_STATUSES


class ModelVersion(models.Model):
    """One model bundle that this installation knows; the bundle's folder never changes."""

    class Origin(models.TextChoices):
        SHIPPED = "shipped", "Shipped with the project"
        SITE = "site", "Trained here"

    # The bundle and its folder share it; the folder is below ml_models/ (shipped) or MODEL_ROOT.
    name = models.CharField(max_length=100, unique=True)
    origin = models.CharField(max_length=16, choices=Origin)
    # SHA-256 of the bundle's model.json, which holds the checksums of the other files.
    digest = models.CharField(max_length=64)
    operating_point = models.JSONField()
    metrics = models.JSONField(default=dict, blank=True)
    training_run = models.OneToOneField(
        TrainingRun,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="model_version",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        permissions = [("activate_modelversion", "Can put a model version into service")]

    def __str__(self) -> str:
        return self.name


class ModelActivation(models.Model):
    """One moment at which a model version went into service, in a log that only grows.

    The newest row names the model in service, and going back is one more row.
    """

    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="activations"
    )
    # Empty for the first activation, which the installation makes by itself.
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True
    )
    note = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.model_version} since {self.created_at:%Y-%m-%d %H:%M}"
