"""The two-tower model: users and items in one space, users near the items they like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.data import Features, Interactions
from trine.distances import Distance, pairwise_distances
from trine.encoders.fingerprint import fingerprint_of
from trine.errors import InputError, check_choice, check_count, check_flags
from trine.settings import Range
from trine.shapes import Float, Float32, Int64

INITIAL_LENGTH = 0.1
"""The length of an embedding before training: all start near the origin."""

Count = Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class TwoTowerSettings:
    """All settings of a saved two-tower model.

    Attributes:
        kind: The kind of data.
        dimension: Length of an embedding.
        normalise: Whether embeddings are of length 1; else of at most 1.
        distance: The distance that the model was trained for.
        users: The name of each user.
        items: The name of each item.
        known: How many interactions the model keeps, so that it does not recommend known items.
        user_features: The meaning of each feature of a user.
        item_features: The meaning of each feature of an item.
        titles: The title of each item; empty without titles.
    """

    kind: Literal["interactions"]
    dimension: Count
    normalise: bool
    distance: Distance
    users: tuple[str, ...]
    items: tuple[str, ...]
    known: Annotated[int, Range(at_least=0)]
    user_features: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """A recommended item.

    Attributes:
        item: Its name.
        title: Its title; empty if it has none.
        score: Its distance from the user or the item of the query; smaller is closer.
    """

    item: str
    title: str
    score: float


class Tower(nn.Module):
    """Embeddings of users or of items, in the unit ball or on its surface.

    An embedding is a row of a table, plus a linear map of the features if there are any (Kula 2015,
    "Metadata Embeddings for User and Item Cold-start Recommendations", §2). Rows longer than 1 are scaled
    to 1 (Hsieh et al. 2017, §3.1), here as part of the gradient.

    Args:
        count: How many users, or items, there are.
        features: How many features of each there are.
        dimension: Length of an embedding.
        normalise: Whether embeddings are of length 1; else of at most 1.
    """

    features: Tensor

    def __init__(self, count: int, *, features: int, dimension: int, normalise: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(INITIAL_LENGTH / dimension**0.5 * torch.randn(count, dimension))
        self.weights = nn.Parameter(INITIAL_LENGTH / dimension**0.5 * torch.randn(features, dimension))
        self.register_buffer("features", torch.zeros(count, features))
        self.normalise = normalise

    def forward(self, numbers: Int64[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """Embeds users or items by their numbers."""
        rows = F.embedding(numbers, self.table)  # with a much faster gradient than indexing
        if self.features.shape[1]:
            rows = rows + self.features[numbers] @ self.weights
        if self.normalise:
            return F.normalize(rows, dim=1)
        clipped: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=1)
        return clipped


@final
class TwoTower(nn.Module):
    """A tower for users and one for items, and the known interactions.

    Args:
        settings: All settings.

    Attributes:
        settings: All settings.
        calibration: None; distances between users and items have no threshold.
        cluster_threshold: None, likewise.
        users: Embeds users by their numbers.
        items: Embeds items by their numbers.
        known: User and item of every known interaction.
    """

    known: Tensor

    def __init__(self, settings: TwoTowerSettings) -> None:
        super().__init__()
        self.settings = settings
        self.calibration: Calibration | None = None
        self.cluster_threshold: ClusterThreshold | None = None
        shape: dict[str, Any] = {"dimension": settings.dimension, "normalise": settings.normalise}
        self.users = Tower(len(settings.users), features=len(settings.user_features), **shape)
        self.items = Tower(len(settings.items), features=len(settings.item_features), **shape)
        self.register_buffer("known", torch.zeros(settings.known, 2, dtype=torch.int64))

    @property
    def distance(self) -> Distance:
        """The distance that the embeddings were trained for."""
        return self.settings.distance

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of every weight and every setting."""
        return fingerprint_of(self, self.settings)

    def forward(
        self, users: Int64[Tensor, " b"], items: Int64[Tensor, " c"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "c d"]]:
        """Embeds users and items by their numbers."""
        return self.users(users), self.items(items)

    def embed(self, of: Literal["users", "items"]) -> Float32[np.ndarray, "n d"]:
        """Embeds all users or all items, in the order of `settings`.

        Args:
            of: `"users"` or `"items"`.

        Returns:
            One embedding a row.

        Raises:
            InputError: `of` is neither.
        """
        check_choice("side", of, ("users", "items"))
        tower = self.users if of == "users" else self.items
        with torch.inference_mode():
            rows = tower(torch.arange(len(tower.table), device=tower.table.device))
            embeddings: np.ndarray = rows.float().cpu().numpy()
        return embeddings

    def recommend(self, user: str, *, k: int = 10, seen: bool = False) -> list[Recommendation]:
        """Recommends the items nearest to a user.

        Args:
            user: The user's name.
            k: How many items to recommend.
            seen: Whether to include items that the user interacted with.

        Returns:
            The items, nearest first.

        Raises:
            InputError: The user is unknown, or `k` is below 1.
        """
        number = self._number_of(user, "users")
        known = self.known.cpu()
        check_flags(seen=seen)
        excluded = known[:0, 1] if seen else known[known[:, 0] == number, 1]
        return self._nearest(self.users, number, excluded, k)

    def similar_items(self, item: str, *, k: int = 10) -> list[Recommendation]:
        """Finds the items nearest to an item: those that the same users like.

        Args:
            item: The item's name.
            k: How many items to find.

        Returns:
            The other items, nearest first.

        Raises:
            InputError: The item is unknown, or `k` is below 1.
        """
        number = self._number_of(item, "items")
        return self._nearest(self.items, number, torch.tensor([number]), k)

    def _nearest(
        self, tower: Tower, number: int, excluded: Int64[Tensor, " e"], k: int
    ) -> list[Recommendation]:
        k = check_count("k", k)
        with torch.inference_mode():
            row = tower(torch.tensor([number], device=self.known.device)).float().cpu()
        items = torch.from_numpy(self.embed("items"))
        distances = pairwise_distances(row, items, distance=self.distance)[0]
        out = torch.zeros(len(items), dtype=torch.bool)
        out[excluded] = True
        order = torch.argsort(distances.masked_fill(out, torch.inf), stable=True)
        titles = self.settings.titles or ("",) * len(items)
        return [
            Recommendation(self.settings.items[at], titles[at], float(distances[at]))
            for at in order[: min(k, int((~out).sum()))].tolist()
        ]

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        names = {"users": self.settings.users, "items": self.settings.items}
        return {of: {name: number for number, name in enumerate(held)} for of, held in names.items()}

    def _number_of(self, name: str, of: Literal["users", "items"]) -> int:
        known = self._numbers[of]
        if name not in known:
            raise InputError(
                f"{of[:-1]} {name!r} is not in the training data ({len(known):,} {of}, such as "
                f"{next(iter(known))!r}): give one of them, or train again with interactions of this "
                f"{of[:-1]}"
            )
        return known[name]


def build_two_tower(
    interactions: Interactions,
    *,
    dimension: int,
    normalise: bool,
    distance: Distance,
    seed: int,
    users: Features | None = None,
    items: Features | None = None,
) -> TwoTower:
    """Builds an untrained two-tower model for the users and items of some interactions.

    Args:
        interactions: The interactions; the model keeps them.
        dimension: Length of an embedding.
        normalise: Whether embeddings are of length 1; else of at most 1.
        distance: The distance to train for.
        seed: The seed of the weights.
        users: Features of the users.
        items: Features of the items.

    Returns:
        The model.

    Raises:
        InputError: The features do not have one row for each user or item.
    """
    for name, found, names in (("users", users, interactions.users), ("items", items, interactions.items)):
        if found is not None and len(found.values) != len(names):
            raise InputError(f"features of {name} have {len(found.values)} rows, expected {len(names)}")
    settings = TwoTowerSettings(
        kind="interactions",
        dimension=dimension,
        normalise=normalise,
        distance=distance,
        users=interactions.users,
        items=interactions.items,
        known=len(interactions),
        user_features=() if users is None else users.columns,
        item_features=() if items is None else items.columns,
        titles=(items.titles or ()) if items is not None else (),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        towers = TwoTower(settings)
    towers.known.copy_(torch.from_numpy(interactions.pairs))
    for tower, found in ((towers.users, users), (towers.items, items)):
        if found is not None:
            tower.features.copy_(torch.from_numpy(found.values))
    return towers
