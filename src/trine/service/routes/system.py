"""Calls about the service itself: health, metrics, who asks, the log of changes."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from trine import __version__
from trine.errors import GalleryError
from trine.service.access import COOKIE, Everywhere, TheService, Writer
from trine.service.bodies import body, takes
from trine.service.errors import ApiError, api_error
from trine.service.jobs import STATES, Jobs
from trine.service.keys import Caller
from trine.service.metrics import CONTENT_TYPE
from trine.service.schemas import (
    ChangeModel,
    ChangesAnswer,
    HealthAnswer,
    SessionAnswer,
    SignIn,
)

router = APIRouter(tags=["service"])


@router.get("/v1/health")
async def health() -> HealthAnswer:
    """Whether the service is alive."""
    return HealthAnswer(status="ok", version=__version__)


@router.get("/v1/ready")
def ready(service: TheService) -> HealthAnswer:
    """Whether the service can answer: a little of each gallery is read anew."""
    for hosted in service.galleries.values():
        try:
            hosted.gallery.check_usable()
        except GalleryError as error:
            raise ApiError("unavailable", api_error(error, names=service.addresses).message) from error
    return HealthAnswer(status="ok", version=__version__)


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, service: TheService, caller: Everywhere) -> Response:
    """The counters, for Prometheus."""
    service.count()
    jobs: Jobs = request.app.state.jobs
    counts = Counter(job.state for job in jobs.all())
    for state in STATES:
        service.metrics.jobs.labels(state).set(counts[state])
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/session")
async def session(request: Request, service: TheService) -> SessionAnswer:
    """Who asks, and what they may do; also without a key."""
    return _session(request.scope["state"].get("caller"), service)


@router.post("/v1/session", openapi_extra=takes(SignIn))
def sign_in(
    request: Request, response: Response, service: TheService, given: Annotated[SignIn, body(SignIn)]
) -> SessionAnswer:
    """Keeps a key in a cookie that scripts cannot read, for the page."""
    caller = service.keys.caller(given.key.strip())
    if caller is None:
        raise ApiError("wrong_key", "the key is not one of this service")
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, given.key.strip(), httponly=True, samesite="strict", secure=secure, path="/")
    return _session(caller, service)


@router.delete("/v1/session")
async def sign_out(response: Response, service: TheService) -> SessionAnswer:
    """Deletes the cookie."""
    response.delete_cookie(COOKIE, path="/")
    return _session(None, service)


@router.get("/v1/changes")
def changes(
    service: TheService,
    caller: Writer,
    gallery: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> ChangesAnswer:
    """The log of changes: who changed what, the latest first."""
    found = service.log.page(gallery=gallery, before=before, limit=limit)
    last = found[-1].number if len(found) == limit else None
    seen = [ChangeModel.of(change) for change in found if caller.may_use(change.gallery)]
    return ChangesAnswer(changes=seen, next=last)


def _session(caller: Caller | None, service: TheService) -> SessionAnswer:
    return SessionAnswer(
        name="" if caller is None else caller.name,
        scopes=[] if caller is None else sorted(caller.scopes),
        keys=service.needs_keys,
        galleries=[] if caller is None else [name for name in service.galleries if caller.may_use(name)],
        keep_pictures=service.settings.keep_pictures,
        runs=service.settings.runs is not None and caller is not None and caller.galleries is None,
        limits=SessionAnswer.limits_of(service.limits),
        version=__version__,
    )
