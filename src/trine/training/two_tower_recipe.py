"""The section `interactions` of a recipe, and which other settings apply to such a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from trine.errors import SettingError
from trine.settings import Range, Settings

APPLY = ("encoder.dimension", "encoder.normalise", "loss.margin", "loss.distance")
"""The settings outside `training` that apply to a run on interactions."""

DO_NOT_APPLY = ("training.devices", "training.chunk", "training.cache", "training.backbone_lr_scale")
"""The settings in `training` that do not apply."""


@dataclass(frozen=True)
class InteractionsRecipe(Settings):
    """How a user and an item tower are trained on a table of interactions (Hsieh et al. 2017).

    Attributes:
        user: The user column; null takes one called user, userId, user_id or the like.
        item: The item column; null takes one called item, itemId, movieId or the like.
        time: The time column; null takes one called time or timestamp, else the order of the rows.
        rating: The rating column; null takes one called rating, weight or the like.
        at_least: The lowest rating of a liked item; null takes every interaction.
        user_features: The feature columns of the user table; null takes all that can be used.
        item_features: The feature columns of the item table; null takes all that can be used.
        batch: Liked items in a batch.
        candidates: Items drawn for each batch as possible negatives of its users; what a user has interacted
            with is never a negative.
        negatives: `hard` takes the nearest candidate of each user, `sampled` one at random; `all` takes all
            candidates n at once, by log(1 + Σ exp((d(user, liked) − d(user, n)) / temperature)): the soft
            margin of a triplet, for many negatives (Sohn 2016). It needs loss.margin null.
        temperature: How much a difference of distances counts with `all`; smaller looks at the nearest only.
        users: `ids` learns an embedding of each user; `items` embeds a user by the items that the user likes,
            so that new users need no training. It begins with the factors of a ridge regression of each item
            on all others (EASE, Steck 2019), of as many factors as the embeddings have room for, and triplets
            train them on; users have no features then.
        ridge: The penalty of that regression.
        dropout: With `items`, the share of a user's items that is left out at random in each step; the liked
            item that is to be found is always left out.
        rank_weight: Whether to weight a triplet by how low its positive is estimated to rank: log(1 + J·M/U)
            for J of U candidates inside the margin, among M items (Weston, Bengio, Usunier 2011, as in CML).
        covariance: The weight of a penalty on correlated dimensions (Hsieh et al. 2017, eq. 6).
        at: The k of HR@k and NDCG@k; the weights with the best NDCG@k in validation are kept.
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
    negatives: Literal["hard", "sampled", "all"] = "hard"
    temperature: Annotated[float, Range(above=0)] = 0.1
    users: Literal["ids", "items"] = "ids"
    ridge: Annotated[float, Range(above=0)] = 100.0
    dropout: Annotated[float, Range(at_least=0, below=1)] = 0.5
    rank_weight: bool = False
    covariance: Annotated[float, Range(at_least=0)] = 0.0
    at: Annotated[int, Range(at_least=1)] = 10


def check_interactions(
    interactions: InteractionsRecipe, *, changed: Sequence[str], margin: float | None
) -> None:
    """Checks that a recipe for interactions sets only what applies to such a run.

    Args:
        interactions: The section.
        changed: The other keys of the recipe that are not at their defaults.
        margin: The margin of the loss.

    Raises:
        SettingError: A setting does not apply, or needs a margin.
    """
    for key in changed:
        if key in DO_NOT_APPLY or not (key.startswith("training.") or key in APPLY):
            raise SettingError(
                f"{key} does not apply to interactions; leave it out, or leave out the section interactions"
            )
    if interactions.rank_weight and margin is None:
        raise SettingError("interactions.rank_weight needs a margin; set loss.margin to a number")
    if interactions.negatives == "all" and margin is not None:
        raise SettingError(
            f"interactions.negatives all has no margin, and loss.margin is {margin:g}; "
            "set loss.margin to null"
        )
