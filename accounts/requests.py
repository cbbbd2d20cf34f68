"""Requests of people who have signed in."""

from django.http import HttpRequest

from accounts.models import User


class SignedInRequest(HttpRequest):
    """What a view behind `login_required` gets: the user is a person. For annotations alone."""

    user: User
