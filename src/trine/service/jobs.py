"""Long work: done one after another beside the answers, with progress; it survives a restart.

A job is stored before its request is answered. When the service starts, a job that was at work is begun
again: every kind of work goes on from what was done, or can be repeated. One that brought the service down
several times is marked as interrupted.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trine.errors import TrineError
from trine.interruption import interrupted_by
from trine.service.errors import ApiError, api_error
from trine.service.keys import Caller
from trine.service.service import Service

State = Literal["waiting", "running", "done", "failed", "cancelled", "interrupted"]

STATES: tuple[State, ...] = get_args(State)
ATTEMPTS = 3
"""How often a job is begun before it counts as interrupted."""

KEPT = 200
"""How many jobs are remembered after their end."""

OFTEN = 0.2
"""Seconds between two notes of the progress."""

_SHOWN = 40
"""How many letters of a name a message shows at least."""

Progress = Callable[[int], None]
Work = Callable[[Service, "Job", bytes | None, Progress], Mapping[str, Any]]
"""Does the work of a job: with its payload, and a function to call with the number of items done."""

logger = logging.getLogger("trine.service")

_COLUMNS = (
    "id, made, who, gallery, kind, arguments, state, done, total, "
    "started, ended, result, error, code, attempts, cancel"
)


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: Its name.
        made: When it was asked for, in seconds since 1970.
        who: The name of the key; "local" without keys.
        gallery: The gallery.
        kind: What is done.
        arguments: How.
        state: How far it is.
        done: How many items are done.
        total: How many there are; None if that is not known.
        started: When it was begun last.
        ended: When it ended.
        result: What came out.
        error: Why it failed; "" if it did not.
        code: The code of the error.
        attempts: How often it was begun.
        cancel: Whether it was asked to stop.
    """

    id: str
    made: float
    who: str
    gallery: str
    kind: str
    arguments: Mapping[str, Any]
    state: State
    done: int
    total: int | None
    started: float | None
    ended: float | None
    result: Mapping[str, Any] | None
    error: str
    code: str
    attempts: int
    cancel: bool


class StoppedError(Exception):
    """The job was cancelled, or the service stops."""


class Jobs:
    """The jobs of a service, and the thread that does them.

    Args:
        service: The service.
        work: What each kind does.
    """

    def __init__(self, service: Service, work: Mapping[str, Work]) -> None:
        self._service, self._state, self._work = service, service.state, work
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._skipped: set[tuple[str, str]] = set()
        self._running: str | None = None
        self._renamed: dict[tuple[str, str], str] = {}
        service.forgetting.append(self._forget)
        service.renaming.append(self._rename)

    def start(self) -> None:
        """Begins to work, first on what an earlier process left."""
        self._state.changed(
            "UPDATE jobs SET state = 'interrupted', ended = ?, payload = NULL, error = ?"
            " WHERE state = 'running' AND attempts >= ?",
            (time.time(), f"the service died {ATTEMPTS} times while it was at work on this", ATTEMPTS),
        )
        self._state.changed("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="trine jobs", daemon=True)
        self._thread.start()

    def stop(self, *, seconds: float = 10.0) -> None:
        """Stops working; a job at work stays stored, and is gone on with after the next start.

        Args:
            seconds: How long to wait for the step at work.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def add(
        self,
        caller: Caller,
        gallery: str,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        payload: bytes | None = None,
        total: int | None = None,
    ) -> Job:
        """Stores a job, which is begun when those before it are done.

        Raises:
            ApiError: Too many jobs wait.
        """
        with self._state.transaction():
            (waiting,) = self._state.rows("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'running')")[
                0
            ]
            if waiting >= self._service.limits.jobs:
                raise ApiError("busy", f"{waiting} jobs wait already", retry_after=10)
            (held,) = self._state.rows("SELECT coalesce(sum(length(payload)), 0) FROM jobs")[0]
            if payload is not None and held + len(payload) > self._service.limits.job_bytes:
                raise ApiError("busy", "the jobs that wait hold too much already", retry_after=10)
            number = secrets.token_hex(8)
            self._state.changed(
                "INSERT INTO jobs (id, made, who, gallery, kind, arguments, payload, state, total)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?)",
                (number, time.time(), caller.name, gallery, kind, json.dumps(arguments), payload, total),
            )
            self._state.changed(
                "DELETE FROM jobs WHERE state NOT IN ('waiting', 'running') AND id NOT IN"
                " (SELECT id FROM jobs ORDER BY made DESC LIMIT ?)",
                (KEPT,),
            )
        with self._wake:
            self._wake.notify_all()
        return self.get(number)

    def get(self, number: str) -> Job:
        """Returns a job.

        Raises:
            ApiError: It is unknown.
        """
        rows = self._state.rows(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (number,))
        if not rows:
            raise ApiError("unknown_job", f"there is no job {number[:40]!r}")
        return _job(rows[0])

    def all(self, *, limit: int = KEPT) -> list[Job]:
        """Returns the jobs, the latest first."""
        query = f"SELECT {_COLUMNS} FROM jobs ORDER BY made DESC, id LIMIT ?"
        return [_job(row) for row in self._state.rows(query, (limit,))]

    def cancel(self, number: str) -> Job:
        """Asks a job to stop: one that waits at once, one at work after its present step.

        Raises:
            ApiError: It is unknown.
        """
        self.get(number)
        with self._state.transaction():
            self._state.changed(
                "UPDATE jobs SET state = 'cancelled', ended = ?, payload = NULL"
                " WHERE id = ? AND state = 'waiting'",
                (time.time(), number),
            )
            self._state.changed("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (number,))
        return self.get(number)

    def name_now(self, gallery: str, identity: str) -> str | None:
        """The name of an identity that the job at work brings.

        Args:
            gallery: The gallery.
            identity: The name that the job began with.

        Returns:
            The name since the job began; None if the identity was forgotten.
        """
        name = self._renamed.get((gallery, identity), identity)
        return None if (gallery, name) in self._skipped else name

    def _loop(self) -> None:
        while True:
            with self._wake:
                if self._stopping:
                    return
                if (job := self._next()) is None:
                    self._wake.wait(5)
                    continue
            try:
                self._run(job)
            except Exception:  # such as a full disk: the job waits for the next start
                logger.exception("a job could not be stored")
                time.sleep(1)

    def _next(self) -> Job | None:
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state = 'waiting' ORDER BY made, rowid LIMIT 1"
        try:
            rows = self._state.rows(query)
        except Exception:  # such as a disk that fails: it is tried again
            logger.exception("the jobs could not be read")
            return None
        return _job(rows[0]) if rows else None

    def _run(self, job: Job) -> None:
        begin = (
            "UPDATE jobs SET state = 'running', started = ?, attempts = attempts + 1"
            " WHERE id = ? AND state = 'waiting'"
        )
        if not self._state.changed(begin, (time.time(), job.id)):
            return
        self._running, self._skipped, self._renamed = job.id, set(), {}
        noted, looked = -OFTEN, -OFTEN

        def progress(done: int) -> None:
            nonlocal noted
            if (now := time.monotonic()) - noted >= OFTEN:
                noted = now
                self._state.changed("UPDATE jobs SET done = ? WHERE id = ?", (done, job.id))
            check()

        def check() -> None:
            nonlocal looked
            if self._stopping:
                raise StoppedError
            if (now := time.monotonic()) - looked >= OFTEN:
                looked = now
                if self._state.looked_up("SELECT cancel FROM jobs WHERE id = ?", (job.id,)) == [(1,)]:
                    raise StoppedError

        try:
            (payload,) = self._state.rows("SELECT payload FROM jobs WHERE id = ?", (job.id,))[0]
            with interrupted_by(check):
                result = dict(self._work[job.kind](self._service, job, payload, progress))
            self._end(job, "done", result=result)
        except StoppedError:
            if self._stopping:  # which is not the job's fault
                back = "UPDATE jobs SET state = 'waiting', attempts = attempts - 1 WHERE id = ?"
                self._state.changed(back, (job.id,))
            else:
                self._end(job, "cancelled")
        except ApiError as error:
            self._end(job, "failed", error=error.message, code=error.code)
        except TrineError as error:
            told = api_error(error, names=self._service.addresses)
            self._end(job, "failed", error=told.message, code=told.code)
        except Exception:
            logger.exception("a job failed")
            self._end(job, "failed", error="the service failed; its log says how", code="internal")
        finally:
            self._running = None

    def _end(self, job: Job, state: State, *, result: Any = None, error: str = "", code: str = "") -> None:
        self._state.changed(
            "UPDATE jobs SET state = ?, ended = ?, payload = NULL, result = ?, error = ?, code = ?,"
            " done = CASE WHEN ? = 'done' AND total IS NOT NULL THEN total ELSE done END WHERE id = ?",
            (state, time.time(), None if result is None else json.dumps(result), error, code, state, job.id),
        )

    def _forget(self, gallery: str, identity: str, names: set[str]) -> None:
        """Takes a forgotten identity out of what waits, and out of results and errors."""
        self._skipped.add((gallery, identity))
        query = "SELECT id, arguments, result, error FROM jobs WHERE gallery = ?"
        rows = self._state.rows(query, (gallery,))
        for number, arguments, result, error in rows:
            # One after another: payloads may be large.
            (payload,) = self._state.rows("SELECT payload FROM jobs WHERE id = ?", (number,))[0]
            if payload is not None:
                held = json.loads(payload)
                held["entries"] = [one for one in held["entries"] if one["identity"] != identity]
                self._put_payload(number, held)
            told = json.loads(arguments)
            if (known := told.get("known")) is not None:
                known["names"] = {key: name for key, name in known["names"].items() if name not in names}
                known["moved"] = {
                    item: to for item, to in known["moved"].items() if item not in names and to not in names
                }
                self._state.changed("UPDATE jobs SET arguments = ? WHERE id = ?", (json.dumps(told), number))
            if any(json.dumps(name)[1:-1] in (result or "") or _is_in(name, error or "") for name in names):
                update = "UPDATE jobs SET result = NULL, error = '' WHERE id = ?"
                self._state.changed(update, (number,))

    def _rename(self, gallery: str, identity: str, to: str) -> None:
        """Gives an identity its new name in what waits, and in what the job at work brings."""
        for (held_gallery, began), name in list(self._renamed.items()):
            if (held_gallery, name) == (gallery, identity):
                self._renamed[gallery, began] = to
        self._renamed.setdefault((gallery, identity), to)
        query = "SELECT id FROM jobs WHERE gallery = ? AND payload IS NOT NULL"
        for (number,) in self._state.rows(query, (gallery,)):
            # One after another: payloads may be large.
            for (payload,) in self._state.rows("SELECT payload FROM jobs WHERE id = ?", (number,)):
                held = json.loads(payload or b'{"entries": []}')
                named = [one for one in held["entries"] if one["identity"] == identity]
                for one in named:
                    one["identity"] = to
                if named:
                    self._put_payload(number, held)

    def _put_payload(self, number: str, held: Mapping[str, Any]) -> None:
        update = "UPDATE jobs SET payload = ? WHERE id = ? AND payload IS NOT NULL"
        self._state.changed(update, (json.dumps(held).encode(), number))


def _is_in(name: str, message: str) -> bool:
    """Whether a message names somebody, perhaps shortened and quoted."""
    return name[:_SHOWN] in message or repr(name[:_SHOWN])[1:-1] in message


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["arguments"] = json.loads(values["arguments"])
    values["result"] = None if values["result"] is None else json.loads(values["result"])
    values["error"] = values["error"] or ""
    values["cancel"] = bool(values["cancel"])
    return Job(**values)
