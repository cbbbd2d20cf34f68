"""All addresses of the project."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from accounts.views import admin_sign_in, sign_out
from kidneyweb.health import healthz

admin.site.site_header = "Kidney stone CT reading room: administration"
admin.site.site_title = "Reading room administration"
admin.site.index_title = "Administration"
# A list of the few models beside every table would cost the width that the table needs.
admin.site.enable_nav_sidebar = False

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    # The admin has no sign-in of its own, so lockout and session limits hold for it too.
    path("admin/login/", admin_sign_in),
    path("admin/logout/", sign_out),
    path("admin/password_change/", RedirectView.as_view(pattern_name="password-change")),
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("", include("detection.urls")),
]
