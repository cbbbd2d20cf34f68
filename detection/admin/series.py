"""The log of series that were set aside or taken back."""

from django.contrib import admin

from detection.admin.permissions import never
from detection.models import SeriesAside


@admin.register(SeriesAside)
class SeriesAsideAdmin(admin.ModelAdmin):
    list_display = ("created_at", "study", "series", "is_aside", "reason", "user")
    list_filter = ("is_aside", "created_at")
    list_select_related = ("series__study", "user")
    search_fields = ("=series__study__id", "user__username")
    search_help_text = "Study number or user name"
    fields = ("created_at", "study", "series", "is_aside", "reason", "user")
    readonly_fields = fields
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = never

    @admin.display(description="study", ordering="series__study")
    def study(self, aside):
        return aside.series.study
