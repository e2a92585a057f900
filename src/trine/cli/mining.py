"""How the triplets of `trine mine` are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.mining import OfflineMining


def mining_arguments(parser: Any) -> None:
    """Adds the arguments of the rule, the guards and the table."""
    add = parser.add_argument
    add("--out", type=str, required=True, help="the .parquet or .csv file to write")
    add(
        "--part",
        type=str,
        default="auto",
        help="which items: auto (what the run was trained on), all, train, validation or test",
    )
    add(
        "--rule",
        type=str,
        default="semihard",
        help="hard (the nearest negatives) or semihard (the nearest beyond the positive)",
    )
    add("--positives", type=str, default="1", help="positives of each anchor: a number, or all")
    add("--negatives", type=int, default=1, help="negatives of each positive")
    add(
        "--skip",
        type=int,
        default=0,
        help="leave out so many of the nearest negatives, which may be wrong labels",
    )
    add("--among", type=int, default=100, help="how many of the nearest after those are looked at")
    add(
        "--absolute-margin",
        type=float,
        default=None,
        help="a negative must be so much farther than the positive",
    )
    add(
        "--relative-margin",
        type=float,
        default=None,
        help="a negative must be farther than the positive by this share of its distance",
    )
    add("--min-distance", type=float, default=None, help="the nearest that a negative may be")
    add("--max-distance", type=float, default=None, help="the farthest that a negative may be")
    add(
        "--choose",
        type=str,
        default="nearest",
        help="of the negatives that remain: nearest, or some at random",
    )
    add("--seed", type=int, default=0, help="where everything random starts")


def mining_of(settings: Any) -> OfflineMining:
    """Returns the rule and the guards that were asked for.

    Args:
        settings: The parsed arguments.

    Raises:
        SettingError: `--positives` is no number.
        InputError: A value is unknown or out of range.
    """
    from trine.mining import OfflineMining

    if settings.positives != "all" and not settings.positives.isdecimal():
        raise SettingError(f"--positives {settings.positives!r} is no number: give one, or all")
    return OfflineMining(
        rule=settings.rule,
        positives=None if settings.positives == "all" else int(settings.positives),
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
