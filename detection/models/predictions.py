"""Predictions and the findings they located."""

import uuid

from django.db import models

from detection.models.registry import ModelVersion
from detection.models.studies import Series, Study


class Prediction(models.Model):
    """One reading of one series by one model version, never edited once it has finished."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        REFUSED = "refused", "Cannot assess"
        FAILED = "failed", "Failed"

    FINAL_STATUSES = (Status.SUCCEEDED, Status.REFUSED, Status.FAILED)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="predictions")
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="predictions"
    )
    # Copied from the model version, so that a re-tuned threshold never rewrites history. A
    # finished reading holds the point that decided: a series has one of its own.
    operating_point = models.JSONField()
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    verdict = models.CharField(max_length=16, choices=Study.Verdict, blank=True)
    probability = models.FloatField(null=True, blank=True, editable=False)
    # For the reader: why the series was not assessed, why the reading failed, or why it waits.
    message = models.CharField(max_length=255, blank=True)
    # [{"code": "series_rule", "text": "..."}]: those of the reading; the series has its own.
    notices = models.JSONField(default=list, blank=True)
    # How far a running reading has come; both 0 until the first slices are read.
    slices_done = models.PositiveIntegerField(default=0, editable=False)
    slices_total = models.PositiveIntegerField(default=0, editable=False)
    # One probability for each acquired slice: null where it could not be
    # assessed. The lists are empty where nothing was read.
    slice_probabilities = models.JSONField(default=list, blank=True)
    coronal_probabilities = models.JSONField(default=list, blank=True)
    coronal_positions_mm = models.JSONField(default=list, blank=True)
    # How many slices of the series were read, of how many, and how far they reach where that is
    # known; the notices name the others.
    slices_read = models.PositiveIntegerField(default=0, editable=False)
    slices_given = models.PositiveIntegerField(default=0, editable=False)
    height_mm = models.FloatField(null=True, blank=True, editable=False)
    # The slices to look at first, by number from 0.
    key_slices = models.JSONField(default=list, blank=True)
    # The file of the stone map, relative to MEDIA_ROOT; empty if there is none.
    map_path = models.CharField(max_length=255, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    # While the installation cannot read it: since how many attempts, and when the next is.
    faults = models.PositiveSmallIntegerField(default=0, editable=False)
    retry_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(probability__isnull=True)
                | models.Q(probability__gte=0, probability__lte=1),
                name="prediction_probability_in_unit_interval",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="succeeded")
                | models.Q(probability__isnull=False, verdict__in=["stone", "no_stone"]),
                name="prediction_succeeded_has_verdict",
            ),
            models.CheckConstraint(
                condition=models.Q(status="succeeded") | models.Q(probability__isnull=True),
                name="prediction_unfinished_has_no_probability",
            ),
            models.CheckConstraint(
                condition=~models.Q(status__in=["refused", "failed"]) | ~models.Q(message=""),
                name="prediction_without_verdict_has_message",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "heartbeat_at"], name="prediction_stale"),
            models.Index(fields=["-created_at", "-id"], name="prediction_newest"),
        ]

    def __str__(self) -> str:
        return f"Prediction {self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status in self.FINAL_STATUSES

    @property
    def elapsed_seconds(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


class Finding(models.Model):
    """One stone candidate of a prediction, with its box in pixels of the slice that shows it best.

    In a volume it may span neighbouring slices and be measured. Unknown numbers are null.
    """

    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="findings")
    rank = models.PositiveSmallIntegerField()
    plane = models.CharField(max_length=16)
    slice_index = models.PositiveIntegerField(default=0)
    x0 = models.FloatField()
    y0 = models.FloatField()
    x1 = models.FloatField()
    y1 = models.FloatField()
    probability = models.FloatField()
    # The longer side of the box, on a picture of known pixel spacing. It is no stone size.
    extent_mm = models.FloatField(null=True, blank=True)
    # In a volume: the first and the last slice of the plane that show it.
    slice_first = models.PositiveIntegerField(null=True, blank=True)
    slice_last = models.PositiveIntegerField(null=True, blank=True)
    # In a volume in HU, measured by the half-maximum contour.
    diameter_mm = models.FloatField(null=True, blank=True)
    volume_mm3 = models.FloatField(null=True, blank=True)
    mean_hu = models.FloatField(null=True, blank=True)
    peak_hu = models.FloatField(null=True, blank=True)
    size_class = models.CharField(max_length=16, blank=True, default="")
    side = models.CharField(max_length=16, blank=True, default="")
    # The centre in the patient's coordinates: to the left, to the back, to the head.
    x_mm = models.FloatField(null=True, blank=True)
    y_mm = models.FloatField(null=True, blank=True)
    z_mm = models.FloatField(null=True, blank=True)
    # How many members of an ensemble see it, and of how many; null for a single network.
    members_seeing = models.PositiveSmallIntegerField(null=True, blank=True)
    members = models.PositiveSmallIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["rank"]
        constraints = [
            models.UniqueConstraint(fields=["prediction", "rank"], name="finding_rank_unique"),
            models.CheckConstraint(
                condition=models.Q(probability__gte=0, probability__lte=1),
                name="finding_probability_in_unit_interval",
            ),
            models.CheckConstraint(
                condition=models.Q(x1__gt=models.F("x0"), y1__gt=models.F("y0")),
                name="finding_box_not_empty",
            ),
            models.CheckConstraint(
                condition=models.Q(members_seeing__isnull=True, members__isnull=True)
                | models.Q(
                    members_seeing__isnull=False,
                    members__isnull=False,
                    members_seeing__lte=models.F("members"),
                ),
                name="finding_seen_by_members",
            ),
        ]

    def __str__(self) -> str:
        return f"Finding {self.rank} of prediction {self.prediction_id}"
