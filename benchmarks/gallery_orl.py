"""How well does a gallery tell whom it knows from whom it does not?

AT&T/ORL, 40 people with 10 pictures each, dealt out by chance five times: the default recipe learns from
16, the threshold for a false-accept rate of 1 % is chosen on 8 others, and the last 16 stand before the
gallery. 8 of these are enrolled with 5 pictures each; probes are their other pictures and all of the 8
unknowns. Then the two halves change places. DIR at FPIR 1 %: the share of known probes that is taken for the
right person, at the threshold that accepts at most 1 % of the unknowns. The rate that the chosen
threshold promised is held against the one found among all impostor pairs of the last 16, with its 95 %
interval over identities.

    python benchmarks/gallery_orl.py ../shared/data/faces_orl
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from results import keep, spread, timed
from trine.data import load
from trine.training import load_recipe

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import open_set_trial

SEEDS = range(5)


def main(folder: str) -> None:
    data, report = load(folder)
    print(report)
    rows: list[dict[str, Any]] = []
    for seed in SEEDS:
        recipe = load_recipe("default", overrides={"seed": seed})
        with tempfile.TemporaryDirectory() as out, timed() as took:
            found = open_set_trial.run_trial(data, recipe, learn=16, choose=8, seed=seed, folder=Path(out))
        at_threshold = found.probes.at(found.threshold)
        rows.append(
            {
                "seed": seed,
                "seconds": took.seconds,
                "right person, no threshold": float(found.probes.right.mean()),
                "DIR at FPIR 1 %": found.probes.dir_at_fpir(0.01),
                "DIR at FPIR 10 %": found.probes.dir_at_fpir(0.1),
                "DIR at the chosen threshold": at_threshold[0],
                "FPIR at the chosen threshold": at_threshold[1],
                "FAR found, promised 1 %": found.realised,
                "interval": found.interval.to_json(),
                "holds": found.interval.low <= open_set_trial.FAR <= found.interval.high,
                "as trine.evaluation.open_set says": found.same_as_evaluation,
            }
        )
        print(rows[-1], flush=True)
    numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
    summary: dict[str, Any] = {name: spread([row[name] for row in rows]) for name in numbers}
    summary["intervals of the FAR found"] = ", ".join(
        "{:.4f} to {:.4f}".format(*row["interval"]) for row in rows
    )
    summary["splits whose interval holds the promised rate"] = (
        f"{sum(r['holds'] for r in rows)} of {len(rows)}"
    )
    keep("gallery_orl", __doc__, rows=rows, summary=summary, arguments=[folder])


if __name__ == "__main__":
    main(*sys.argv[1:2])
