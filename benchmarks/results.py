"""How results are kept: one JSON file and one table per question, with the command and the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Outcome:
    """What a recipe, or an estimator, reached on some data: a line of docs/results.md.

    Attributes:
        recipe: Its name, such as `trinet` or `trine.LMNN`.
        data: What it was measured on: the data and the part of it.
        metric: The name of the metric.
        values: The metric of each seed or split.
        baselines: What it is held against, by name.
        seconds: How long one training takes.
        command: What a user types for one such run.
        larger_is_better: Whether it is; false for errors.
    """

    recipe: str
    data: str
    metric: str
    values: Sequence[float]
    baselines: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    command: str = ""
    larger_is_better: bool = True


@dataclass(frozen=True)
class Comparison:
    """Several ways to train beside each other: a table of docs/results.md.

    Attributes:
        title: What is compared, and under which conditions.
        metrics: The names of the columns.
        ways: The metrics of each way, by its name.
    """

    title: str
    metrics: Sequence[str]
    ways: Mapping[str, Sequence[float]]


@dataclass
class Took:
    """Wall and processor seconds of a block."""

    seconds: float = 0.0
    processor_seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Took]:
    """Times a block."""
    took, wall, processor = Took(), time.perf_counter(), time.process_time()
    yield took
    took.seconds = round(time.perf_counter() - wall, 1)
    took.processor_seconds = round(time.process_time() - processor, 1)


@contextmanager
def timed_run() -> Iterator[tuple[Path, Took]]:
    """Lends the path of a run folder that is deleted afterwards, and times the block."""
    with tempfile.TemporaryDirectory() as folder, timed() as took:
        yield Path(folder) / "run", took


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation over the runs, and the extremes."""
    return {
        "mean": statistics.mean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "min": min(values),
        "max": max(values),
    }


def describe(summary: Mapping[str, Any]) -> str:
    """A table in Markdown of metrics, with their spread where there is one."""
    lines = ["| metric | value |", "|---|---|"]
    for name, value in summary.items():
        if isinstance(value, Mapping):
            text = f"{value['mean']:.3f} ± {value['sd']:.3f} ({value['min']:.3f} to {value['max']:.3f})"
        else:
            text = f"{value:.3f}" if isinstance(value, float) else str(value)
        lines.append(f"| {name} | {text} |")
    return "\n".join(lines)


def keep(
    name: str,
    about: str,
    *,
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    arguments: Sequence[object] = (),
    outcomes: Sequence[Outcome] = (),
    comparisons: Sequence[Comparison] = (),
    failures: Sequence[str] = (),
) -> None:
    """Writes and prints what the script of this name has found.

    Args:
        name: The script's, without its ending.
        about: Its docstring, whose first line is the question.
        rows: What was measured.
        summary: What it comes to.
        arguments: What the script was given.
        outcomes: What it says of recipes and estimators: lines of docs/results.md.
        comparisons: What it compares: tables of docs/results.md.
        failures: What did not work, a sentence each: also for docs/results.md.
    """
    command = " ".join(["python", f"benchmarks/{name}.py", *map(str, arguments)])
    write(
        name,
        command=command,
        question=about.splitlines()[0],
        rows=rows,
        summary=summary,
        outcomes=outcomes,
        comparisons=comparisons,
        failures=failures,
    )
    print(describe(summary))


def write(
    name: str,
    *,
    command: str,
    question: str,
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    outcomes: Sequence[Outcome] = (),
    comparisons: Sequence[Comparison] = (),
    failures: Sequence[str] = (),
) -> None:
    """Keeps a result, with what it takes to get it again."""
    about = {
        "question": question,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "torch": version("torch"),
    }
    FOLDER.mkdir(exist_ok=True)
    record: dict[str, Any] = {**about, "summary": summary}
    if outcomes or failures:
        record |= {
            "outcomes": [asdict(outcome) for outcome in outcomes],
            "comparisons": [asdict(comparison) for comparison in comparisons],
            "failures": list(failures),
        }
    record["rows"] = list(rows)
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    page = f"# {question}\n\n    {command}\n\n{about['date']}, {about['machine']}, torch {about['torch']}\n\n"
    (FOLDER / f"{name}.md").write_text(page + describe(summary) + "\n", encoding="utf-8")
