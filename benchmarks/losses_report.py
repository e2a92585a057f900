"""The table and the picture of `losses.py`."""

from __future__ import annotations

import math
from typing import Any

from results import FOLDER

QUESTION = (
    "How fast, in how much memory and how exactly are triplet losses computed over all triplets of a batch?"
)
LIMIT_MB = 12 << 10


def plot(times: list[dict[str, Any]], memory: list[dict[str, Any]]) -> None:
    """Time and memory of batch-all against N, with the products as the limit."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    rows = [r for r in times if r.get("rule") == "all" and r["K"] == 4 and r["N"] >= 1024]
    left.plot([r["N"] for r in rows], [r["limit_ms"] for r in rows], "k--", label="matrix products alone")
    for name in ("trine", "trine, torch only", "sentence-transformers", "pytorch-metric-learning"):
        line = [(r["N"], r["ms"][name]) for r in rows if name in r["ms"]]
        left.plot(*zip(*line, strict=True), "o-", label=name)
    left.set(
        xscale="log", yscale="log", xlabel="N", ylabel="ms, forward + backward", title="every triplet, time"
    )
    left.legend(fontsize=7)
    for name in ("trine", "torch", "sentence-transformers", "pytorch-metric-learning"):
        line = [
            (r["N"], r["MB"]) for r in memory if r.get("rule") == "all" and r["K"] == 4 and r["way"] == name
        ]
        if line:
            right.plot(*zip(*line, strict=True), "o-", label={"torch": "trine, torch only"}.get(name, name))
    right.axhline(LIMIT_MB, color="k", linestyle=":", label="12 GiB")
    right.set(xscale="log", yscale="log", xlabel="N", ylabel="MB", title="growth of peak memory")
    right.legend(fontsize=7)
    figure.savefig(FOLDER / "losses.svg")


def growth(record: dict[str, Any]) -> list[str]:
    """Exponents of growth with N, between the smallest and the largest batch of batch-all, K = 4."""
    times = [r for r in record.get("time", []) if r.get("rule") == "all" and r["K"] == 4 and r["N"] >= 1024]
    memory = [r for r in record.get("memory", []) if r.get("rule") == "all" and r["K"] == 4]
    memory = [r for r in memory if r["way"] == "trine"]
    found = []
    for what, points in (
        ("time", [(r["N"], r["ms"]["trine"]) for r in times]),
        ("time of the products", [(r["N"], r["limit_ms"]) for r in times]),
        ("memory", [(r["N"], r["MB"]) for r in memory]),
    ):
        if len(points) > 1:
            (n, low), (m, high) = points[0], points[-1]
            found.append(f"- {what} grows with N to the power {math.log(high / low) / math.log(m / n):.2f}")
    return found


def report(record: dict[str, Any]) -> str:
    """The result as a page."""
    lines = [
        f"# {QUESTION}",
        "",
        f"    {record['command']}",
        "",
        record["machine"],
        "",
        *record.get("notes", []),
        "",
    ]
    lines += ["| case | limit ms | trine ms (× limit) | torch only | all cores | others: ms (× trine) |"]
    lines += ["|---|---|---|---|---|---|"]
    for r in record.get("time", []):
        if "failed" in r:
            lines.append(f"| {r['case']} | {r['failed']} | | | | |")
            continue
        ms, times = r["ms"], r["times_limit"]
        others = ", ".join(f"{name} {ms[name]:.2f} ({x:.2g}×)" for name, x in r["times_trine"].items())
        lines.append(
            f"| {r['rule']}, N={r['N']}, K={r['K']} | {r['limit_ms']:.2f} | {ms['trine']:.2f} "
            f"({times['trine']:.2f}×) | {ms['trine, torch only']:.2f} ({times['trine, torch only']:.2f}×) "
            f"| {r['all_cores_ms']:.2f} | {others} |"
        )
    lines += ["", *growth(record), "", "| growth of peak memory | way | MB |", "|---|---|---|"]
    for r in record.get("memory", []):
        name = f"{r['rule']}, N={r['N']}, K={r['K']} | {r['way']}" if "MB" in r else f"{r['case']} | "
        lines.append(f"| {name} | {r.get('MB', r.get('failed'))} |")
    lines += [
        "",
        "| error against float64 | distance | rule | value | gradient | torch only: value | gradient |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for r in record.get("accuracy", []):
        errors = " | ".join(
            f"{r[f'{w} {f}']:.0e}" for w in ("compiled", "torch") for f in ("value", "gradient")
        )
        lines.append(f"| {r['embeddings']} | {r['distance']} | {r['rule']} | {errors} |")
    return "\n".join(lines) + "\n"
