"""Interactions of users with items, and which of them are held out for validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trine.errors import DataError
from trine.shapes import Bool, Int64, Shaped

FEWEST_LIKED = 3
"""The fewest liked items of a user who is evaluated: one each for training, validation and test."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Users and the items that they interacted with, without duplicates.

    Attributes:
        source: Where they come from, for errors.
        users: The name of each user.
        items: The name of each item.
        user: The user of each interaction.
        item: The item of each interaction.
        liked: Whether the user liked the item; an item that was not liked is not a positive, and is neither
            recommended nor used as a negative.
        time: The time, in any unit; None if the interactions are in the order of time.
        repeats: How many later interactions of the same user and item were skipped.
        columns: The columns that they were read from: users, items, times and ratings, if there are such.
    """

    source: str
    users: tuple[str, ...]
    items: tuple[str, ...]
    user: Int64[np.ndarray, " n"]
    item: Int64[np.ndarray, " n"]
    liked: Bool[np.ndarray, " n"]
    time: Shaped[np.ndarray, " n"] | None = None
    repeats: int = 0
    columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.user)

    def __str__(self) -> str:
        repeated = f", {self.repeats:,} repeated ones skipped" if self.repeats else ""
        columns = f" (columns {', '.join(self.columns)})" if self.columns else ""
        return (
            f"{self.source}: {len(self):,} interactions of {len(self.users):,} users with "
            f"{len(self.items):,} items, {int(self.liked.sum()):,} liked{repeated}{columns}"
        )

    @property
    def pairs(self) -> Int64[np.ndarray, "n 2"]:
        """User and item of each interaction."""
        return np.stack([self.user, self.item], axis=1)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Positions of the interactions of each part.

    Attributes:
        train: Training, and all that is known about the interactions of a user.
        validation: The second to last liked item of each user who is evaluated.
        test: The last liked item of each of them.
        left_out: Items not liked, after the validation item: too late to be used.
        unasked: How many users liked too few items to be evaluated; all their interactions are in `train`.
    """

    train: Int64[np.ndarray, " t"]
    validation: Int64[np.ndarray, " q"]
    test: Int64[np.ndarray, " q"]
    left_out: Int64[np.ndarray, " r"]
    unasked: int


def leave_last_out(interactions: Interactions) -> HeldOut:
    """Holds out the last liked item of each user for the test, and the one before it for validation.

    Interactions after the validation item are not used for training. Interactions of one user at the same
    time are in the order of the table.

    Args:
        interactions: All interactions.

    Returns:
        The parts; no interaction is in two. All interactions of a user with fewer than three liked items are
        for training.

    Raises:
        DataError: No user has liked three items.

    Example:
        >>> liked = np.array([True, True, True, False, True])
        >>> seen = Interactions("t", ("ann",), tuple("abcde"), np.zeros(5, int), np.arange(5), liked)
        >>> parts = leave_last_out(seen)
        >>> [part.tolist() for part in (parts.train, parts.validation, parts.test, parts.left_out)]
        [[0, 1], [2], [4], [3]]
    """
    rows = np.arange(len(interactions))
    time = rows if interactions.time is None else interactions.time
    order = np.lexsort((rows, time, interactions.user))
    user, liked = interactions.user[order], interactions.liked[order]
    ends = np.searchsorted(user, np.arange(len(interactions.users)), side="right")
    counted = np.cumsum(liked)
    total = np.bincount(user[liked], minlength=len(interactions.users))
    # How many liked items of the same user come after this one.
    after = counted[ends - 1][user] - counted
    asked = (total >= FEWEST_LIKED)[user]
    test, validation = (asked & liked & (after == place) for place in (0, 1))
    if not test.any():
        raise DataError(
            f"{interactions.source}: no user liked {FEWEST_LIKED} items, one each for training, validation "
            "and test; give more interactions, or lower interactions.at_least"
        )
    train = ~asked | (after >= 2)
    chosen = (train, validation, test, ~(train | validation | test))
    parts = [np.sort(order[part]) for part in chosen]
    return HeldOut(parts[0], parts[1], parts[2], parts[3], unasked=int((total < FEWEST_LIKED).sum()))
