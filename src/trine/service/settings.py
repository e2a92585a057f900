"""What a service allows: sizes, numbers, rates and times, and who may reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from trine.errors import SettingError, check_count

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""The addresses that only this machine reaches."""


@dataclass(frozen=True)
class Limits:
    """The limits of one service.

    Attributes:
        body: The most bytes of a request.
        job_body: The most bytes of a request that begins a job.
        memory: The most bytes of all requests in work together.
        pixels: The most pixels of a picture; of a JPEG four times as many, which is decoded at half its size.
        items: The most items, probes or names in one request.
        results: The most results, or rows of a page, that one request may ask for.
        rate: How many requests a second one key, or one address without a key, may send in the long run; 0
            for no limit.
        burst: How many requests may come at once before the rate counts.
        waiting: How many requests may be in work at once; further ones are told to come back.
        upload_seconds: How long a request may take to arrive.
        answer_seconds: How long an answer may take; its work then ends without an answer.
        decoding: How many pictures are decoded at once, which bounds the memory that they take.
        jobs: How many jobs may wait or run at once.
        job_bytes: The most bytes that these jobs may hold together.

    Raises:
        SettingError: A number is out of range.

    Example:
        >>> Limits(items=50).items
        50
    """

    body: Annotated[int, "bytes"] = 16 << 20
    job_body: Annotated[int, "bytes"] = 256 << 20
    memory: Annotated[int, "bytes"] = 512 << 20
    pixels: int = 40_000_000
    items: int = 1_000
    results: int = 1_000
    rate: Annotated[float, "requests a second"] = 100.0
    burst: int = 500
    waiting: int = 200
    upload_seconds: Annotated[float, "seconds"] = 30.0
    answer_seconds: Annotated[float, "seconds"] = 60.0
    decoding: int = 2
    jobs: int = 100
    job_bytes: Annotated[int, "bytes"] = 1 << 30

    def __post_init__(self) -> None:
        counts = ("body", "job_body", "memory", "pixels", "items", "results", "burst", "waiting")
        for name in (*counts, "decoding", "jobs", "job_bytes"):
            check_count(name, getattr(self, name), error=SettingError)
        if not self.rate >= 0:
            raise SettingError(f"rate must be at least 0 requests a second, given {self.rate}")
        for name in ("upload_seconds", "answer_seconds"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0 seconds, given {getattr(self, name)}")


@dataclass(frozen=True)
class ServiceSettings:
    """How a service is reached, and what it keeps.

    Attributes:
        state: The folder of the service's own file: keys, jobs, judgements and the log of changes. The
            pictures that are kept lie there, too.
        host: The address it listens at.
        port: The port; 0 takes a free one.
        hosts: Further names under which it is reached, such as that of a proxy.
        keep_pictures: Whether pictures that are enrolled are kept.
        runs: A folder of runs, which the page shows side by side; None shows none.
        limits: The limits.

    Raises:
        SettingError: The port is out of range.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 8421
    hosts: tuple[str, ...] = ()
    keep_pictures: bool = False
    runs: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise SettingError(f"port must be from 0 to 65535, given {self.port}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it, and by no other name."""
        return self.host in LOOPBACK and not self.hosts

    def check_reach(self, *, keys: int) -> None:
        """Refuses to be reached from elsewhere without keys.

        Args:
            keys: How many keys there are.

        Raises:
            SettingError: It can be reached from elsewhere, and there is no key.
        """
        if not self.is_local and not keys:
            where = self.host if self.host not in LOOPBACK else ", ".join(self.hosts)
            raise SettingError(
                f"a service that others can reach (at {where}) needs keys: make one with "
                f"`trine keys add NAME --state {self.state}`, or leave the address out to serve this machine"
            )
