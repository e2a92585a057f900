"""Is any loss slower than in another checkout of trine?

Each case runs in two servers, one for each checkout, that take turns on one core; the ratio is the median
over the turns, of processor time, so that a busy machine slows both. Where anchors and references differ,
"N × M" says how many there are. "torch" is the same without numba.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/losses.py --against OTHER/src
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRESENT = HERE.parent / "src"
SECONDS = 4.0  # for the turns of a case
# (rule, N, K, M); M = 0: a batch that is its own reference.
SQUARE = [
    *[(rule, n, 4, 0) for n in (32, 128) for rule in ("all", "hard", "semihard", "soft")],
    *[(rule, n, 4, 0) for n in (1024, 2048, 4096) for rule in ("all", "hard", "semihard", "soft", "census")],
    *[(rule, 1024, 64, 0) for rule in ("all", "semihard")],
    *[(rule, 4096, 0, 0) for rule in ("all", "hard", "semihard")],
    ("few active", 4096, 4, 0),
    ("all and census", 4096, 4, 0),
    ("all", 16384, 4, 0),
]
APART = [
    *[(rule, 128, 8, 16384) for rule in ("all", "hard", "semihard", "soft")],
    *[(rule, 2048, 8, 8192) for rule in ("all", "hard", "semihard", "soft", "few active")],
    *[(rule, 2048, k, 8192) for k in (32, 0) for rule in ("all", "semihard")],
]


class Server:
    """A process that runs cases with one checkout of trine."""

    def __init__(self, source: Path, numba: bool) -> None:
        environment = os.environ | {"PYTHONPATH": f"{source}:{HERE}"}
        command = [sys.executable, __file__, "numba" if numba else "torch"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **request: Any) -> float:
        """Returns the answer to a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(case: tuple[str, int, int, int], servers: tuple[Server, Server]) -> dict[str, Any]:
    """Times a case in turns; the order changes from turn to turn."""
    once = [server.ask(prepare=case) for server in servers]
    calls = max(1, round(0.02 / once[0]))
    turns = int(min(41, max(5, SECONDS / 2 / (once[0] * calls))))
    taken: list[list[float]] = [[], []]
    for turn in range(turns):
        for at in (0, 1) if turn % 2 else (1, 0):
            taken[at].append(servers[at].ask(calls=calls))
    ratios = [present / other for other, present in zip(*taken, strict=True)]
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "case": case,
        "other_ms": 1e3 * statistics.median(taken[0]),
        "present_ms": 1e3 * statistics.median(taken[1]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [quarters[0], quarters[2]],
        "ratio_of_least": min(taken[1]) / min(taken[0]),
        "turns": turns,
    }


def against(other: Path, words: list[str]) -> dict[str, Any]:
    """Compares the present source with another checkout's; words choose among the cases."""
    rows = []
    for numba in (True, False):
        servers = Server(other, numba), Server(PRESENT, numba)
        for case in SQUARE + APART:
            way = "numba" if numba else "torch"
            if not numba and case[1] <= 128 and not case[3]:
                continue  # float64: the same code
            if words and not all(word in (way, case[0], str(case[1]), str(case[3])) for word in words):
                continue
            rows.append({"way": way, **compare(case, servers)})
            print(rows[-1], flush=True)
        for server in servers:
            server.close()
    return {"question": str(__doc__).split("\n", 1)[0], "other": str(other), "rows": rows}


def page(record: dict[str, Any]) -> str:
    """The result as a page."""
    lines = [f"# {record['question']}", "", f"    {record['command']}", "", record["machine"], ""]
    lines += ["| case | way | other ms | present ms | ratio | quartiles | of least times |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in record["rows"]:
        rule, n, k, m = row["case"]
        size = f"N={n}" if not m else f"N={n} × M={m}"
        low, high = row["ratio_quartiles"]
        lines.append(
            f"| {rule}, {size}, K={k or 'skewed'} | {row['way']} | {row['other_ms']:.2f} "
            f"| {row['present_ms']:.2f} | {row['ratio']:.3f} | {low:.3f}–{high:.3f} "
            f"| {row['ratio_of_least']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def serve(way: str) -> None:
    """Answers requests: the seconds of one call after preparing a case, then of some more."""
    if way == "torch":
        sys.modules["numba"] = None  # type: ignore[assignment]  # as if it were not installed
    import torch
    from torch.nn import functional as F

    import trine
    from losses import batch, ours

    torch.set_num_threads(1)

    def prepared(rule: str, n: int, k: int, m: int) -> Any:
        x, y = batch(m or n, k, rule)
        if not m:
            return x.requires_grad_(), ours(rule, y)
        g = torch.Generator().manual_seed(3)
        chosen = torch.randperm(m, generator=g)[:n]
        anchors = F.normalize(x[chosen] + 0.05 * torch.randn(n, x.shape[1], generator=g), dim=1)
        settings: dict[str, Any] = {"mining": "all" if rule in ("soft", "few active") else rule}
        settings |= {"margin": None} if rule == "soft" else {}
        settings |= {"references": x.requires_grad_(m <= 8192), "reference_labels": y}
        return anchors.requires_grad_(), lambda rows: trine.triplet_loss(rows, y[chosen], **settings)

    def call() -> None:
        rows.grad = None
        loss = run(rows)
        if loss.requires_grad:
            loss.backward()

    for line in sys.stdin:
        request = json.loads(line)
        calls = request.get("calls", 1)
        if "prepare" in request:
            rows, run = prepared(*request["prepare"])
            call()
        start = time.process_time()
        for _ in range(calls):
            call()
        print((time.process_time() - start) / calls, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
