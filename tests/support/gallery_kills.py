"""Kills processes that write to a gallery, or cuts the power, and checks what is left."""

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, replace
from itertools import pairwise

from support import power_loss
from support.gallery_workloads import POWER_CUTS, WORKLOADS, exists, state_of, until_killed
from trine.errors import TrineError


@dataclass(frozen=True)
class KillReport:
    """Counts of kills, and what was lost."""

    kills: int = 0
    acknowledged: int = 0
    finished: int = 0
    """How many kills came after a step was done and before it was acknowledged."""
    losses: tuple[str, ...] = ()

    def __str__(self):
        return (
            f"{self.kills} times, {self.acknowledged} calls acknowledged, {self.finished} times the call "
            f"under way was there, whole; {len(self.losses)} losses"
        )

    def with_kill(self, when, found, allowed):
        """Counts one more kill; the first allowed state is the one that was acknowledged."""
        losses = self.losses
        if found not in allowed:
            losses += (f"{when}: {_difference(found, allowed[0])}",)
        finished = self.finished + (found in allowed and found != allowed[0])
        return replace(self, kills=self.kills + 1, finished=finished, losses=losses)


def _difference(found, expected):
    if not isinstance(found, dict):
        return found or "the gallery is gone"
    missing, more = (expected or {}).items() - found.items(), found.items() - (expected or {}).items()
    return f"{len(missing)} items missing, {len(more)} that ought not to be there"


def _found(path, workload, state_of=state_of):
    """What is there: `None` without a gallery, a sentence where it cannot be used."""
    try:
        if not exists(path):
            return None
        state = state_of(path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    traced = hasattr(workload, "traces") and "://" not in str(path)
    traces = workload.traces(path, state) if traced else None
    return f"the file still knows of what was forgotten in the steps {traces}" if traces else state


def kill(name, path, *, rounds, context, seed=0, state_of=state_of, server=None):
    """Kills a process in the middle of a workload, looks at what it left, and goes on from there.

    With a server, that is killed instead, with all its processes, and started again.
    """
    rng = random.Random(repr((name, seed)))
    workload, known, step, report, created = WORKLOADS[name], {}, 0, KillReport(), False
    for number in range(rounds):
        acknowledged = _one_life(name, path, step, context, rng, server)
        if acknowledged[:1] == ["open"]:
            created = True
            del acknowledged[0]
        assert acknowledged == list(range(step, step + len(acknowledged)))
        for done in acknowledged:
            known = workload.foresee(known, done)
        step += len(acknowledged)
        under_way, found = workload.foresee(known, step), _found(path, workload, state_of)
        allowed = [known, under_way] if created else [None, {}, under_way]
        report = report.with_kill(f"{name}, round {number}", found, allowed)
        if report.losses:
            break
        if found == under_way != known:  # a step that changes nothing is taken again
            known, step = under_way, step + 1
    return replace(report, acknowledged=step)


def _one_life(name, path, step, context, rng, server=None):
    """Returns what a process acknowledged before it was killed while it opened a gallery or took a step."""
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=until_killed, args=(path, name, step, theirs))
    worker.start()
    theirs.close()
    acknowledged, times = [], []
    for _ in range(rng.randrange(14)):
        acknowledged.append(ours.recv())
        times.append(time.perf_counter())
        if isinstance(acknowledged[-1], Exception):
            raise acknowledged[-1]
    longest = 0.05 if len(times) < 3 else 2 * max(later - t for t, later in pairwise(times[1:]))
    time.sleep(rng.uniform(0, longest))
    worker.kill() if server is None else kill_server(server)
    with contextlib.suppress(EOFError):
        while True:
            acknowledged.append(ours.recv())
    worker.join()
    ours.close()
    if server is None:
        assert worker.exitcode == -9, acknowledged[-1:]
    else:
        server.ensure_postgres_running()
        assert isinstance(acknowledged.pop(), TrineError), "the client is told that the server is gone"
    return acknowledged


def kill_server(server):
    """Kills the postmaster and all its children, each with SIGKILL."""
    import psutil

    postmaster = psutil.Process(server.get_pid())
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)


def journal(folder, *, steps):
    """Records what the first steps of every workload do to the disk, each in its own subfolder."""
    lines = ["from support import gallery_workloads"]
    for name in POWER_CUTS:
        (folder / name).mkdir()
        lines.append(f"gallery_workloads.some_steps({str(folder / name)!r}, {name!r}, {steps})")
    return power_loss.run_under_journal("\n".join(lines), folder)


def cut(name, operations, folder, *, steps, scratch, count, seed=0):
    """Cuts the power at random moments of a workload's journal, and opens what is left."""
    rng = random.Random(repr((name, seed)))
    known = [{}]
    for step in range(steps):
        known.append(WORKLOADS[name].foresee(known[-1], step))
    report = KillReport(acknowledged=steps)
    for fate in power_loss.cuts(operations, folder, rng=rng, count=count):
        for left in scratch.iterdir():
            left.unlink()
        for file, content in fate.files.items():
            # The index of the log is never synchronised, and may hold anything.
            (scratch / file).write_bytes(rng.randbytes(32768) if file.endswith("-shm") else content)
        # The first acknowledgement is that of the creation.
        allowed = known[fate.acknowledged - 1 :][:2] if fate.acknowledged else [None, {}]
        when = f"{name}, operation {fate.moment} of the journal, {fate.how}"
        report = report.with_kill(when, _found(scratch / "people.db", WORKLOADS[name]), allowed)
    return report
