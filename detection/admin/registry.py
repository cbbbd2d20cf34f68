"""Model versions, and putting one of them into service."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Subquery
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.html import format_html

from detection.admin.permissions import never
from detection.forms import ActivationForm
from detection.models import ModelActivation, ModelVersion
from detection.selectors.model_card import model_members
from detection.selectors.registry import activation_list, model_version_active
from detection.services.registry import model_version_activate
from detection.templatetags.reading import percent, share

_ACTIVATIONS_SHOWN = 10


def _readable(values):
    """Return nested figures as preformatted text, one a line, rounded to four digits."""
    return format_html('<pre class="figures">{}</pre>', "\n".join(_lines(values, indent="")))


def _lines(values, *, indent):
    for name, value in values.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from _lines(value, indent=indent + "    ")
        else:
            yield f"{indent}{name}: {_rounded(value)}"


def _rounded(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(str(_rounded(item)) for item in value)
    return value


@admin.register(ModelVersion)
class ModelVersionAdmin(admin.ModelAdmin):
    list_display = (
        "name",
        "in_service",
        "origin",
        "threshold",
        "sensitivity",
        "specificity",
        "created_at",
    )
    list_filter = ("origin",)
    search_fields = ("name", "digest")
    ordering = ("-created_at", "-id")
    fields = (
        "name",
        "in_service",
        "origin",
        "training_run",
        "digest",
        "members_text",
        "threshold",
        "sensitivity",
        "specificity",
        "operating_point_text",
        "metrics_text",
        "created_at",
    )
    readonly_fields = fields
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = never

    def get_queryset(self, request):
        newest = ModelActivation.objects.order_by("-pk").values("model_version")[:1]
        return super().get_queryset(request).annotate(in_service_pk=Subquery(newest))

    def get_list_display(self, request):
        if request.user.has_perm("detection.activate_modelversion"):
            return (*self.list_display, "activate_link")
        return self.list_display

    @admin.display(description="in service", boolean=True)
    def in_service(self, model_version):
        return model_version.pk == model_version.in_service_pk

    @admin.display(description="threshold")
    def threshold(self, model_version):
        return percent(model_version.operating_point.get("threshold"))

    @admin.display(description="sensitivity")
    def sensitivity(self, model_version):
        return share(model_version.operating_point.get("sensitivity"))

    @admin.display(description="specificity")
    def specificity(self, model_version):
        return share(model_version.operating_point.get("specificity"))

    @admin.display(description="operating point")
    def operating_point_text(self, model_version):
        return _readable(model_version.operating_point)

    @admin.display(description="members")
    def members_text(self, model_version):
        members = model_members(model_version=model_version)
        if not members:
            return "none: a single network"
        return _readable(
            {
                member.name: f"weight {member.weight:.3f}"
                + ("" if member.manifest else ", missing or changed")
                for member in members
            }
        )

    @admin.display(description="metrics")
    def metrics_text(self, model_version):
        return _readable(model_version.metrics)

    @admin.display(description="")
    def activate_link(self, model_version):
        if self.in_service(model_version):
            return ""
        address = reverse("admin:detection_modelversion_activate", args=[model_version.pk])
        return format_html('<a href="{}">Put into service …</a>', address)

    def get_urls(self):
        activate = self.admin_site.admin_view(self.activate_view)
        name = "detection_modelversion_activate"
        return [path("<int:pk>/activate/", activate, name=name), *super().get_urls()]

    def change_view(self, request, object_id, form_url="", extra_context=None):
        may_activate = request.user.has_perm("detection.activate_modelversion")
        context = {"may_activate": may_activate} | (extra_context or {})
        return super().change_view(request, object_id, form_url, context)

    def activate_view(self, request, pk):
        if not request.user.has_perm("detection.activate_modelversion"):
            raise PermissionDenied
        model_version = get_object_or_404(ModelVersion, pk=pk)
        active = model_version_active()
        if request.method == "POST":
            form = ActivationForm(request.POST)
            if form.is_valid() and self._activate(request, form, model_version, active):
                return redirect("admin:detection_modelversion_changelist")
        else:
            form = ActivationForm(initial={"expected": active})
        context = self.admin_site.each_context(request) | {
            "title": f"Put {model_version} into service",
            "opts": self.opts,
            "form": form,
            "model_version": model_version,
            "active": active,
            "activations": activation_list()[:_ACTIVATIONS_SHOWN],
        }
        return render(request, "admin/detection/modelversion/activate.html", context)

    def _activate(self, request, form, model_version, active):
        if form.cleaned_data["expected"] != active:
            form.data = form.data | {"expected": active.pk if active else ""}
            form.add_error(
                None,
                f"Meanwhile someone else put {active} into service. Nothing was changed: look "
                "again, and confirm if you still want to.",
            )
            return False
        try:
            model_version_activate(
                model_version=model_version,
                activated_by=request.user,
                note=form.cleaned_data["note"],
            )
        except ValidationError as error:
            form.add_error(None, error)
            return False
        messages.success(
            request, f"The model version {model_version} is in service for all new readings."
        )
        return True


@admin.register(ModelActivation)
class ModelActivationAdmin(admin.ModelAdmin):
    list_display = ("created_at", "model_version", "by", "note")
    list_filter = ("model_version", "created_at")
    list_select_related = ("model_version", "activated_by")
    fields = ("created_at", "model_version", "by", "note")
    readonly_fields = fields
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = never

    @admin.display(description="by", ordering="activated_by")
    def by(self, activation):
        return activation.activated_by or "the installation"
