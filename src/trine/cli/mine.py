"""`trine mine`: hard triplets of labelled data, as a table to train on."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import (
    DATA_HELP,
    HOW_TO_READ,
    ON,
    check_on,
    computing_on,
    data_command,
    echo,
    load_data,
    pick,
    progress_bar,
)
from trine.cli.parser import argument, verb
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.mining import OfflineMining

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
    argument("run", nargs="?", help="the run folder, or a model folder"),
    argument("data", nargs="?", help=DATA_HELP),
    *HOW_TO_READ,
    argument(
        "--embeddings",
        metavar="FILES",
        help="in place of a run and data: a .parquet file of trine embed, or a folder of them, of any size",
    ),
    argument("--memory", type=float, help="with --embeddings: GiB to search in (default: 2)"),
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
    trine mine --embeddings embeddings/ --out triplets.parquet --memory 8
    trine train photos/ --triplets triplets.parquet --out runs/harder
    """
    from trine.mining import OfflineMining
    from trine.pipelines import mine_run, open_trained_run

    check_on(settings)
    how = OfflineMining(**pick(settings, *RULE, "min_distance", "max_distance", "choose", "seed"))
    if settings.embeddings is not None:
        _mine_embeddings(settings, how)
        return
    if settings.run is None or settings.data is None:
        raise SettingError("mine takes a run folder and data, or --embeddings; see trine mine --help")
    if settings.memory is not None:
        raise SettingError("--memory is for --embeddings: leave it out")
    run = open_trained_run(settings.run)  # Report a missing model before reading the data.
    items = load_data(settings)
    with computing_on(settings, run.encoder):
        report = mine_run(run, items, out=settings.out, how=how, part=settings.part)
    data = data_command(settings)
    echo(report, f"train on them with: trine train {data} --triplets {settings.out} --out RUN")


def _mine_embeddings(settings: Any, how: OfflineMining) -> None:
    from trine.pipelines import mine_embeddings

    extra = {"a run": settings.run, "--part": settings.part.removeprefix("auto"), "--on": settings.on}
    for what, given in extra.items():
        if given:
            raise SettingError(f"--embeddings is mined as it is: leave {what} out")
    with progress_bar("mining", None) as progress:
        report = mine_embeddings(
            settings.embeddings,
            out=settings.out,
            how=how,
            memory=2.0 if settings.memory is None else settings.memory,
            progress=progress,
        )
    echo(report, f"train on them with: trine train DATA --triplets {settings.out} --out RUN")
