"""What holds for every request of a signed-in user."""

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]
SESSION_STARTED = "session_started"


def session_lifetime(get_response: GetResponse) -> GetResponse:
    """End a session that is older than SESSION_ABSOLUTE_SECONDS, however busy it was."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            started = request.session.setdefault(SESSION_STARTED, int(time.time()))
            if time.time() - started > settings.SESSION_ABSOLUTE_SECONDS:
                logout(request)
        return get_response(request)

    return middleware


def no_store(get_response: GetResponse) -> GetResponse:
    """Keep pages of signed-in users out of every cache: workplaces are shared."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.user.is_authenticated and "Cache-Control" not in response:
            response["Cache-Control"] = "private, no-store"
        return response

    return middleware
