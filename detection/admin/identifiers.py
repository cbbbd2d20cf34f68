"""The log of looks at patients' identifiers."""

from django.contrib import admin

from detection.admin.permissions import never
from detection.models import IdentifierAccess


@admin.register(IdentifierAccess)
class IdentifierAccessAdmin(admin.ModelAdmin):
    list_display = ("created_at", "user", "study")
    list_filter = ("created_at",)
    list_select_related = ("user", "study")
    search_fields = ("=study__id", "user__username")
    search_help_text = "Study number or user name"
    fields = ("created_at", "user", "study")
    readonly_fields = fields
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = never
