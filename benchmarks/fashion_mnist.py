"""What does the default recipe reach on Fashion-MNIST, with seen classes, and in what time?

Trains on the 60,000 training pictures and looks at the 10,000 test pictures; no setting is changed.

    python benchmarks/fashion_mnist.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results import Outcome, keep, timed_run
from trine.data import load
from trine.pipelines import train_run
from trine.report import headline
from trine.training import load_recipe


def main() -> None:
    with timed_run() as (run, took):
        data, report = load("fashion-mnist")
        print(report, flush=True)
        found = train_run(data, load_recipe("default"), out=run)
    print(found)
    assert found.before is not None
    before, after = headline(found.before), headline(found.after)
    row = {"seed": 0, "seconds": took.seconds} | {f"raw {k}": v for k, v in before.items()} | after
    keep("fashion_mnist", __doc__, rows=[row], summary=row, outcomes=outcomes(row))


def outcomes(row: Mapping[str, Any]) -> list[Outcome]:
    """The metrics of the page of results."""
    return [
        Outcome(
            recipe="default",
            data="Fashion-MNIST, 10,000 test pictures of seen classes",
            metric=metric,
            values=[row[metric]],
            baselines={"pixels": row[f"raw {metric}"]},
            seconds=row["seconds"],
            command="trine train fashion-mnist --out runs/fashion",
        )
        for metric in ("MAP@R", "recall@1")
    ]


if __name__ == "__main__":
    main()
