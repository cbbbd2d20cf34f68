"""Predictions and their findings, which nobody can edit."""

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from detection.admin.permissions import never
from detection.models import Finding, Prediction
from detection.templatetags.reading import outcome, percent, seconds, series_score


class FindingInline(admin.TabularInline):
    model = Finding
    fields = (
        "rank",
        "plane",
        "slice_index",
        "box",
        "probability_percent",
        "extent_mm",
        "diameter_mm",
        "size_class",
        "side",
        "seen_by",
    )
    readonly_fields = fields
    extra = 0
    has_add_permission = has_change_permission = has_delete_permission = never

    @admin.display(description="box in pixels")
    def box(self, finding):
        return f"{finding.x0:.0f}, {finding.y0:.0f} to {finding.x1:.0f}, {finding.y1:.0f}"

    @admin.display(description="members that see it", empty_value="")
    def seen_by(self, finding):
        return f"{finding.members_seeing} of {finding.members}" if finding.members else ""

    @admin.display(description="probability")
    def probability_percent(self, finding):
        return percent(finding.probability)


@admin.register(Prediction)
class PredictionAdmin(admin.ModelAdmin):
    list_display = (
        "id",
        "study",
        "outcome_words",
        "score",
        "model_version",
        "uploaded_by",
        "asked_at",
        "duration",
    )
    list_filter = ("status", "verdict", "model_version", "created_at")
    list_select_related = ("model_version", "series__study__uploaded_by")
    list_per_page = 50
    show_full_result_count = False
    search_fields = (
        "=series__study__id",
        "series__study__uploaded_by__username",
    )
    search_help_text = "Study number or user name"
    ordering = ("-created_at", "-id")
    fields = (
        "study",
        "uploaded_by",
        "outcome_words",
        "score",
        "notices_text",
        "model_version",
        "operating_point",
        "created_at",
        "started_at",
        "finished_at",
        "duration",
        "attempts",
    )
    readonly_fields = fields
    inlines = (FindingInline,)
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = never

    @admin.display(description="study", ordering="series__study")
    def study(self, prediction):
        study = prediction.series.study
        return format_html('<a href="{}">Study {}</a>', study.get_absolute_url(), study.pk)

    @admin.display(description="outcome", ordering="verdict")
    def outcome_words(self, prediction):
        words = outcome(prediction)["words"]
        return f"{words}: {prediction.message}" if prediction.message else words

    @admin.display(description="notices")
    def notices_text(self, prediction):
        notices = [*prediction.series.notices, *prediction.notices]
        return format_html_join("", "<p>{}</p>", ([notice["text"]] for notice in notices)) or "-"

    @admin.display(description="asked for", ordering="created_at")
    def asked_at(self, prediction):
        return f"{timezone.localtime(prediction.created_at):%Y-%m-%d %H:%M}"

    @admin.display(description="score", ordering="probability")
    def score(self, prediction):
        if prediction.status != Prediction.Status.SUCCEEDED:
            return "-"
        if prediction.series.slices > 1:
            return f"{series_score(prediction.probability)} (series score)"
        return f"{percent(prediction.probability)} (probability)"

    @admin.display(description="uploaded by", ordering="series__study__uploaded_by")
    def uploaded_by(self, prediction):
        return prediction.series.study.uploaded_by

    @admin.display(description="duration")
    def duration(self, prediction):
        elapsed = prediction.elapsed_seconds
        return "-" if elapsed is None else seconds(elapsed)
