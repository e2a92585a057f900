"""Who may send a request: from which address and page, with which key, for which gallery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from trine.service.errors import ApiError
from trine.service.hosted import Hosted
from trine.service.keys import LOCAL, Caller, Scope
from trine.service.service import Service
from trine.service.settings import LOOPBACK

COOKIE = "trine_key"
SAFE = ("GET", "HEAD", "OPTIONS")


def check_host(headers: Mapping[str, str], *, hosts: frozenset[str] | None) -> None:
    """Refuses a request for another host name, as a page sends it that had its own name point here.

    Args:
        headers: The headers of the request.
        hosts: The names that the service has; None for any.

    Raises:
        ApiError: The name is another.
    """
    if hosts is None:
        return
    try:
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:  # such as a bracket that is not closed
        name = headers["host"]
    if name not in hosts:
        raise ApiError("wrong_host", f"this service is not called {name[:100]!r}")


def check_origin(headers: Mapping[str, str], *, method: str, api: bool) -> None:
    """Refuses what the page of another site sends.

    Browsers say where a request comes from; other programs say nothing, and need a key or this machine.

    Args:
        headers: The headers of the request.
        method: Its method.
        api: Whether it is a call of the API, rather than a page that is opened.

    Raises:
        ApiError: It comes from elsewhere.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if api and site is not None and site not in ("same-origin", "none"):
        raise ApiError("wrong_origin", "the request comes from the page of another site")
    if origin is not None and method not in SAFE and origin.partition("://")[2] != headers.get("host", ""):
        raise ApiError("wrong_origin", f"the request comes from {origin[:100]!r}")


def caller_of(service: Service, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Caller | None:
    """Finds out who sends a request.

    Args:
        service: The service.
        headers: The headers of the request.
        cookies: Its cookies.

    Returns:
        Who it is; None without a key, where one is needed.

    Raises:
        ApiError: The key is wrong.
    """
    kind, _, value = headers.get("authorization", "").partition(" ")
    key = value.strip() if kind.lower() == "bearer" else cookies.get(COOKIE, "")
    if key:
        caller = service.keys.caller(key)
        if caller is None:
            raise ApiError("wrong_key", "the key is not one of this service")
        return caller
    return None if service.needs_keys else LOCAL


def hosts_of(service: Service) -> frozenset[str] | None:
    """The names that a service may be called by; None for any, where it listens for others and has keys."""
    settings = service.settings
    if settings.hosts:
        return LOOPBACK | {settings.host} | {name.lower() for name in settings.hosts}
    return LOOPBACK if settings.host in LOOPBACK else None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _caller(request: Request, scope: Scope) -> Caller:
    caller: Caller | None = request.scope["state"].get("caller")
    if caller is None:
        raise ApiError("no_key", "this service needs a key")
    if not caller.may(scope):
        raise ApiError("not_allowed", f"the key {caller.name!r} does not allow to {_VERBS[scope]}")
    return caller


_VERBS = {"read": "ask", "write": "change anything", "pictures": "see pictures"}


async def reader(request: Request) -> Caller:
    """Who asks; they must be allowed to read."""
    return _caller(request, "read")


async def writer(request: Request) -> Caller:
    """Who changes something; they must be allowed to write."""
    return _caller(request, "write")


async def viewer(request: Request) -> Caller:
    """Who looks at pictures; they must be allowed to."""
    return _caller(request, "pictures")


async def everywhere(request: Request) -> Caller:
    """Who asks for what belongs to no gallery alone; their key must be for all galleries."""
    caller = _caller(request, "read")
    if caller.galleries is not None:
        raise ApiError("not_allowed", f"the key {caller.name!r} is for some galleries alone")
    return caller


async def hosted(request: Request, gallery: str) -> Hosted:
    """The gallery that a path names; one that the caller may not use does not exist for them."""
    service = _service(request)
    caller: Caller | None = request.scope["state"].get("caller")
    if caller is None:
        raise ApiError("no_key", "this service needs a key")
    found = service.galleries.get(gallery)
    if found is None or not caller.may_use(gallery):
        raise ApiError("unknown_gallery", f"there is no gallery {gallery[:100]!r} here")
    return found


async def the_service(request: Request) -> Service:
    """The service."""
    return _service(request)


Reader = Annotated[Caller, Depends(reader)]
Writer = Annotated[Caller, Depends(writer)]
Viewer = Annotated[Caller, Depends(viewer)]
Everywhere = Annotated[Caller, Depends(everywhere)]
OneGallery = Annotated[Hosted, Depends(hosted)]
TheService = Annotated[Service, Depends(the_service)]
