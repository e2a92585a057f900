"""How well does the default recipe tell apart people it has never seen?

Trains on 30 of the 40 people of AT&T/ORL and looks at the other 10, over five random splits; no setting is
changed but the seed, which draws the split, the weights and the batches.

    python benchmarks/faces_orl.py ../shared/data/faces_orl
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from results import Outcome, keep, spread, timed_run
from trine.data import load
from trine.pipelines import train_run
from trine.report import headline
from trine.training import load_recipe

SEEDS = range(5)


def main(folder: str, seeds: range = SEEDS) -> None:
    data, report = load(folder)
    print(report)
    rows = []
    for seed in seeds:
        recipe = load_recipe("default", overrides={"seed": seed})
        with timed_run() as (run, took):
            found = train_run(data, recipe, out=run)
        assert found.before is not None
        before, after = headline(found.before), headline(found.after)
        rows.append(
            {"seed": seed, "seconds": took.seconds} | {f"raw {k}": v for k, v in before.items()} | after
        )
        print(rows[-1], flush=True)
    summary = {name: spread([row[name] for row in rows]) for name in rows[0] if name != "seed"}
    keep("faces_orl", __doc__, rows=rows, summary=summary, arguments=[folder], outcomes=outcomes(rows))


def outcomes(rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The metrics of the page of results."""
    return [
        Outcome(
            recipe="default",
            data="ORL, 10 people never seen",
            metric=metric,
            values=[row[metric] for row in rows],
            baselines={"pixels": mean(row[f"raw {metric}"] for row in rows)},
            seconds=mean(row["seconds"] for row in rows),
            command="trine train faces_orl --out runs/orl",
        )
        for metric in ("MAP@R", "TAR at FAR 1 %")
    ]


if __name__ == "__main__":
    main(*sys.argv[1:2])
