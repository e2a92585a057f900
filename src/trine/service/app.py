"""The application of a service: its calls, its page, and what holds for every request."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trine import __version__
from trine.errors import TrineError
from trine.service.access import caller_of, check_host, check_origin, hosts_of
from trine.service.bodies import schemas_taken
from trine.service.errors import ApiError, api_error, of_validation
from trine.service.jobs import Jobs
from trine.service.limits import AnswerInTime, Memory, Rates, limited
from trine.service.routes import ROUTERS
from trine.service.schemas import ErrorAnswer
from trine.service.service import Service
from trine.service.work import kinds_of_work

PAGE = Path(__file__).parent / "page"
"""The files of the page."""

CSP = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
"""What every answer says to a browser."""

THREADS = min(32, 4 * (os.cpu_count() or 1))
"""How many calls are in work at once; others wait their turn, which threads at a lock do not."""

OPEN = ("/v1/health", "/v1/ready", "/v1/session")
"""The calls that need no key."""

logger = logging.getLogger("trine.service")

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        "4XX": "The request cannot be answered; the body says why, and what to do.",
        "5XX": "The service cannot answer now.",
    }.items()
}


def create_app(service: Service) -> FastAPI:
    """Makes the application of a service.

    Args:
        service: The service; whoever made it closes it.

    Returns:
        An ASGI application.
    """
    jobs: Jobs = Jobs(service, kinds_of_work(lambda: jobs))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        workers = ThreadPoolExecutor(THREADS, thread_name_prefix="trine call")
        asyncio.get_running_loop().set_default_executor(workers)
        jobs.start()
        yield
        await anyio.to_thread.run_sync(jobs.stop)

    app = FastAPI(
        title="trine",
        summary="Galleries of embeddings: enrol, verify, identify, search, recommend, cluster.",
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=_ERRORS,
        redirect_slashes=False,
    )
    app.state.service, app.state.jobs = service, jobs
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_exception_handler(ApiError, _answer)
    app.add_exception_handler(TrineError, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_middleware(Guard, service=service)
    return app


def error_of(service: Service, error: Exception) -> ApiError:
    """What is answered to an error."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TrineError):
        return api_error(error, names=service.addresses)
    if isinstance(error, RequestValidationError):
        return of_validation(error.errors())
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        return ApiError(code, str(error.detail))
    logger.error("a request failed", exc_info=error)
    return ApiError("internal", "the service failed; its log says how")


def response_to(error: ApiError) -> Response:
    """The answer to an error."""
    return JSONResponse(error.to_json(), status_code=error.status, headers=error.headers)


async def _answer(request: Request, error: Exception) -> Response:
    found = error_of(request.app.state.service, error)
    request.app.state.service.metrics.refused.labels(found.code).inc()
    return response_to(found)


class Guard:
    """What holds for every request: host, origin, key, rate, size and time; and the headers of the answer."""

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        """Takes the application and its service."""
        self._service = service
        self._whole = app
        self._app = AnswerInTime(app, seconds=service.limits.answer_seconds)
        self._rates = Rates(service.limits.rate, service.limits.burst)
        self._hosts = hosts_of(service)
        self._memory = Memory(service.limits.memory)
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
                return
            await self._whole(scope, receive, send)
            return
        metrics, began = self._service.metrics, time.perf_counter()
        status = 500
        started = False

        async def reply(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message = {**message, "headers": [*message["headers"], *_headers(scope["path"])]}
            await send(message)

        self._working += 1
        metrics.working.set(self._working)
        try:
            await self._guarded(scope, receive, reply)
        except asyncio.CancelledError:
            # The service stops, and waited for this long enough: nobody else awaits the task.
            if not started:
                error = ApiError("unavailable", "the service stops", "ask again when it runs again")
                await response_to(error)(scope, receive, reply)
        except Exception as error:
            # A request that was not read cannot be followed by another on the same connection.
            found = error_of(self._service, error)
            metrics.refused.labels(found.code).inc()
            if not started:
                response = response_to(found)
                response.headers["Connection"] = "close"
                await response(scope, receive, reply)
        finally:
            self._working -= 1
            metrics.working.set(self._working)
            route = getattr(scope.get("route"), "path", "page" if status < 400 else "unknown")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.requests.labels(method, route, str(status)).inc()
            metrics.seconds.labels(method, route).observe(time.perf_counter() - began)

    async def _guarded(self, scope: Scope, receive: Receive, reply: Send) -> None:
        service, path = self._service, scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        is_api = path.startswith("/v1/") or path == "/metrics"
        check_host(headers, hosts=self._hosts)
        check_origin(headers, method=scope["method"], api=is_api)
        if self._working + self._app.late > service.limits.waiting:
            raise ApiError("busy", "too many requests are in work", retry_after=1)
        address = scope["client"][0] if scope.get("client") else "?"
        state = scope.setdefault("state", {})
        if is_api:
            try:
                caller = caller_of(service, headers, _cookies(headers))
            except ApiError:
                self._count(f"address {address}")  # guessing keys has a rate, too
                if path not in OPEN:
                    raise
                caller = None
            self._count(f"address {address}" if caller is None or caller.name == "local" else caller.name)
            if caller is None and path not in OPEN:
                raise ApiError("no_key", "this service needs a key")
            state["caller"] = caller
        most = service.limits.job_body if path.endswith("/jobs") else service.limits.body
        with self._memory.share() as take:
            receive = limited(receive, headers, most=most, seconds=service.limits.upload_seconds, take=take)
            await self._app(scope, receive, reply)

    def _count(self, caller: str) -> None:
        if (wait := self._rates.wait(caller)) > 0:
            raise ApiError("rate_limit", "too many requests in a short time", retry_after=wait)


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def _headers(path: str) -> list[tuple[bytes, bytes]]:
    cache = b"no-store" if path.startswith("/v1/") or path == "/metrics" else b"no-cache"
    return [*_RAW, (b"cache-control", cache)]


def _cookies(headers: dict[str, str]) -> dict[str, str]:
    if "cookie" not in headers:
        return {}
    try:
        return {name: each.value for name, each in SimpleCookie(headers["cookie"]).items()}
    except CookieError:
        return {}


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schema["components"]["schemas"] |= schemas_taken()
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{}, {"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema
