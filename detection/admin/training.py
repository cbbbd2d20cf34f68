"""Retrainings: starting, watching and cancelling them."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from detection.admin.permissions import never
from detection.forms import TrainingStartForm
from detection.ml.backbones import BACKBONES, RECIPES, TRAINED
from detection.models import ModelVersion, TrainingRun
from detection.selectors.training import STARTS, training_facts, training_plan
from detection.services.training import (
    training_log_path,
    training_run_cancel,
    training_run_create,
)
from detection.views.studies import STOP_POLLING

LOG_TAIL_BYTES = 16 * 1024


@admin.register(TrainingRun)
class TrainingRunAdmin(admin.ModelAdmin):
    list_display = (
        "id",
        "status",
        "done",
        "data_folder",
        "architecture",
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
    has_add_permission = has_change_permission = has_delete_permission = never

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
        context |= {
            "title": str(training_run),
            "opts": self.opts,
            "facts": training_facts(training_run.options),
        }
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
        }
        if is_confirming:
            asked = {k: v for k, v in form.cleaned_data.items() if k not in ("data_folder", "seed")}
            plan = training_plan(**asked)
            context |= {
                "architecture": BACKBONES[plan.architecture],
                "plan": plan,
                "facts": training_facts(plan.options),
            }
        else:
            context["advised"] = [
                (STARTS[kind], recipe, TRAINED[recipe.trained]) for kind, recipe in RECIPES.items()
            ]
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
