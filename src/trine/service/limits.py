"""Limits that hold before a request is looked at: bytes, seconds, rate, and how many there are."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trine.service.errors import ApiError

MOST_CALLERS = 10_000
"""How many callers' rates are remembered."""


class Rates:
    """A bucket of requests for each caller: it holds `burst`, and is filled at the rate.

    Args:
        rate: How many requests a second in the long run; 0 for no limit.
        burst: How many at once.
        clock: Tells the seconds.

    Example:
        >>> rates = Rates(1.0, 2, clock=lambda: 0.0)
        >>> [rates.wait("ann") for _ in range(3)], rates.wait("bob")
        ([0.0, 0.0, 1.0], 0.0)
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, caller: str) -> float:
        """Takes one request from the bucket of a caller.

        Returns:
            0, or in how many seconds there is one if the bucket is empty.
        """
        if not self._rate:
            return 0.0
        now = self._clock()
        with self._lock:
            held, at = self._buckets.pop(caller, (float(self._burst), now))
            held = min(float(self._burst), held + (now - at) * self._rate)
            self._buckets[caller] = (held - 1 if held >= 1 else held, now)
            while len(self._buckets) > MOST_CALLERS:
                self._buckets.popitem(last=False)
        return 0.0 if held >= 1 else (1 - held) / self._rate


class Memory:
    """The bytes of all requests in work, which together have a limit.

    Args:
        most: The most bytes.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Lends a function that takes bytes for one request, which are given back with its end."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self._held + count > self._most:
                raise ApiError("busy", "requests in work hold too much memory", retry_after=1)
            taken += count
            self._held += count

        try:
            yield take
        finally:
            self._held -= taken


def limited(
    receive: Receive,
    headers: dict[str, str],
    *,
    most: int,
    seconds: float,
    take: Callable[[int], None],
) -> Receive:
    """Reads a request within its limits.

    Args:
        receive: Reads the next part.
        headers: The headers of the request.
        most: The most bytes.
        seconds: How long it may take to arrive.
        take: Called with the number of bytes of each part.

    Raises:
        ApiError: The request says that it is larger.
    """
    length = headers.get("content-length", "")
    if length and (not (length.isascii() and length.isdigit()) or len(length) > 18):
        raise ApiError("invalid_request", f"the length of the request is {length[:40]!r}, not a number")
    if length and int(length) > most:
        raise too_large(most)
    count, until = 0, time.monotonic() + seconds
    complete = False

    async def read() -> Message:
        nonlocal count, complete
        if complete:  # waits for the caller to go away, which takes as long as the answer
            return await receive()
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.001)):
                message = await receive()
        except TimeoutError:
            raise ApiError("too_slow", f"the request did not arrive within {seconds:g} seconds") from None
        if message["type"] == "http.request":
            part = len(message.get("body", b""))
            count += part
            complete = not message.get("more_body", False)
            if count > most:
                raise too_large(most)
            take(part)
        return message

    return read


def check_most(given: int, most: int, what: str) -> None:
    """Refuses more than the service allows.

    Raises:
        ApiError: It is more.
    """
    if given > most:
        raise ApiError("too_many", f"{what}: at most {most:,} are allowed, given {given:,}")


def too_large(most: int) -> ApiError:
    """The error for a request with too many bytes."""
    return ApiError("too_large", f"the request is larger than {most / (1 << 20):g} MiB")


class AnswerInTime:
    """Answers for an application that takes too long; what it still does has no effect on the answer.

    Threads cannot be stopped, so the work goes on, and ends.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        """Takes the application, and how long it may take to begin its answer."""
        self._app, self._seconds = app, seconds
        self._left: set[asyncio.Task[None]] = set()

    @property
    def late(self) -> int:
        """How many requests are still in work after their answer."""
        return len(self._left)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application."""
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[None] = loop.create_future()
        began = too_late = False

        def decide(_: object = None) -> None:
            if not decided.done():
                decided.set_result(None)

        async def reply(message: Message) -> None:
            nonlocal began
            if too_late:
                return
            began = True
            decide()
            await send(message)

        task: asyncio.Task[None] = asyncio.ensure_future(self._app(scope, receive, reply))
        task.add_done_callback(decide)
        timer = loop.call_later(self._seconds, decide)
        try:
            await decided
        finally:
            timer.cancel()
        if began or task.done():
            await task
            return
        too_late = True
        self._left.add(task)
        task.add_done_callback(self._ended)
        raise ApiError("no_answer_in_time", f"there was no answer within {self._seconds:g} seconds")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # it was too late to be of interest
