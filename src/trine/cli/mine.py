"""`trine mine`: hard triplets of labelled data, as a table to train on."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from trine.cli.arguments import DATA, ON, RUN, check_on, computing_on, data_command, echo, load_data, pick
from trine.cli.parser import argument, verb

PART = "all, train, validation, test, or auto for the items the run was trained on (default: auto)"


def _number_or_all(text: str) -> int | None:
    if text != "all" and not text.isdecimal():
        raise ArgumentTypeError(f"expected a number or all, given {text!r}")
    return None if text == "all" else int(text)


LIMITS = (
    argument("--skip", type=int, default=0, help="skip this many of the nearest negatives (default: 0)"),
    argument("--among", type=int, default=100, help="how many to consider after those (default: 100)"),
    argument("--absolute-margin", type=float, help="how much farther than the positive a negative must be"),
    argument("--relative-margin", type=float, help="the same, as a share of the positive's distance"),
    argument("--min-distance", type=float, help="the smallest distance of a negative"),
    argument("--max-distance", type=float, help="the largest distance of a negative"),
    argument(
        "--choose",
        default="nearest",
        help="which of the remaining ones to take: nearest (the default) or random",
    ),
)
RULE = ("rule", "positives", "negatives", "skip", "among", "absolute_margin", "relative_margin")


@verb(
    RUN,
    *DATA,
    argument("--out", required=True, help="the .parquet or .csv file to write"),
    argument("--part", default="auto", help=f"which items: {PART}"),
    argument("--rule", default="semihard", help="semihard (the nearest beyond the positive) or hard"),
    argument("--positives", type=_number_or_all, default=1, help="per anchor: a number, or all (default: 1)"),
    argument("--negatives", type=int, default=1, help="negatives for each positive (default: 1)"),
    *LIMITS,
    argument("--seed", type=int, default=0, help="the random seed (default: 0)"),
    ON,
)
def mine(settings: Any) -> None:
    """Write hard triplets of labelled data to a table to train on.

    trine mine runs/faces photos/ --out triplets.parquet
    trine mine runs/faces photos/ --out triplets.csv --rule hard --skip 3 --relative-margin 0.05
    trine train photos/ --triplets triplets.parquet --out runs/harder
    """
    from trine.mining import OfflineMining
    from trine.pipelines import mine_run, open_trained_run

    check_on(settings)
    run = open_trained_run(settings.run)  # Report a missing model before reading the data.
    how = OfflineMining(**pick(settings, *RULE, "min_distance", "max_distance", "choose", "seed"))
    items = load_data(settings)
    with computing_on(settings, run.encoder):
        report = mine_run(run, items, out=settings.out, how=how, part=settings.part)
    data = data_command(settings)
    echo(report, f"train on them with: trine train {data} --triplets {settings.out} --out RUN")
