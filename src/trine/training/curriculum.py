"""The stages of a curriculum: what changes during training, and which lists of stages are valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from trine.errors import SettingError
from trine.settings import Range, Settings
from trine.triplets import MiningRule

Number = Literal["margin", "identities", "items"]
"""The fields of a stage that can change gradually."""

NUMBERS: tuple[Number, ...] = ("margin", "identities", "items")


@dataclass(frozen=True)
class Stage(Settings):
    """A change during training; null keeps the earlier value.

    Attributes:
        at: When the stage begins, as a share of all steps.
        until: When numbers reach their new values, as a share of all steps; they change linearly from `at`
            on. null changes them at once.
            A rule always changes at once.
        mining: The rule that chooses the triplets, by name.
        margin: The margin.
        identities: P, the identities in a batch.
        items: K, the items of each.

    Example:
        FaceNet's: semi-hard negatives first, the hardest ones later.

        >>> Stage(at=0.5, mining="hard").mining
        'hard'
    """

    at: Annotated[float, Range(at_least=0, below=1)]
    until: Annotated[float, Range(above=0, at_most=1)] | None = None
    mining: MiningRule | None = None
    margin: Annotated[float, Range(at_least=0)] | None = None
    identities: Annotated[int, Range(at_least=2)] | None = None
    items: Annotated[int, Range(at_least=2)] | None = None


def number_at(share: float, name: Number, first: float, *, curriculum: Sequence[Stage]) -> float:
    """Follows one number through a curriculum.

    Args:
        share: The moment, from 0 to 1.
        name: Which number.
        first: Its value before any stage.
        curriculum: The stages, in the order of time.

    Returns:
        Its value at that moment.

    Example:
        >>> rising = [Stage(at=0.2, until=0.6, margin=0.5)]
        >>> [round(number_at(share, "margin", 0.1, curriculum=rising), 3) for share in (0, 0.2, 0.4, 0.8)]
        [0.1, 0.1, 0.3, 0.5]
    """
    value = first
    for stage in curriculum:
        reached = getattr(stage, name)
        if reached is None or share < stage.at:
            continue
        if stage.until is None or share >= stage.until:
            value = reached
        else:
            value += (reached - value) * (share - stage.at) / (stage.until - stage.at)
    return value


def check_curriculum(curriculum: Sequence[Stage], *, margin: float | None) -> None:
    """Checks that stages do not overlap, and that each changes something.

    Args:
        curriculum: The stages.
        margin: The margin before any stage.

    Raises:
        SettingError: They overlap, or one changes nothing.
    """
    before: Stage | None = None
    for position, stage in enumerate(curriculum):
        key = f"curriculum[{position}]"
        if before is not None and stage.at <= before.at:
            raise SettingError(
                f"{key}.at must be later than the stage before, at {before.at:g}, given {stage.at:g}"
            )
        if before is not None and before.until is not None and stage.at < before.until:
            raise SettingError(
                f"{key}.at is {stage.at:g}, but the stage before continues until {before.until:g}; make it "
                "end before this one begins"
            )
        if stage.until is not None and stage.until <= stage.at:
            raise SettingError(f"{key}.until must be later than at, {stage.at:g}, given {stage.until:g}")
        if stage.until is not None and all(getattr(stage, name) is None for name in NUMBERS):
            raise SettingError(
                f"{key}.until needs a number to change gradually; set {', '.join(NUMBERS[:-1])} or "
                f"{NUMBERS[-1]}, or leave until out"
            )
        if stage.margin is not None and margin is None:
            raise SettingError(
                f"{key}.margin is {stage.margin:g}, but loss.margin is null, the soft margin; set "
                "loss.margin to a number"
            )
        before = stage
