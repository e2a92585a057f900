"""The two-tower model: users and items in one space, users near the items they like."""

from __future__ import annotations

from collections.abc import Sequence
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

SMALLEST_HEIGHT = 1e-8
"""The least square of the number that lifts an embedding: the root has no gradient at 0."""

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
        liked: How many liked items of users the model keeps to embed each user by them; None embeds users by
            their ids.
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
    liked: Annotated[int, Range(at_least=0)] | None = None


@dataclass(frozen=True)
class Reason:
    """An item that a user likes, and its share in a recommendation.

    Attributes:
        item: Its name.
        title: Its title; empty if it has none.
        share: Its part of the similarity of the user and the recommended item; all parts add up to 1, and a
            negative one speaks against.
    """

    item: str
    title: str
    share: float


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
        lifted: Whether one more number lifts an embedding of at most length 1 to length 1. Among lifted
            items, the nearest to a user whose last number is 0 is the one of the largest inner product, so
            that an item may be near many users (Bachrach et al. 2014).
    """

    features: Tensor

    def __init__(
        self, count: int, *, features: int, dimension: int, normalise: bool, lifted: bool = False
    ) -> None:
        super().__init__()
        dimension -= lifted
        self.table = nn.Parameter(INITIAL_LENGTH / dimension**0.5 * torch.randn(count, dimension))
        self.weights = nn.Parameter(INITIAL_LENGTH / dimension**0.5 * torch.randn(features, dimension))
        self.register_buffer("features", torch.zeros(count, features))
        self.normalise = normalise
        self.lifted = lifted

    def __len__(self) -> int:
        return len(self.table)

    def forward(self, numbers: Int64[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """Embeds users or items by their numbers."""
        rows = F.embedding(numbers, self.table)  # with a much faster gradient than indexing
        if self.features.shape[1]:
            rows = rows + self.features[numbers] @ self.weights
        return self.placed(rows)

    def placed(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """Brings rows into the unit ball or onto its surface."""
        if self.normalise and not self.lifted:
            return F.normalize(rows, dim=1)
        clipped: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=1)
        if not self.lifted:
            return clipped
        height = (1 - clipped.square().sum(dim=1, keepdim=True)).clamp(min=SMALLEST_HEIGHT).sqrt()
        return torch.cat([clipped, height], dim=1)


class LikedTower(nn.Module):
    """Embeddings of users by the items that they like: the sum of a row for each, brought to length 1.

    A user has no weights of their own, so that a user who is new is embedded like any other (Kabbur, Ning,
    Karypis 2013, "FISM"). The last number is 0; see `lifted` of `Tower`.

    Args:
        count: How many users there are.
        items: How many items there are.
        dimension: Length of an embedding.
        liked: How many liked items of users there are.
    """

    liked: Tensor

    def __init__(self, count: int, *, items: int, dimension: int, liked: int) -> None:
        super().__init__()
        self.count = count
        self.table = nn.Parameter(INITIAL_LENGTH / dimension**0.5 * torch.randn(items, dimension - 1))
        self.register_buffer("liked", torch.zeros(liked, 2, dtype=torch.int64))

    def __len__(self) -> int:
        return self.count

    def forward(
        self,
        numbers: Int64[Tensor, " b"],
        *,
        without: Int64[Tensor, " b"] | None = None,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b d"]:
        """Embeds users by their numbers.

        Args:
            numbers: The users; `liked` must be in the order of users.
            without: An item for each that is left out.
            dropout: The share of the other items that is left out at random.
            generator: Draws what is left out.
        """
        users = self.liked[:, 0].contiguous()
        first = torch.searchsorted(users, numbers.contiguous())
        count = torch.searchsorted(users, numbers.contiguous(), right=True) - first
        offsets = count.cumsum(0) - count
        row = torch.repeat_interleave(torch.arange(len(numbers), device=numbers.device), count)
        place = torch.arange(len(row), device=numbers.device) - offsets[row] + first[row]
        items = self.liked[place, 1]
        weight = torch.ones(len(items), dtype=self.table.dtype, device=items.device)
        if dropout:
            drawn = torch.rand(len(items), generator=generator).to(items.device)
            weight = weight * (drawn >= dropout)
        if without is not None:
            weight = weight * (items != without[row])
        return self.placed(F.embedding_bag(items, self.table, offsets, mode="sum", per_sample_weights=weight))

    def placed(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """Brings sums of rows to length 1, with a last number of 0."""
        return F.pad(F.normalize(rows, dim=1), (0, 1))


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
        by_items = settings.liked is not None
        self.users: Tower | LikedTower
        if settings.liked is not None:
            self.users = LikedTower(
                len(settings.users),
                items=len(settings.items),
                dimension=settings.dimension,
                liked=settings.liked,
            )
        else:
            self.users = Tower(len(settings.users), features=len(settings.user_features), **shape)
        self.items = Tower(
            len(settings.items), features=len(settings.item_features), lifted=by_items, **shape
        )
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
            rows = tower(torch.arange(len(tower), device=tower.table.device))
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
        if isinstance(self.users, LikedTower):
            return self._nearest_to(torch.from_numpy(self.fold_in([item]))[None], torch.tensor([number]), k)
        return self._nearest(self.items, number, torch.tensor([number]), k)

    def fold_in(self, items: Sequence[str]) -> Float32[np.ndarray, " d"]:
        """Embeds a user who is not in the training data, by items that the user likes.

        Args:
            items: The names of the items, at least one.

        Returns:
            The embedding: the items of a gallery nearest to it are those to recommend.

        Raises:
            InputError: No item is given, one is unknown, or the model embeds users by their ids.
        """
        tower, numbers = self._by_items("fold_in"), self._numbers_of(items)
        with torch.inference_mode():
            row = tower.placed(tower.table[numbers].sum(dim=0, keepdim=True))[0]
            embedding: np.ndarray = row.float().cpu().numpy()
        return embedding

    def recommend_for(self, items: Sequence[str], *, k: int = 10) -> list[Recommendation]:
        """Recommends items to a user who is not in the training data, by items that the user likes.

        Args:
            items: The names of the items, at least one.
            k: How many items to recommend.

        Returns:
            Other items, nearest first.

        Raises:
            InputError: As `fold_in`, or `k` is below 1.
        """
        return self._nearest_to(torch.from_numpy(self.fold_in(items))[None], self._numbers_of(items), k)

    def reasons(self, items: Sequence[str], recommended: str, *, k: int = 3) -> list[Reason]:
        """Says which of the items that a user likes led to a recommendation.

        The similarity of a user and an item is a sum over the items that the user likes; a reason is the
        largest part of it.

        Args:
            items: The names of the items that the user likes.
            recommended: The name of the recommended item.
            k: How many reasons to give.

        Returns:
            The reasons, the largest share first.

        Raises:
            InputError: As `fold_in`, or `k` is below 1.
        """
        k = check_count("k", k)
        tower, numbers = self._by_items("reasons"), self._numbers_of(items)
        number = self._number_of(recommended, "items")
        with torch.inference_mode():
            item = self.items(torch.tensor([number], device=numbers.device))[0, :-1]
            parts = (tower.table[numbers] @ item).double().cpu()
        whole = float(parts.sum())
        shares = parts / whole if whole else torch.zeros_like(parts)
        titles = self.settings.titles or ("",) * len(self.settings.items)
        return [
            Reason(self.settings.items[at], titles[at], float(shares[place]))
            for place in torch.argsort(parts, descending=True, stable=True)[:k].tolist()
            for at in (int(numbers[place]),)
        ]

    def liked_by(self, user: str) -> list[str]:
        """Names the items that a user of the training data is embedded by.

        Args:
            user: The user's name.

        Returns:
            The names of the items.

        Raises:
            InputError: The user is unknown, or the model embeds users by their ids.
        """
        liked = self._by_items("liked_by").liked
        chosen = liked[liked[:, 0] == self._number_of(user, "users"), 1]
        return [self.settings.items[at] for at in chosen.tolist()]

    def embed_new(self, features: Float32[np.ndarray, "n f"]) -> Float32[np.ndarray, "n d"]:
        """Embeds items without an interaction, by their features alone.

        Args:
            features: One row per item, with the columns of `settings.item_features`.

        Returns:
            One embedding a row.

        Raises:
            InputError: The model has no features of items, or another number of them.
        """
        width = len(self.settings.item_features)
        if not width or np.ndim(features) != 2 or np.shape(features)[1] != width:
            raise InputError(
                f"features have shape {np.shape(features)}, expected rows of {width} features of an item; "
                "give the columns of settings.item_features, or train with a table of items"
            )
        given = torch.as_tensor(features, dtype=torch.float32, device=self.known.device)
        with torch.inference_mode():
            embeddings: np.ndarray = self.items.placed(given @ self.items.weights).float().cpu().numpy()
        return embeddings

    def _by_items(self, what: str) -> LikedTower:
        if not isinstance(self.users, LikedTower):
            raise InputError(
                f"{what} needs a model that embeds users by the items they like; "
                "train with interactions.users=items"
            )
        return self.users

    def _numbers_of(self, items: Sequence[str]) -> Int64[Tensor, " n"]:
        if isinstance(items, str) or not len(items):
            raise InputError(f"expected a list of at least one item, given {items!r}; name the items")
        return torch.tensor([self._number_of(item, "items") for item in items], device=self.known.device)

    def _nearest(
        self, tower: Tower | LikedTower, number: int, excluded: Int64[Tensor, " e"], k: int
    ) -> list[Recommendation]:
        with torch.inference_mode():
            row = tower(torch.tensor([number], device=self.known.device)).float().cpu()
        return self._nearest_to(row, excluded, k)

    def _nearest_to(
        self, row: Float[Tensor, "1 d"], excluded: Int64[Tensor, " e"], k: int
    ) -> list[Recommendation]:
        k = check_count("k", k)
        items = torch.from_numpy(self.embed("items"))
        distances = pairwise_distances(row, items, distance=self.distance)[0]
        out = torch.zeros(len(items), dtype=torch.bool)
        out[excluded.cpu()] = True
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
    liked: Int64[np.ndarray, "n 2"] | None = None,
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
        liked: User and item of each liked interaction, to embed users by these items; None embeds users by
            their ids.

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
        liked=None if liked is None else len(liked),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        towers = TwoTower(settings)
    towers.known.copy_(torch.from_numpy(interactions.pairs))
    if liked is not None and isinstance(towers.users, LikedTower):
        in_order = np.ascontiguousarray(liked[np.lexsort((liked[:, 1], liked[:, 0]))])
        towers.users.liked.copy_(torch.from_numpy(in_order))
    for tower, found in ((towers.users, users), (towers.items, items)):
        if found is not None and isinstance(tower, Tower):
            tower.features.copy_(torch.from_numpy(found.values))
    return towers
