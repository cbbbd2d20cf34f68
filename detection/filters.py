"""The filters of the history. Their state is the address of the page."""

import datetime
import re
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from detection.models import SourceFile, Study, StudyIdentifiers
from detection.models.encryption import blind_indices, name_stem

# A file's name has so many characters at most.
MAX_WORD = 255
Studies = QuerySet[Study]
# Dates stay far from the ends of what a database can hold in any time zone.
_FIRST_DAY = datetime.date(1970, 1, 2)
_LAST_DAY = datetime.date(2999, 12, 30)


def _uploaders(request: HttpRequest | None) -> QuerySet[User]:
    users = User.objects
    if request is None or not request.user.has_perm("detection.view_all_studies"):
        return users.none()
    return users.filter(studies__isnull=False).distinct().order_by("username")


def _day_start(day: datetime.date) -> datetime.datetime:
    # Not `__date`: MySQL converts time zones only where its zone tables were loaded.
    day = min(max(day, _FIRST_DAY), _LAST_DAY)
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))


class StudyFilter(django_filters.FilterSet):
    WORKING = "working"
    STATES = [
        (WORKING, "In work"),
        (Study.Status.SUCCEEDED, "Read"),
        (Study.Status.REFUSED, "Cannot assess"),
        (Study.Status.FAILED, "Failed"),
    ]

    q = django_filters.CharFilter(
        label="Study number",
        method="filter_q",
        max_length=MAX_WORD,
        widget=forms.TextInput(attrs={"type": "search"}),
    )
    verdict = django_filters.ChoiceFilter(
        label="Verdict", choices=Study.Verdict.choices, empty_label="Any"
    )
    status = django_filters.ChoiceFilter(
        label="Status", choices=STATES, method="filter_status", empty_label="Any"
    )
    uploader = django_filters.ModelChoiceFilter(
        label="Uploaded by", field_name="uploaded_by", queryset=_uploaders, empty_label="Anyone"
    )
    date_from = django_filters.DateFilter(
        label="From", method="filter_from", widget=forms.DateInput(attrs={"type": "date"})
    )
    date_to = django_filters.DateFilter(
        label="To", method="filter_to", widget=forms.DateInput(attrs={"type": "date"})
    )

    class Meta:
        model = Study
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.request.user.has_perm("detection.view_all_studies"):
            del self.filters["uploader"]
        if self.request.user.has_perm("detection.view_identifiers"):
            self.filters["q"].label = "Patient ID, accession number, file name or study number"

    def filter_q(self, queryset: Studies, name: str, value: str) -> Studies:
        number = re.fullmatch(r"(?:study\s*)?#?\s*(\d{1,18})", value.strip(), re.IGNORECASE)
        wanted = Q(pk=int(number[1])) if number else Q(pk=None)
        if self.request.user.has_perm("detection.view_identifiers"):
            # They are stored encrypted: a complete one is found, a part of one is not.
            names = blind_indices(name_stem(value), field="name")
            patients = blind_indices(value, field="patient_id")
            accessions = blind_indices(value, field="accession_number")
            # What only lay beside the series leads to no study.
            found = SourceFile.objects.filter(name_index__in=names, series__isnull=False)
            whose = StudyIdentifiers.objects.filter(
                Q(patient_id_index__in=patients) | Q(accession_number_index__in=accessions)
            )
            wanted |= Q(name_index__in=names)
            wanted |= Q(pk__in=found.values("study_id")) | Q(pk__in=whose.values("study_id"))
        return queryset.filter(wanted)

    def filter_status(self, queryset: Studies, name: str, value: str) -> Studies:
        if value == self.WORKING:
            return queryset.exclude(status__in=Study.FINAL_STATUSES)
        return queryset.filter(status=value)

    def filter_from(self, queryset: Studies, name: str, value: datetime.date) -> Studies:
        return queryset.filter(created_at__gte=_day_start(value))

    def filter_to(self, queryset: Studies, name: str, value: datetime.date) -> Studies:
        return queryset.filter(created_at__lt=_day_start(value + datetime.timedelta(days=1)))
