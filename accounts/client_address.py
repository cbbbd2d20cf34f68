"""The network address a request came from."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """Return the address of the client, seen through the proxies that the settings count.

    A client can write anything into X-Forwarded-For; only the last entries, which our own proxies
    appended, are believed.
    """
    forwarded = [
        address.strip()
        for address in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if address.strip()
    ]
    count = settings.KIDNEYWEB_PROXY_COUNT
    if count and len(forwarded) >= count:
        return forwarded[-count]
    # A request that came over no network, from a program or a socket file, has none.
    return request.META.get("REMOTE_ADDR")
