"""What a recipe says of a run that learns from interactions, and which other settings such a run follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from trine.errors import SettingError
from trine.settings import Range

FOLLOWED = ("seed", "interactions", "encoder.dimension", "encoder.normalise", "loss.margin", "loss.distance")
"""The settings outside `training` that mean something to a run on interactions."""

UNFOLLOWED = ("training.devices", "training.chunk", "training.cache", "training.backbone_lr_scale")
"""Those in `training` that mean nothing to it."""


@dataclass(frozen=True)
class InteractionsRecipe:
    """How a user and an item tower learn from a table of interactions (Hsieh et al. 2017).

    Attributes:
        user: The user column; null takes one that is called user, userId, user_id and so on.
        item: The item column; null takes one that is called item, itemId, movieId and so on.
        time: The time column; null takes one that is called time or timestamp, and the order of the rows
            where there is none.
        rating: The rating column; null takes one that is called rating, weight and so on.
        at_least: The rating from which an item counts as liked; null counts everything that was met.
        user_features: The columns of the table of users to learn from; null takes all that can be used.
        item_features: The columns of the table of items to learn from; null takes all that can be used.
        batch: Liked items in a batch.
        candidates: How many items are drawn for each batch; from them come the negatives of its users, and
            what a user has met is none.
        negatives: `hard` takes the nearest candidate of each user, `sampled` one at random.
        rank_weight: Whether a triplet counts as much as its positive seems to rank low: log(1 + J·M/U) for J
            of U candidates inside the margin, among M items (Weston, Bengio, Usunier 2011, as in CML).
        covariance: The weight of a penalty on dimensions that vary together (Hsieh et al. 2017, eq. 6).
        at: k of the figures HR@k and NDCG@k; the weights with the best NDCG@k in validation are kept.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None
    at_least: float | None = None
    user_features: tuple[str, ...] | None = None
    item_features: tuple[str, ...] | None = None
    batch: Annotated[int, Range(at_least=1)] = 256
    candidates: Annotated[int, Range(at_least=1)] = 128
    negatives: Literal["hard", "sampled"] = "hard"
    rank_weight: bool = False
    covariance: Annotated[float, Range(at_least=0)] = 0.0
    at: Annotated[int, Range(at_least=1)] = 10


def check_interactions(
    interactions: InteractionsRecipe, *, changed: Sequence[str], margin: float | None, source: str
) -> None:
    """Looks whether a recipe for interactions sets only what such a run follows.

    Args:
        interactions: The section.
        changed: The keys of the recipe that are not at their defaults.
        margin: The margin of the loss.
        source: Where the recipe comes from: the first words of an error.

    Raises:
        SettingError: A setting means nothing to such a run, or needs a margin.
    """
    for key in changed:
        if key in UNFOLLOWED or not key.startswith(("training.", *FOLLOWED)):
            raise SettingError(
                f"{source}: {key} means nothing to a run on interactions; leave it out, or leave out "
                "the section interactions"
            )
    if interactions.rank_weight and margin is None:
        raise SettingError(
            f"{source}: interactions.rank_weight counts what is inside the margin, and loss.margin is null; "
            "give loss.margin a number"
        )
