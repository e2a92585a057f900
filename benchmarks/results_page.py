"""Writes docs/results.md from the results that the benchmarks of the recipes kept.

make results
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results import FOLDER

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
OPENING = """# Results

What each recipe and estimator reached, and what is reached without it: mean ± standard deviation over the
seeds or splits, and their number. A baseline in bold is better than the recipe. Times are for one training
on 2 cores without a GPU, often beside other work. `make results` writes this page from `benchmarks/results`;
each section names the command that measures it again.
"""


def page(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Writes the page.

    Args:
        records: What each benchmark kept, by its name.
    """
    told = {name: record for name, record in sorted(records.items()) if record.get("outcomes")}
    sections = [_section(name, record) for name, record in told.items()]
    failed = [f"- {failure}" for record in told.values() for failure in record["failures"]]
    closing = "## What did not work\n\n" + "\n".join(failed) + "\n" if failed else ""
    return "\n".join([OPENING, *sections, closing]).rstrip() + "\n"


def _section(name: str, record: Mapping[str, Any]) -> str:
    lines = [
        f"## {record['question'].rstrip('.:')}",
        "",
        f"    {record['command']}",
        "",
        f"{record['date']}, {record['machine']}, torch {record['torch']}; every metric is in "
        f"`benchmarks/results/{name}.md`.",
        "",
        "| recipe | data | metric | reached | without it | time |",
        "|---|---|---|---|---|---|",
        *(_line(outcome) for outcome in record["outcomes"]),
        "",
    ]
    for comparison in record.get("comparisons", ()):
        lines += [*_comparison(comparison), ""]
    commands = dict.fromkeys(outcome["command"] for outcome in record["outcomes"] if outcome["command"])
    if commands:
        lines += ["To run it:", "", *(f"    {command}" for command in commands), ""]
    return "\n".join(lines)


def _comparison(comparison: Mapping[str, Any]) -> list[str]:
    return [
        f"{comparison['title']}:",
        "",
        f"| | {' | '.join(comparison['metrics'])} |",
        f"|---|{'---|' * len(comparison['metrics'])}",
        *(
            f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"
            for name, values in comparison["ways"].items()
        ),
    ]


def _line(outcome: Mapping[str, Any]) -> str:
    reached = statistics.mean(outcome["values"])
    sign = 1 if outcome["larger_is_better"] else -1
    baselines = ", ".join(
        f"{name} **{value:.3f}**" if sign * (value - reached) > 0.0005 else f"{name} {value:.3f}"
        for name, value in outcome["baselines"].items()
    )
    cells = (
        f"`{outcome['recipe']}`",
        outcome["data"],
        outcome["metric"],
        _with_spread(outcome["values"]),
        baselines,
        _duration(outcome["seconds"]),
    )
    return f"| {' | '.join(cells)} |"


def _with_spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f} (1 run)"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} ({len(values)} runs)"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def kept() -> dict[str, dict[str, Any]]:
    """Reads what all benchmarks have kept, by their names."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}


if __name__ == "__main__":
    PAGE.write_text(page(kept()), encoding="utf-8")
    sys.stdout.write(f"{PAGE} is written\n")
