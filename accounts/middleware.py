"""What holds for every request of a signed-in user."""

import time
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]
View = Callable[..., HttpResponse]
SESSION_STARTED = "session_started"
SESSION_TOUCHED = "session_touched"
# How old the note of a session may grow while somebody only scrolls through slices. The idle limit
# may then come as much too early, never too late.
TOUCH_SECONDS = 60


def session_lifetime(get_response: GetResponse) -> GetResponse:
    """End a session that is older than SESSION_ABSOLUTE_SECONDS, however busy it was.

    Every request puts off the idle limit, because noting its time makes Django save the session
    with a new end. Requests for slices come by the dozen a second and are noted once a minute.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            started = request.session.setdefault(SESSION_STARTED, int(time.time()))
            if time.time() - started > settings.SESSION_ABSOLUTE_SECONDS:
                logout(request)
        response = get_response(request)
        if request.user.is_authenticated:
            touched = request.session.get(SESSION_TOUCHED, 0)
            is_rare = getattr(request, "is_session_touched_rarely", False)
            limit_seconds = min(TOUCH_SECONDS, settings.SESSION_COOKIE_AGE / 10)
            if not is_rare or not 0 <= time.time() - touched < limit_seconds:
                request.session[SESSION_TOUCHED] = int(time.time())
        return response

    return middleware


def touch_session_rarely(view: View) -> View:
    """Decorate a view that is asked many times a second by one page."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        request.is_session_touched_rarely = True
        return view(request, *args, **kwargs)

    return wrapped


def no_store(get_response: GetResponse) -> GetResponse:
    """Keep pages of signed-in users out of every cache: workplaces are shared."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.user.is_authenticated and "Cache-Control" not in response:
            response["Cache-Control"] = "private, no-store"
        return response

    return middleware
