"""`trine mine`: hard triplets of labelled data, as a table to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.cli.arguments import RUN, data_arguments, data_command, echo, load_data
from trine.cli.parser import Verb
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.mining import OfflineMining


def _arguments(parser: Any) -> None:
    parser.add_argument("run", help=RUN)
    data_arguments(parser)
    add = parser.add_argument
    add("--out", required=True, help="the .parquet or .csv file to write")
    add(
        "--part",
        default="auto",
        help="which items: all, train, validation, test, or auto for the items the run was trained on "
        "(default: auto)",
    )
    add(
        "--rule",
        default="semihard",
        help="hard takes the nearest negatives, semihard the nearest beyond the positive (default: semihard)",
    )
    add("--positives", default="1", help="positives for each anchor: a number, or all (default: 1)")
    add("--negatives", type=int, default=1, help="negatives for each positive (default: 1)")
    add(
        "--skip",
        type=int,
        default=0,
        help="how many of the nearest negatives to skip, since they may be mislabelled (default: 0)",
    )
    add("--among", type=int, default=100, help="how many negatives to consider after those (default: 100)")
    add(
        "--absolute-margin",
        type=float,
        help="accept a negative only if it is farther than the positive by at least this distance",
    )
    add(
        "--relative-margin",
        type=float,
        help="accept a negative only if it is farther than the positive by at least this share of the "
        "positive's distance",
    )
    add("--min-distance", type=float, help="the smallest distance of a negative")
    add("--max-distance", type=float, help="the largest distance of a negative")
    add(
        "--choose",
        default="nearest",
        help="which of the accepted negatives to take: nearest or random (default: nearest)",
    )
    add("--seed", type=int, default=0, help="the random seed (default: 0)")


def _run(settings: Any) -> None:
    from trine.pipelines import mine_run, open_trained_run

    run = open_trained_run(settings.run)  # Report a missing model before reading the data.
    how = _mining(settings)
    report = mine_run(run, load_data(settings), out=settings.out, how=how, part=settings.part)
    data = data_command(settings)
    echo(f"{report}\ntrain on them with: trine train {data} --triplets {settings.out} --out RUN")


def _mining(settings: Any) -> OfflineMining:
    from trine.mining import OfflineMining

    positives = settings.positives
    if positives != "all" and not positives.isdecimal():
        raise SettingError(f"--positives must be a number or all, given {positives!r}")
    return OfflineMining(
        rule=settings.rule,
        positives=None if positives == "all" else int(positives),
        negatives=settings.negatives,
        skip=settings.skip,
        among=settings.among,
        absolute_margin=settings.absolute_margin,
        relative_margin=settings.relative_margin,
        min_distance=settings.min_distance,
        max_distance=settings.max_distance,
        choose=settings.choose,
        seed=settings.seed,
    )


MINE = Verb(
    _run,
    _arguments,
    "Write hard triplets of labelled data to a table to train on.",
    "trine mine runs/faces photos/ --out triplets.parquet\n"
    "trine mine runs/faces photos/ --out triplets.csv --rule hard --skip 3 --relative-margin 0.05\n"
    "trine train photos/ --triplets triplets.parquet --out runs/harder",
)
