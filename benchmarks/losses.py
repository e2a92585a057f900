"""How fast, in how much memory and how exactly are triplet losses computed over all triplets of a batch?

Time is the median of interleaved calls, forward and backward, on one core, beside the same number of matrix
products as the passes rest on ("unit": 2·N²·D operations as tiled products; 1½ units for `all` and the soft
margin, ½ for `hard`, `semihard` and the census) and beside other libraries. Memory is the growth of the peak,
each case in its own process. Accuracy is against float64. "all cores" is the same call with as many
threads as the machine has cores.

    taskset -c 0 python benchmarks/losses.py            # everything; a quiet machine, about 10 minutes
    taskset -c 0 python benchmarks/losses.py time       # or: memory, accuracy, plot
    taskset -c 0 python benchmarks/losses.py --against OTHER/src   # in turns with another checkout
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import trine
from losses_against import against, page
from losses_peers import peers
from losses_report import plot, report
from results import FOLDER

WIDTH = 128
LIMIT_SECONDS, LIMIT_BYTES = 60, 12 << 30
UNITS = {
    "all": 1.5,
    "soft": 1.5,
    "few active": 1.5,
    "all and census": 1.5,
    "hard": 0.5,
    "semihard": 0.5,
    "census": 0.5,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "all": {"mining": "all"},
    "few active": {"mining": "all"},
    "hard": {"mining": "hard"},
    "semihard": {"mining": "semihard"},
    "soft": {"mining": "all", "margin": None},
}
# (rule, N, K); K = 0: half of N in one identity, the rest in pairs.
CASES = [
    *[(rule, n, 4) for n in (32, 64, 128) for rule in ("all", "hard", "semihard", "soft")],
    *[(rule, n, 4) for n in (1024, 2048, 4096) for rule in ("all", "hard", "semihard", "soft", "census")],
    *[(rule, 1024, 64) for rule in ("all", "semihard")],
    *[(rule, 4096, 0) for rule in ("all", "hard", "semihard")],
    ("few active", 4096, 4),
    ("all and census", 4096, 4),
    ("all", 16384, 4),
]
# The ways that are measured for memory, for each case.
MEMORY = [
    *[(rule, 4096, 4, ("trine", "torch", "others")) for rule in ("all", "hard", "semihard")],
    *[(rule, 4096, 4, ("trine", "torch")) for rule in ("soft", "census")],
    ("all", 8192, 4, ("trine", "sentence-transformers")),
    *[("all", n, 4, ("trine",)) for n in (16384, 32768)],
    *[(rule, 32768, 4, ("trine",)) for rule in ("hard", "semihard")],
    ("all", 1024, 64, ("trine", "torch", "others")),
]


def batch(n: int, k: int, kind: str = "random") -> tuple[Tensor, Tensor]:
    """Unit rows in random order: random, or classes so tight that few triplets are active."""
    g = torch.Generator().manual_seed(0)
    y = (
        torch.arange(n) // k
        if k
        else torch.cat([torch.zeros(n // 2).long(), 1 + torch.arange(n - n // 2) // 2])
    )
    x = F.normalize(torch.randn(n, WIDTH, generator=g), dim=1)
    if kind == "few active":
        centres = F.normalize(torch.randn(int(y.max()) + 1, WIDTH, generator=g), dim=1)
        x = F.normalize(centres[y] + 0.86 * x, dim=1)
    order = torch.randperm(n, generator=g)
    return x[order].contiguous(), y[order].contiguous()


def ours(rule: str, y: Tensor) -> Callable[[Tensor], Tensor]:
    if rule == "census":
        return lambda x: torch.tensor(trine.census(x, y).mean_positive_distance)
    if rule == "all and census":
        return lambda x: trine.triplet_loss(x, y, mining="all", return_census=True)[0]
    return lambda x: trine.triplet_loss(x, y, **SETTINGS[rule])


def in_torch(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same without numba."""
    from trine.engine import dispatch

    def without_kernels(x: Tensor) -> Tensor:
        kept, dispatch.installed = dispatch.installed, lambda: False
        try:
            return run(x)
        finally:
            dispatch.installed = kept

    return without_kernels


def products(n: int) -> Callable[[], None]:
    """One unit: every tile of the product, once."""
    x, side = torch.randn(n, WIDTH), min(n, 512)
    out = torch.empty(side, side)

    def run() -> None:
        for i in range(0, n, side):
            for j in range(0, n, side):
                torch.mm(x[i : i + side], x[j : j + side].T, out=out)

    return run


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_case(rule: str, n: int, k: int) -> dict[str, Any]:
    """Medians of interleaved calls; a way that takes long is called less often, but at least once."""
    x, y = batch(n, k, rule)
    rows = x.requires_grad_()

    def step(run: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def once() -> None:
            rows.grad = None
            loss = run(rows)
            if loss.requires_grad:
                loss.backward()

        return once

    ways = {
        "products": products(n),
        "trine": step(ours(rule, y)),
        "trine, torch only": step(in_torch(ours(rule, y))),
    }
    if k == 0:
        ways["balanced"] = step(ours(rule, torch.arange(n) // 4))
    if rule == "all and census":
        ways["all"] = step(ours("all", y))
    if rule == "few active":
        dense, labels = batch(n, k)
        ways["dense"] = step(lambda _: trine.triplet_loss(dense.requires_grad_(), labels, mining="all"))
    if k and n <= 4096:
        ways |= {name: step(run) for name, run in peers(rule, y).items()}
    ways["trine"]()  # compiles
    first = {name: seconds(run) for name, run in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for name, value in first.items():
        if value > 2:
            taken[name].append(value)
    for turn in range(101 if n <= 128 else 15 if n <= 2048 else 5):
        for name, run in ways.items():
            if first[name] < 0.1:
                run()  # a case after one that fills memory would start with cold caches
            if first[name] < 2 and (turn < 3 or first[name] < 0.2):
                taken[name].append(seconds(run))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    limit = medians["products"] * UNITS[rule]
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    torch.set_num_threads(os.cpu_count() or 1)
    cores = statistics.median(seconds(ways["trine"]) for _ in range(5))
    return {
        "rule": rule,
        "N": n,
        "K": k or "skewed",
        "units": UNITS[rule],
        "limit_ms": 1e3 * limit,
        "all_cores_ms": 1e3 * cores,
        "ms": {name: 1e3 * value for name, value in medians.items() if name != "products"},
        "times_limit": {name: value / limit for name, value in medians.items() if name.startswith("trine")},
        "times_trine": {
            name: value / medians["trine"]
            for name, value in medians.items()
            if name != "products" and not name.startswith("trine")
        },
    }


def memory_case(rule: str, n: int, k: int, way: str) -> dict[str, Any]:
    """Growth of the peak of this process, in MB, from after a small batch of the same kind."""
    import resource

    x, y = batch(n, k, rule)
    small, labels = batch(512, 4, rule)
    run, warm = ours(rule, y), ours(rule, labels)
    if way == "torch":
        run, warm = in_torch(run), in_torch(warm)
    elif way != "trine":
        run, warm = peers(rule, y)[way], peers(rule, labels)[way]
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES + (4 << 30), LIMIT_BYTES + (4 << 30)))
    for rows, loss_of in ((small, warm), (x, run)):
        rows.requires_grad_()
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of starting and compiling
        before = _status("VmHWM")
        loss = loss_of(rows)
        if loss.requires_grad:
            loss.backward()
    peak = _status("VmHWM")
    return {"rule": rule, "N": n, "K": k, "way": way, "MB": round((peak - before) / 1024, 1)}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def alone(*arguments: object) -> dict[str, Any]:
    """Runs a case in its own process, which says what it took or that it took too much."""
    command = [sys.executable, __file__, "case", *(json.dumps(a) for a in arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS * 5, check=False)
    except subprocess.TimeoutExpired:
        return {"case": arguments, "failed": f"beyond {LIMIT_SECONDS} s a call"}
    if done.returncode:
        return {
            "case": arguments,
            "failed": "beyond 12 GiB" if "memory" in done.stderr else done.stderr[-300:],
        }
    return json.loads(done.stdout.splitlines()[-1])


def accuracy() -> list[dict[str, Any]]:
    """Relative error of value and gradient against float64, at N = 1024, K = 4."""
    from trine.engine import dispatch

    found = []
    y = torch.arange(1024) // 4
    for kind in ("collapsed to 1e-3", "classes of 1e-3", "classes of 1e-4", "exact duplicates"):
        g = torch.Generator().manual_seed(1)
        x = F.normalize(torch.randn(1024, WIDTH, generator=g), dim=1)
        if kind == "collapsed to 1e-3":
            x = F.normalize(torch.randn(1, WIDTH, generator=g), dim=1) + 1e-3 * x
        elif kind == "exact duplicates":
            x[1::2] = x[::2]
        else:
            x = F.normalize(torch.randn(256, WIDTH, generator=g), dim=1)[y] + float(kind.split()[-1]) * x
        for distance in ("euclidean", "squared_euclidean", "cosine"):
            for rule in ("all", "hard", "semihard", "soft"):
                settings = {"margin": 3.0, "distance": distance} | SETTINGS[rule]
                exact = _graded(x.double(), y, settings)
                row = {"embeddings": kind, "distance": distance, "rule": rule}
                for name in ("compiled", "torch"):
                    kept = dispatch.installed
                    dispatch.installed = kept if name == "compiled" else lambda: False
                    loss, gradient = _graded(x, y, settings)
                    dispatch.installed = kept
                    row[f"{name} value"] = float(abs(loss - exact[0]) / exact[0])
                    row[f"{name} gradient"] = float((gradient - exact[1]).norm() / exact[1].norm())
                found.append(row)
                print(row, flush=True)
    return found


def _graded(x: Tensor, y: Tensor, settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
    rows = x.clone().requires_grad_()
    loss = trine.triplet_loss(rows, y, **settings)
    loss.backward()
    assert rows.grad is not None
    return loss.detach().double(), rows.grad.double()


def main(parts: set[str]) -> None:
    path = FOLDER / "losses.json"
    FOLDER.mkdir(exist_ok=True)
    record = json.loads(path.read_text()) if path.exists() else {}
    packages = ["torch", "numba", "sentence-transformers", "pytorch-metric-learning"]
    if "open-metric-learning" in peers("hard", torch.zeros(2).long()):
        packages.append("open-metric-learning")
    core = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    record["command"] = f"taskset -c {core} python benchmarks/losses.py"
    record["machine"] = f"{os.cpu_count()} cores, one used; " + ", ".join(
        f"{p} {version(p)}" for p in packages
    )

    def keep() -> None:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (FOLDER / "losses.md").write_text(report(record), encoding="utf-8")

    if "time" in parts:
        record["time"] = []
        for case in CASES:
            record["time"].append(alone("time", *case))
            print(record["time"][-1], flush=True)
        keep()
    if "memory" in parts:
        record["memory"] = []
        for rule, n, k, ways in MEMORY:
            others = list(peers(rule, torch.zeros(2).long())) if "others" in ways else []
            for way in (*(w for w in ways if w != "others"), *others):
                record["memory"].append(alone("memory", rule, n, k, way))
                print(record["memory"][-1], flush=True)
    if "accuracy" in parts:
        record["accuracy"] = accuracy()
    keep()
    if "plot" in parts:
        plot(record["time"], [r for r in record["memory"] if "MB" in r])


def compare_with(other: Path, words: list[str]) -> None:
    """Keeps how the present source compares with another checkout's; words choose among the cases."""
    record = against(other.resolve(), words)
    core = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    record["command"] = f"OMP_NUM_THREADS=1 taskset -c {core} python benchmarks/losses.py --against {other}"
    record["machine"] = (
        f"{os.cpu_count()} cores, one used; torch {version('torch')}, numba {version('numba')}"
    )
    if not words:
        (FOLDER / "losses_against.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (FOLDER / "losses_against.md").write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["case"]:
        what, *arguments = (json.loads(a) for a in sys.argv[2:])
        print(json.dumps((time_case if what == "time" else memory_case)(*arguments)))
    elif sys.argv[1:2] == ["--against"]:
        compare_with(Path(sys.argv[2]), sys.argv[3:])
    else:
        main(set(sys.argv[1:]) or {"time", "memory", "accuracy", "plot"})
