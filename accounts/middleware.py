"""Rules of every request: the life of its session, its size, and what caches may keep."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

GetResponse = Callable[[HttpRequest], HttpResponse]
View = Callable[..., HttpResponseBase]
SESSION_STARTED = "session_started"
SESSION_TOUCHED = "session_touched"
# The note of a session may grow so old while somebody only scrolls through slices. The idle limit
# may then come as much too early, never too late.
TOUCH_SECONDS = 60


def session_lifetime(get_response: GetResponse) -> GetResponse:
    """End a session that is older than SESSION_ABSOLUTE_SECONDS, and extend one that is in use.

    Noting the time of a request makes Django save the session with a new end. A page that asks
    for news by itself is nobody at work: a workplace that was left with it is signed out. Requests
    for slices come by the dozen a second and are noted once a minute.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            started = request.session.setdefault(SESSION_STARTED, int(time.time()))
            if time.time() - started > settings.SESSION_ABSOLUTE_SECONDS:
                logout(request)
        response = get_response(request)
        page = request.resolver_match.url_name if request.resolver_match else None
        if request.user.is_authenticated and page not in settings.SESSION_IDLE_PAGES:
            touched = request.session.get(SESSION_TOUCHED, 0)
            is_rare = getattr(request, "is_session_touched_rarely", False)
            limit_seconds = min(TOUCH_SECONDS, settings.SESSION_COOKIE_AGE / 10)
            if not is_rare or not 0 <= time.time() - touched < limit_seconds:
                request.session[SESSION_TOUCHED] = int(time.time())
                # A modified session is saved, with a new end.
                request.session.modified = True
        return response

    return middleware


def request_size(get_response: GetResponse) -> GetResponse:
    """Refuse a request that is too large before anything of it is read and put on the disk.

    The check of a form's token would read all of it, whoever sent it.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        size = int(length) if length.isdecimal() else 0
        if not request.user.is_authenticated and size > settings.MAX_STRANGERS_REQUEST_BYTES:
            return redirect_to_login(request.get_full_path())
        if size > settings.MAX_REQUEST_BYTES:
            return render(request, "413.html", status=413)
        return get_response(request)

    return middleware


def touch_session_rarely(view: View) -> View:
    """Decorate a view that one page asks many times a second, so that few requests are noted."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
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
