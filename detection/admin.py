"""The administration: history to read, model versions to put into service, retrainings to run."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Subquery
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from detection.forms import ActivationForm, TrainingStartForm
from detection.models import (
    Finding,
    IdentifierAccess,
    ModelActivation,
    ModelVersion,
    Prediction,
    TrainingRun,
)
from detection.selectors.registry import activation_list, model_version_active
from detection.services.registry import model_version_activate
from detection.services.training import (
    training_log_path,
    training_run_cancel,
    training_run_create,
)
from detection.templatetags.reading import outcome, percent, seconds, share
from detection.views.studies import STOP_POLLING

LOG_TAIL_BYTES = 16 * 1024
_ACTIVATIONS_SHOWN = 10


def _never(self, request, obj=None):
    # What was read, put into service or trained is never edited, only added to by services.
    return False


def _readable(values):
    """Show nested figures one a line, rounded as far as they carry meaning."""
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
    )
    readonly_fields = fields
    extra = 0
    has_add_permission = has_change_permission = has_delete_permission = _never

    @admin.display(description="box in pixels")
    def box(self, finding):
        return f"{finding.x0:.0f}, {finding.y0:.0f} to {finding.x1:.0f}, {finding.y1:.0f}"

    @admin.display(description="probability")
    def probability_percent(self, finding):
        return percent(finding.probability)


@admin.register(Prediction)
class PredictionAdmin(admin.ModelAdmin):
    list_display = (
        "id",
        "study",
        "outcome_words",
        "probability_percent",
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
        "probability_percent",
        "caveats",
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
    has_add_permission = has_change_permission = has_delete_permission = _never

    @admin.display(description="study", ordering="series__study")
    def study(self, prediction):
        study = prediction.series.study
        return format_html('<a href="{}">Study {}</a>', study.get_absolute_url(), study.pk)

    @admin.display(description="outcome", ordering="verdict")
    def outcome_words(self, prediction):
        words = outcome(prediction)["words"]
        return f"{words}: {prediction.message}" if prediction.message else words

    @admin.display(description="asked for", ordering="created_at")
    def asked_at(self, prediction):
        return f"{timezone.localtime(prediction.created_at):%Y-%m-%d %H:%M}"

    @admin.display(description="probability", ordering="probability")
    def probability_percent(self, prediction):
        is_read = prediction.status == Prediction.Status.SUCCEEDED
        return percent(prediction.probability) if is_read else "-"

    @admin.display(description="uploaded by", ordering="series__study__uploaded_by")
    def uploaded_by(self, prediction):
        return prediction.series.study.uploaded_by

    @admin.display(description="duration")
    def duration(self, prediction):
        elapsed = prediction.elapsed_seconds
        return "-" if elapsed is None else seconds(elapsed)


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
        "threshold",
        "sensitivity",
        "specificity",
        "operating_point_text",
        "metrics_text",
        "created_at",
    )
    readonly_fields = fields
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = _never

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
    has_add_permission = has_change_permission = has_delete_permission = _never

    @admin.display(description="by", ordering="activated_by")
    def by(self, activation):
        return activation.activated_by or "the installation"


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
    has_add_permission = has_change_permission = has_delete_permission = _never


@admin.register(TrainingRun)
class TrainingRunAdmin(admin.ModelAdmin):
    list_display = (
        "id",
        "status",
        "done",
        "data_folder",
        "seed",
        "epochs",
        "requested_by",
        "created_at",
        "message",
    )
    list_filter = ("status", "created_at")
    list_select_related = ("requested_by",)
    search_fields = ("data_folder", "requested_by__username")
    ordering = ("-id",)
    actions = None
    has_add_permission = has_change_permission = has_delete_permission = _never

    @admin.display(description="done")
    def done(self, training_run):
        return f"{training_run.progress.get('fraction', 0) * 100:.0f} %"

    def get_urls(self):
        views = [
            ("start/", self.start_view, "start"),
            ("<int:pk>/progress/", self.progress_view, "progress"),
            ("<int:pk>/cancel/", require_POST(self.cancel_view), "cancel"),
        ]
        return [
            path(route, self.admin_site.admin_view(view), name=f"detection_trainingrun_{name}")
            for route, view, name in views
        ] + super().get_urls()

    def changelist_view(self, request, extra_context=None):
        context = {"may_start": request.user.has_perm("detection.add_trainingrun")}
        return super().changelist_view(request, context | (extra_context or {}))

    def change_view(self, request, object_id, form_url="", extra_context=None):
        # A page of its own, since a running training has more to show than its fields.
        training_run = self.get_object(request, object_id)
        if not self.has_view_permission(request, training_run):
            raise PermissionDenied
        if training_run is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        context = self.admin_site.each_context(request) | self._progress_context(
            request, training_run
        )
        context |= {"title": str(training_run), "opts": self.opts}
        return render(request, "admin/detection/trainingrun/detail.html", context)

    def progress_view(self, request, pk):
        if not self.has_view_permission(request):
            raise PermissionDenied
        training_run = get_object_or_404(TrainingRun, pk=pk)
        status = STOP_POLLING if training_run.is_finished else 200
        context = self._progress_context(request, training_run)
        return render(request, "admin/detection/trainingrun/_progress.html", context, status=status)

    def cancel_view(self, request, pk):
        if not request.user.has_perm("detection.change_trainingrun"):
            raise PermissionDenied
        training_run = get_object_or_404(TrainingRun, pk=pk)
        try:
            training_run_cancel(training_run=training_run, cancelled_by=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            messages.success(request, "The training is being cancelled.")
        return redirect("admin:detection_trainingrun_change", training_run.pk)

    def start_view(self, request):
        if not request.user.has_perm("detection.add_trainingrun"):
            raise PermissionDenied
        form = TrainingStartForm(request.POST) if request.method == "POST" else TrainingStartForm()
        is_confirming = form.is_valid() and "change" not in request.POST
        if is_confirming and "confirmed" in request.POST:
            try:
                training_run = training_run_create(requested_by=request.user, **form.cleaned_data)
            except ValidationError as error:
                form.add_error(None, error)
                is_confirming = False
            else:
                messages.success(request, f"{training_run} waits for the training worker.")
                return redirect("admin:detection_trainingrun_change", training_run.pk)
        context = self.admin_site.each_context(request) | {
            "title": "Start this retraining?" if is_confirming else "Start a retraining",
            "opts": self.opts,
            "form": form,
            "is_confirming": is_confirming,
            "active": model_version_active(),
        }
        return render(request, "admin/detection/trainingrun/start.html", context)

    def _progress_context(self, request, training_run):
        model_version = ModelVersion.objects.filter(training_run=training_run).first()
        return {
            "run": training_run,
            "percent_done": round(training_run.progress.get("fraction", 0) * 100),
            "model_version": model_version,
            "log": _log_tail(training_run),
            "may_cancel": not training_run.is_finished
            and request.user.has_perm("detection.change_trainingrun"),
        }


def _log_tail(training_run):
    try:
        with training_log_path(training_run).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    # The first line is cut off unless the whole log was read.
    return lines if size <= LOG_TAIL_BYTES else lines.partition("\n")[2]
