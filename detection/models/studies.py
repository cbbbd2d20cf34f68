"""Uploads, the studies and series made of them, and the rows of the import report."""

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.urls import reverse

from detection.models.encryption import EncryptedTextField

if TYPE_CHECKING:
    from detection.models.predictions import Prediction


class Upload(models.Model):
    """The files that one person sent in one go; they are imported together."""

    class Status(models.TextChoices):
        RECEIVED = "received", "Received"
        IMPORTING = "importing", "Importing"
        FINISHED = "finished", "Finished"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="uploads"
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.RECEIVED)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    # A living worker finds the rows of a dead one by an old heartbeat.
    heartbeat_at = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    # While the installation cannot import it: why, since how many attempts, and when the next is.
    message = models.CharField(max_length=255, blank=True, default="")
    faults = models.PositiveSmallIntegerField(default=0, editable=False)
    retry_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        indexes = [models.Index(fields=["status", "heartbeat_at"], name="upload_stale")]

    def __str__(self) -> str:
        return f"Upload {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("upload-detail", args=[self.uuid])

    @property
    def is_finished(self) -> bool:
        return self.status == self.Status.FINISHED


class Study(models.Model):
    """One examination as the reading room shows it: a picture, a volume file or a DICOM study.

    Its answer is the most suspicious one of its series. All that a list shows of it is copied here,
    so that the history reads one table.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Read"
        REFUSED = "refused", "Cannot assess"
        FAILED = "failed", "Failed"

    class Verdict(models.TextChoices):
        STONE = "stone", "Stone suspected"
        NO_STONE = "no_stone", "No stone suspected"
        CANNOT_ASSESS = "cannot_assess", "Cannot assess"

    FINAL_STATUSES = (Status.SUCCEEDED, Status.REFUSED, Status.FAILED)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="studies")
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="studies"
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    verdict = models.CharField(max_length=16, choices=Verdict, blank=True)
    probability = models.FloatField(null=True, blank=True, editable=False)
    # For the reader: why the series was not assessed, why the reading failed, or why it waits.
    message = models.CharField(max_length=255, blank=True)
    # The name of its first file as it was sent, shown to users who may see identifiers.
    name = EncryptedTextField(blank=True, default="", editable=False)
    # Keyed index of it without its ending: the files of an archive have only their own names'.
    name_index = models.CharField(
        max_length=64, blank=True, default="", db_index=True, editable=False
    )
    file_count = models.PositiveIntegerField(default=1, editable=False)
    # Keyed index of the examination that its DICOM files name; two uploads may hold parts of one.
    examination_index = models.CharField(
        max_length=64, blank=True, default="", db_index=True, editable=False
    )
    # The reading that decided, if there is an answer.
    prediction = models.ForeignKey(
        "detection.Prediction",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    # What the answer speaks for: slices of so many series, read and in all. The height is that of
    # one series, where it is known.
    slices_read = models.PositiveIntegerField(default=0, editable=False)
    slices_given = models.PositiveIntegerField(default=0, editable=False)
    height_mm = models.FloatField(null=True, blank=True, editable=False)
    series_read = models.PositiveIntegerField(default=0, editable=False)
    # Series that no answer speaks for, those of them that are still being read counted apart, and
    # those that were set aside.
    series_unread = models.PositiveIntegerField(default=0, editable=False)
    series_pending = models.PositiveIntegerField(default=0, editable=False)
    series_aside = models.PositiveIntegerField(default=0, editable=False)
    has_stone_aside = models.BooleanField(default=False, editable=False)
    # Copied from the series that decided, or is shown first, and from its reading.
    slices = models.PositiveIntegerField(default=0, editable=False)
    plane = models.CharField(max_length=16, blank=True, default="", editable=False)
    largest_stone_mm = models.FloatField(null=True, blank=True, editable=False)
    size_class = models.CharField(max_length=16, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "studies"
        permissions = [
            ("view_all_studies", "Can see the studies of every user"),
            ("view_pixels", "Can see the images of a study"),
            ("view_identifiers", "Can see whose study it is, and the names of its files"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(probability__isnull=True)
                | models.Q(probability__gte=0, probability__lte=1),
                name="study_probability_in_unit_interval",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="study_newest"),
            models.Index(fields=["uploaded_by", "-created_at", "-id"], name="study_newest_of_user"),
            models.Index(fields=["verdict", "-created_at"], name="study_verdict"),
            models.Index(fields=["status", "-created_at"], name="study_status"),
        ]

    def __str__(self) -> str:
        return f"Study {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("study-detail", args=[self.uuid])

    @property
    def is_final(self) -> bool:
        return self.status in self.FINAL_STATUSES


class Series(models.Model):
    """One decoded stack of slices, kept as a volume file in canonical orientation.

    The file lies below MEDIA_ROOT and no address serves it. Views send cuts of it and, for the 3D
    view, a reduced copy.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="series")
    volume_path = models.CharField(max_length=255, editable=False)
    slices = models.PositiveIntegerField()
    rows = models.PositiveIntegerField()
    columns = models.PositiveIntegerField()
    # Hounsfield units, else 8-bit grey whose HU are lost.
    is_hu = models.BooleanField()
    plane = models.CharField(max_length=16)
    row_spacing_mm = models.FloatField(null=True, blank=True)
    column_spacing_mm = models.FloatField(null=True, blank=True)
    slice_spacing_mm = models.FloatField(null=True, blank=True)
    # Our own words, such as "axial, 300 slices, 1.0 mm": never the file's description.
    description = models.CharField(max_length=255, blank=True, default="")
    # [{"code": "missing_slices", "text": "About 2 slices are missing ..."}]: of the import.
    notices = models.JSONField(default=list, blank=True)
    # SHA-256 of pixels, geometry and examination: the same series is not stored twice. "" for
    # series of before.
    content = models.CharField(max_length=64, blank=True, default="", db_index=True, editable=False)
    # The one to look at first, by rule, as long as none has decided. One series of a study is.
    is_first = models.BooleanField(default=True)
    # An opaque key: series of one study with the same one are reconstructions of one scan.
    scan = models.CharField(max_length=64, blank=True, default="", editable=False)
    # What the newest `SeriesAside` says.
    is_aside = models.BooleanField(default=False, editable=False)
    # The method by which everything that names a person was left out of the stored volume.
    deidentification = models.CharField(max_length=255, blank=True, default="")

    # Prefetched by `selectors.studies.series_list`; not there otherwise.
    readings: "list[Prediction]"

    class Meta:
        verbose_name_plural = "series"
        permissions = [("set_aside_series", "Can set a series aside, so that it has no say")]

    def __str__(self) -> str:
        return f"Series {self.pk}"


class SeriesAside(models.Model):
    """One moment at which a series was set aside or taken back, in a log that only grows."""

    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="asides")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="series_asides"
    )
    # False: it was taken back.
    is_aside = models.BooleanField()
    reason = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "series set aside"
        verbose_name_plural = "series set aside"
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=~models.Q(reason=""), name="series_aside_has_reason"),
        ]

    def __str__(self) -> str:
        return f"Series {self.series_id} at {self.created_at:%Y-%m-%d %H:%M}"


class SourceFile(models.Model):
    """One row of the import report: a file of an upload or a member of an archive."""

    class Status(models.TextChoices):
        RECEIVED = "received", "Received"
        ACCEPTED = "accepted", "Accepted"
        SKIPPED = "skipped", "Skipped"
        REFUSED = "refused", "Refused"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="source_files")
    # The study that it is part of, or was left out of; none if nothing was imported with it.
    study = models.ForeignKey(
        Study, on_delete=models.SET_NULL, related_name="source_files", null=True, blank=True
    )
    # The earlier study that holds the same images.
    duplicate_of = models.ForeignKey(
        Study, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )
    # The series that was made of it, if any.
    series = models.ForeignKey(
        Series, on_delete=models.SET_NULL, related_name="source_files", null=True, blank=True
    )
    # The browser's name for it, often a patient's: no path and no log may hold it.
    display_name = EncryptedTextField()
    # The path inside the archive, if it came in one; `display_name` is then the archive's.
    archive_member = EncryptedTextField(blank=True, default="")
    # Keyed index of the name without its ending (detection.models.encryption).
    name_index = models.CharField(
        max_length=64, blank=True, default="", db_index=True, editable=False
    )
    kind = models.CharField(max_length=16, blank=True)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    # Relative to MEDIA_ROOT; empty once the file is imported or refused and its bytes are deleted.
    quarantine_path = models.CharField(max_length=255, blank=True, editable=False)
    status = models.CharField(max_length=16, choices=Status, default=Status.RECEIVED)
    # The code of the reason, such as "not_ct"; the reason in a sentence; what the sender can do.
    code = models.CharField(max_length=64, blank=True, default="")
    reason = models.CharField(max_length=255, blank=True)
    advice = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(status="refused") | ~models.Q(reason=""),
                name="source_file_refused_has_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"File {self.pk}"
