"""Two towers: users and items in one space, each user near to what suits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trine.data import Features, Interactions
from trine.distances import Distance, pairwise_distances
from trine.encoders.fingerprint import fingerprint_of
from trine.errors import InputError, nearest
from trine.settings import Range, plain
from trine.shapes import Bool, Float, Float32, Int64

START = 0.1
"""The length of an embedding before training: all begin near the middle of the space."""

Count = Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class TwoTowerSettings:
    """What saved towers know about themselves.

    Attributes:
        kind: What they are for.
        dimension: Length of an embedding.
        normalise: Whether embeddings are of length 1; else of at most 1.
        distance: The distance that they were trained for.
        users: The name of each user.
        items: The name of each item.
        met: How many interactions the towers remember, so that nobody is recommended what they know.
        user_features: What each feature of a user is.
        item_features: What each feature of an item is.
        titles: What each item is called; empty where no table said.
    """

    kind: Literal["interactions"]
    dimension: Count
    normalise: bool
    distance: Distance
    users: tuple[str, ...]
    items: tuple[str, ...]
    met: Annotated[int, Range(at_least=0)]
    user_features: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """An item that is recommended.

    Attributes:
        item: Its name.
        title: What it is called; empty where that is not known.
        score: Its distance from the user, or from the item that was asked for; smaller is closer.
    """

    item: str
    title: str
    score: float


class Tower(nn.Module):
    """From numbers of users, or of items, to embeddings in the unit ball, or on its surface.

    An embedding is a row of a table, plus a linear map of the features where there are some (Kula 2015,
    "Metadata Embeddings for User and Item Cold-start Recommendations", §2). Rows longer than 1 are shortened
    to 1 (Hsieh et al. 2017, §3.1), here inside the gradient.

    Args:
        count: How many users, or items, there are.
        features: How many features of each there are.
        dimension: Length of an embedding.
        normalise: Whether embeddings are of length 1; else of at most 1.
    """

    features: Tensor

    def __init__(self, count: int, *, features: int, dimension: int, normalise: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(START / dimension**0.5 * torch.randn(count, dimension))
        self.weights = nn.Parameter(START / dimension**0.5 * torch.randn(features, dimension))
        self.register_buffer("features", torch.zeros(count, features))
        self.normalise = normalise

    def forward(self, numbers: Int64[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """Embeds users, or items, by their numbers."""
        rows = F.embedding(numbers, self.table)  # its gradient is several times faster than that of an index
        if self.features.shape[1]:
            rows = rows + self.features[numbers] @ self.weights
        if self.normalise:
            return F.normalize(rows, dim=1)
        shortened: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=1)
        return shortened


@final
class TwoTower(nn.Module):
    """A tower for users and one for items, and what each user has met.

    Args:
        settings: What the towers are.

    Attributes:
        settings: What the towers are.
        users: From numbers of users to embeddings.
        items: From numbers of items to embeddings.
        met: User and item of every interaction that is known.
    """

    met: Tensor

    def __init__(self, settings: TwoTowerSettings) -> None:
        super().__init__()
        self.settings = settings
        shape: dict[str, Any] = {"dimension": settings.dimension, "normalise": settings.normalise}
        self.users = Tower(len(settings.users), features=len(settings.user_features), **shape)
        self.items = Tower(len(settings.items), features=len(settings.item_features), **shape)
        self.register_buffer("met", torch.zeros(settings.met, 2, dtype=torch.int64))
        self._number: dict[str, dict[str, int]] = {}

    @property
    def distance(self) -> Distance:
        """The distance that the embeddings were trained for."""
        return self.settings.distance

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of every weight and every setting; stored embeddings of items can be bound to it."""
        return fingerprint_of(self, plain(self.settings))

    def forward(
        self, users: Int64[Tensor, " b"], items: Int64[Tensor, " c"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "c d"]]:
        """Embeds users and items by their numbers."""
        return self.users(users), self.items(items)

    def embed(self, of: Literal["users", "items"]) -> Float32[np.ndarray, "n d"]:
        """Embeds all users, or all items, in the order of their names.

        Args:
            of: `"users"` or `"items"`.

        Returns:
            One embedding a row.

        Raises:
            InputError: `of` is neither.
        """
        if of not in ("users", "items"):
            raise InputError(f"of is {of!r}: {nearest(of, ('users', 'items'))}")
        tower = self.users if of == "users" else self.items
        with torch.inference_mode():
            rows = tower(torch.arange(len(tower.table), device=tower.table.device))
            found: np.ndarray = rows.float().cpu().numpy()
        return found

    def recommend(self, user: str, *, k: int = 10, seen: bool = False) -> list[Recommendation]:
        """Names the items that are nearest to a user.

        Args:
            user: The user's name.
            k: How many to name.
            seen: Whether also to name what the user has met.

        Returns:
            The items, nearest first.

        Raises:
            InputError: The user is not known, or `k` is below 1.
        """
        number = self._numbered(user, "users")
        out = torch.zeros(len(self.settings.items), dtype=torch.bool)
        if not seen:
            met = self.met.cpu()
            out[met[met[:, 0] == number, 1]] = True
        with torch.inference_mode():
            row = self.users(torch.tensor([number], device=self.met.device))
        return self._nearest(row, out, k)

    def similar_items(self, item: str, *, k: int = 10) -> list[Recommendation]:
        """Names the items that are nearest to an item: liked by the same users.

        Args:
            item: The item's name.
            k: How many to name.

        Returns:
            The others, nearest first.

        Raises:
            InputError: The item is not known, or `k` is below 1.
        """
        number = self._numbered(item, "items")
        out = torch.zeros(len(self.settings.items), dtype=torch.bool)
        out[number] = True
        with torch.inference_mode():
            row = self.items(torch.tensor([number], device=self.met.device))
        return self._nearest(row, out, k)

    def _nearest(self, row: Float[Tensor, "1 d"], out: Bool[Tensor, " m"], k: int) -> list[Recommendation]:
        if k < 1:
            raise InputError(f"k must be at least 1, given {k}")
        items = torch.from_numpy(self.embed("items"))
        apart = pairwise_distances(row.float().cpu(), items, distance=self.distance)[0]
        order = torch.argsort(apart.masked_fill(out, torch.inf), stable=True)[: min(k, int((~out).sum()))]
        titles = self.settings.titles or ("",) * len(items)
        return [
            Recommendation(self.settings.items[at], titles[at], float(apart[at])) for at in order.tolist()
        ]

    def _numbered(self, name: str, of: Literal["users", "items"]) -> int:
        names = self.settings.users if of == "users" else self.settings.items
        known = self._number.setdefault(of, {})
        if not known:
            known.update({each: number for number, each in enumerate(names)})
        if name not in known:
            raise InputError(
                f"the towers know no {of[:-1]} {name!r}; {of} were learned from {len(names):,} names such as "
                f"{names[0]!r}: name one of them, or train again with the interactions of this one"
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
    """Builds towers for the users and items of some interactions, their weights drawn anew.

    Args:
        interactions: Who met what; the towers remember it.
        dimension: Length of an embedding.
        normalise: Whether embeddings are of length 1; else of at most 1.
        distance: What they will be compared by.
        seed: Of the weights.
        users: What is known of the users.
        items: What is known of the items.

    Returns:
        The towers.

    Raises:
        InputError: There are not as many rows of features as users or items.
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
        met=len(interactions),
        user_features=() if users is None else users.columns,
        item_features=() if items is None else items.columns,
        titles=(items.titles or ()) if items is not None else (),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        towers = TwoTower(settings)
    towers.met.copy_(torch.from_numpy(interactions.pairs))
    for tower, found in ((towers.users, users), (towers.items, items)):
        if found is not None:
            tower.features.copy_(torch.from_numpy(found.values))
    return towers
