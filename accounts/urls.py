"""Addresses of the account pages."""

from django.urls import path

from accounts import views

urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("password/", views.password_change, name="password-change"),
    path("password/changed/", views.password_change_done, name="password-change-done"),
    path("reset/", views.password_reset, name="password-reset"),
    path("reset/sent/", views.password_reset_sent, name="password-reset-sent"),
    path("reset/<uidb64>/<token>/", views.password_reset_confirm, name="password-reset-confirm"),
    path("reset/complete/", views.password_reset_complete, name="password-reset-complete"),
]
