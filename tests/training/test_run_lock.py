"""One run folder, one run: the lock ends with its process, and whoever comes second is told who holds it."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import fork_server, run_locks, training_kills
from support.effort import effort
from trine.errors import InputError
from trine.training import DistributedContext, RunDir, fit, load_recipe, lock_run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="flock of POSIX")


def in_thread(work: Callable[[], Any]) -> list[BaseException]:
    """Runs something in another thread, and returns what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return raised


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")

    def second() -> None:
        fit(*training_kills.arguments_of_the_run(), out=run.path)

    with lock_run(run, resume=False):
        with lock_run(run, resume=False):  # the same caller, as train_run and the fit in it
            pass
        (error,) = in_thread(second)
        run.recipe.write_text("seed: 0\n")
        (resumed,) = in_thread(lambda: fit(*training_kills.arguments_of_the_run(), out=run.path, resume=True))
    for each in (error, resumed):
        assert isinstance(each, InputError)
        assert f"(process {os.getpid()} on {socket.gethostname()}, started 20" in str(each)
        assert str(each).startswith(f"{run.path} is used by another run")
    assert list(run.path.iterdir()) == [run.recipe], "nothing is left of the lock"
    with lock_run(run, resume=True):
        pass


def test_a_folder_in_which_nothing_was_kept_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_run(RunDir(tmp_path / "a" / "run"), resume=False):
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "there").mkdir()
    with lock_run(RunDir(tmp_path / "there"), resume=False):
        pass
    assert (tmp_path / "there").is_dir()


def test_nothing_is_written_to_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    for resume, sentence in ((False, "is not empty"), (True, "no run to resume")):
        with pytest.raises(InputError, match=sentence), lock_run(RunDir(tmp_path), resume=resume):
            pass
    assert list(tmp_path.iterdir()) == [tmp_path / "photo.png"]


def test_only_the_first_process_of_a_run_locks(tmp_path: Path) -> None:
    with lock_run(RunDir(tmp_path / "run"), resume=False, context=DistributedContext(1, 2)):
        assert not (tmp_path / "run").exists()


def test_a_file_system_without_locks_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with caplog.at_level(logging.WARNING, "trine.training"), lock_run(RunDir(tmp_path), resume=False):
        pass
    assert caplog.messages == [
        f"{tmp_path} is on a file system without locks (No locks available): nothing stops a second run in "
        "this folder"
    ]


def test_a_killed_run_frees_its_folder_at_once_though_its_children_live(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    run.recipe.write_text("seed: 0\n")
    process = fork_server.processes().Process(target=run_locks.hold_and_fork, args=(str(run.path),))
    process.start()
    noted = Path(f"{run.path}.child")
    until = time.monotonic() + 60
    while not (noted.exists() and noted.read_text()):
        assert time.monotonic() < until
        time.sleep(0.01)
    child = int(noted.read_text())
    try:
        with pytest.raises(InputError, match=f"process {process.pid} on"), lock_run(run, resume=True):
            pass
        process.kill()
        process.join(60)
        os.kill(child, 0)  # raises if it does not live
        with lock_run(run, resume=True):
            assert f"process {os.getpid()} on" in run.lock.read_text(), "not of the killed run"
    finally:
        os.kill(child, signal.SIGKILL)


def test_of_runs_that_start_at_once_in_a_new_folder_exactly_one_wins(tmp_path: Path) -> None:
    context, count = fork_server.processes(), 4
    for number in range(effort(1, 30)):
        folder = tmp_path / f"run {number}"
        barrier, answers = context.Barrier(count), context.Queue()
        started = [
            context.Process(target=run_locks.start_with, args=(seed, str(folder), barrier, answers))
            for seed in range(count)
        ]
        for process in started:
            process.start()
        said = dict(answers.get(timeout=120) for _ in started)
        for process in started:
            process.join(60)
        (winner,) = (seed for seed, answer in said.items() if answer == "finished")
        assert load_recipe(folder / "recipe.yaml").seed == winner
        for seed, answer in said.items():
            assert seed == winner or "is used by another run" in answer or "is not empty" in answer
