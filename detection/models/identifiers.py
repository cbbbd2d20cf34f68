"""Patients' identifiers, encrypted and apart from all else, and the log of looks at them."""

from django.conf import settings
from django.db import models

from detection.models.encryption import EncryptedTextField
from detection.models.studies import Study


class StudyIdentifiers(models.Model):
    """The identifiers of one study as its DICOM files state them, encrypted.

    A hospital finds its study again by them. Volumes, maps and logs hold none of them, and
    addresses none in clear text.
    """

    study = models.OneToOneField(Study, on_delete=models.CASCADE, related_name="identifiers")
    patient_id = EncryptedTextField(blank=True, default="")
    patient_name = EncryptedTextField(blank=True, default="")
    birth_date = EncryptedTextField(blank=True, default="")
    accession_number = EncryptedTextField(blank=True, default="")
    study_uid = EncryptedTextField(blank=True, default="")
    # Keyed indices: a user who may see identifiers finds a study by them.
    patient_id_index = models.CharField(max_length=64, blank=True, default="", db_index=True)
    accession_number_index = models.CharField(max_length=64, blank=True, default="", db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "study identifiers"
        # The permission `view_identifiers` of Study shows them; the administration never does.
        default_permissions = ()

    def __str__(self) -> str:
        return f"Identifiers of study {self.study_id}"


class IdentifierAccess(models.Model):
    """One look of a user at the identifiers of a study, in a log that only grows."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="identifier_accesses")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="identifier_accesses"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "identifier accesses"
        ordering = ["-id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"Study {self.study_id} at {self.created_at:%Y-%m-%d %H:%M}"
