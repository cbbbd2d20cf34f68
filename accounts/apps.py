"""The accounts app: who may do what, sign-in and sessions."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
