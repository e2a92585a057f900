"""Damages files at random, has verbs read them, and says what went wrong.

Nothing went wrong if the verb ends within seconds with a documented exit code, and with one sentence if it
is 2; if memory stays within a GiB of what the process had; if a verb that reads left the file as it was;
and if a verb that writes kept every item of a gallery that was readable before.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from support.damage_cases import CASES, Case
from support.damaged_bytes import damage

SECONDS, WAIT = 10, 90
"""Of the processor for a trial, and of the clock for it and for starting a worker."""

MEMORY = 1 << 30
MOST_ITEMS = 60
"""More than a gallery has before it is changed."""

SPACE = 6 << 30
"""Addresses that a worker may take, so that a request for everything fails instead of filling the machine."""

Items = dict[str, tuple[Any, ...]]
"""The items of a gallery by name."""


@dataclass(frozen=True)
class Trial:
    """One damage and one verb.

    Attributes:
        number: Its number; with the seed it gives the same trial again.
        case: The name of the verb or call.
        file: The damaged file, in the folder of everything.
        change: What was done to it.
        code: The exit code; -1 if there was none.
        problem: What went wrong; empty if nothing.
        where: Where, in the source, and with which error.
    """

    number: int
    case: str
    file: str
    change: str
    code: int = -1
    problem: str = ""
    where: str = ""


class _HangError(BaseException):
    """The verb took too long."""


def trials(everything: Path, numbers: Sequence[int], *, seed: int) -> Iterator[Trial]:
    """Runs trials in a worker process, which stays alive from one to the next.

    Args:
        everything: The folder that `damage_cases.make` made.
        numbers: The numbers of the trials.
        seed: Draws cases and damage, together with the number.

    Yields:
        What came of each.
    """
    from support import fork_server

    worker = None
    context = fork_server.processes()
    try:
        for number in numbers:
            if worker is None:
                ours, theirs = context.Pipe()
                process = context.Process(target=work, args=(theirs, everything, seed), daemon=True)
                process.start()
                theirs.close()
                worker = (process, ours)
            worker[1].send(number)
            try:
                # The timer of the worker does not ring inside compiled code, or while it waits.
                if worker[1].poll(WAIT):
                    done = worker[1].recv()
                    if done.problem:  # nobody knows what it left behind in the process
                        worker[0].kill()
                        worker = None
                    yield done
                    continue
                problem = f"took more than {WAIT} s"
            except EOFError:
                worker[0].join(5)
                problem = f"the process died with {worker[0].exitcode}"
            worker[0].kill()
            worker = None
            case, file, change = described(everything, number, seed=seed)
            yield Trial(number, case, file, change, problem=problem)
    finally:
        if worker is not None:
            worker[0].kill()


def work(pipe: Connection, everything: Path, seed: int) -> None:
    """Runs the trials whose numbers come through a pipe, and sends back what came of each."""
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (_addresses() + SPACE, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _ring)
    with tempfile.TemporaryDirectory(dir=_fast()) as folder:
        _import_all(everything, Path(folder) / "copy")
        for number in iter(pipe.recv, None):
            pipe.send(trial(everything, Path(folder) / "copy", number, seed=seed))


def _import_all(everything: Path, folder: Path) -> None:
    """Runs every case on sound files, so that no trial has to import what it needs."""
    for case in CASES:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(everything, folder)
        with _captured(io.StringIO(), []):
            assert case.run(folder) == 0, case.name


def described(everything: Path, number: int, *, seed: int) -> tuple[str, str, str]:
    """The case, the damaged file and the change of a trial, without running it."""
    with tempfile.TemporaryDirectory() as folder:
        case, file, change = _prepared(everything, Path(folder) / "copy", number, seed)
        return case.name, file, change


def trial(everything: Path, folder: Path, number: int, *, seed: int) -> Trial:
    """Damages a file in a copy of everything, and runs a verb on it.

    Args:
        everything: The folder that `damage_cases.make` made.
        folder: Where to copy it to; replaced.
        number: The number of the trial.
        seed: Draws the case and the damage, together with the number.
    """
    case, file, change = _prepared(everything, folder, number, seed)
    made = Trial(number, case.name, file, change)
    path = folder / file
    before, items = _hash(path), _items(path)
    _forget_peak()
    memory, failed, said = _peak(), list[str](), io.StringIO()
    try:
        with _captured(said, failed):
            code = case.run(folder)
    except _HangError as error:
        return replace(made, problem=f"took more than {SECONDS} s", where=_where(error))
    except BaseException as error:
        shown = f"{type(error).__name__}: {str(error)[:120]}"
        return replace(made, problem="traceback", where=f"{shown} in {_where(error)}")
    problems = [
        _of_code(case, code, said.getvalue()),
        f"an error that nobody saw: {failed[0]}" if failed else "",
        f"took {grown / 2**30:.1f} GiB" if (grown := _peak() - memory) > MEMORY else "",
        "changed what it reads" if not case.writes and _hash(path) != before else "",
        _lost(case, items, _items(path)),
    ]
    return replace(made, code=code, problem=next(filter(None, problems), ""))


def _lost(case: Case, before: Items, after: Items) -> str:
    lost = {name for name, row in before.items() if after.get(name) != row} - set(case.gone)
    return f"lost {len(lost)} items, such as {min(lost)!r}" if lost and "*" not in case.gone else ""


def _prepared(everything: Path, folder: Path, number: int, seed: int) -> tuple[Case, str, str]:
    rng = random.Random(f"{seed} {number}")
    case = CASES[number % len(CASES)]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(everything, folder)
    victims = sorted(path for path in folder.glob(rng.choice(case.victims)) if path.is_file())
    path = rng.choice(victims)
    return case, str(path.relative_to(folder)), damage(path, rng)


@contextlib.contextmanager
def _captured(said: io.StringIO, failed: list[str]) -> Iterator[None]:
    hook = sys.unraisablehook
    sys.unraisablehook = lambda seen: failed.append(f"{seen.exc_type.__name__}: {seen.exc_value}")
    # Seconds of this process, since a busy machine has others to serve.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("always")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.unraisablehook = hook


def _of_code(case: Case, code: int, said: str) -> str:
    if code not in (0, 2) and not (code == 1 and case.name == "gallery check"):
        return f"exit code {code}"
    lines = said.splitlines()
    if code == 2 and lines and not lines[-1].startswith("trine: "):
        return f"no sentence: {lines[-1][:100]}"
    if any(word in said for word in ("Traceback", "Warning: ", "Exception ignored")):
        return f"said {said[:200]!r}"
    return ""


def _items(path: Path) -> Items:
    """The items of a gallery that SQLite can read, whose own values are those that trine writes."""
    found: Items = {}
    if path.suffix != ".db" or not path.is_file():
        return found
    query = (
        "SELECT item, embedding, metadata, source FROM items"
        " JOIN identities ON identities.id = items.identity WHERE items.id = ? "
        "AND typeof(cluster) IN ('integer', 'null') AND typeof(source) IN ('text', 'null') "
        "AND typeof(item) = 'text' AND typeof(embedding) = 'blob' AND typeof(name) = 'text' "
        "AND CASE WHEN json_valid(metadata) THEN json_type(metadata) END = 'object'"
    )
    connection = sqlite3.connect(path)
    # One by one: a scan would end at the first page that is damaged.
    for number in range(MOST_ITEMS):
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            for item, *values in connection.execute(query, (number,)):
                found[item] = tuple(values)
    connection.close()
    return found


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"


def _where(error: BaseException) -> str:
    frames = [
        f"{frame.filename.split('/src/trine/')[1]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "/src/trine/" in frame.filename
    ]
    return frames[-1] if frames else "?"


def _ring(number: int, frame: FrameType | None) -> None:
    raise _HangError


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most memory that this process held since its peak was forgotten."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
