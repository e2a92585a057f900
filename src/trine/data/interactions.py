"""Who liked what: interactions of users with items, and what of them is held out to be guessed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from trine.errors import DataError
from trine.shapes import Bool, Float, Int64

FEWEST_LIKED = 3
"""Liked items that a user must have to be asked about: one to learn from, one to choose by, one to test."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Users and the items that they met, each pair once.

    Attributes:
        source: Where they come from: the first words of an error.
        users: The name of each user.
        items: The name of each item.
        user: Which user each interaction is of.
        item: Which item it is with.
        liked: Whether the user liked the item; what was met and not liked teaches nothing, and is neither
            recommended nor taken for a negative.
        time: When it was, in any unit; None where the order of the interactions is that of time.
        repeats: How many interactions were left out as later ones of the same user and item.
    """

    source: str
    users: tuple[str, ...]
    items: tuple[str, ...]
    user: Int64[np.ndarray, " n"]
    item: Int64[np.ndarray, " n"]
    liked: Bool[np.ndarray, " n"]
    time: Float[np.ndarray, " n"] | None = None
    repeats: int = 0

    def __len__(self) -> int:
        return len(self.user)

    def __str__(self) -> str:
        repeated = f", {self.repeats:,} repeated ones left out" if self.repeats else ""
        return (
            f"{self.source}: {len(self):,} interactions of {len(self.users):,} users with "
            f"{len(self.items):,} items, {int(self.liked.sum()):,} liked{repeated}"
        )

    @property
    def pairs(self) -> Int64[np.ndarray, "n 2"]:
        """User and item of each interaction."""
        return np.stack([self.user, self.item], axis=1)

    def digest(self, positions: Int64[np.ndarray, " k"]) -> str:
        """Hashes some interactions with the names of all users and items: what a run was trained on."""
        digest = hashlib.sha256("\0".join((*self.users, "", *self.items)).encode())
        rows = np.column_stack([self.pairs, self.liked])[positions]
        digest.update(np.ascontiguousarray(rows, "<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Which interactions are for what; positions among the interactions.

    Attributes:
        train: What is learned from, and all that is known of what a user has met.
        validation: The last but one liked item of each user who is asked about.
        test: The last liked item of each of them.
        left_out: Met, and not liked, after the validation item: known too late to be used.
        unasked: How many users have liked too few items to be asked about; all they met is in `train`.
    """

    train: Int64[np.ndarray, " t"]
    validation: Int64[np.ndarray, " q"]
    test: Int64[np.ndarray, " q"]
    left_out: Int64[np.ndarray, " r"]
    unasked: int


def leave_last_out(interactions: Interactions) -> HeldOut:
    """Holds out the last liked item of each user for the test, and the one before it for validation.

    Nothing that a user met after the validation item is learned from. Interactions of one user at the same
    time are in the order of the table.

    Args:
        interactions: Who liked what.

    Returns:
        The parts; no interaction is in two. Of a user with fewer than three liked items all is for training.

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
    # How many liked ones of the same user come after this one.
    after = counted[ends - 1][user] - counted
    asked = (total >= FEWEST_LIKED)[user]
    test, validation = (asked & liked & (after == place) for place in (0, 1))
    if not test.any():
        raise DataError(
            f"{interactions.source}: no user has liked {FEWEST_LIKED} items, to learn from one, "
            "choose by one and test on one; give more interactions, or lower interactions.at_least"
        )
    train = ~asked | (after >= 2)
    left_out = ~(train | validation | test)
    return HeldOut(
        train=np.sort(order[train]),
        validation=np.sort(order[validation]),
        test=np.sort(order[test]),
        left_out=np.sort(order[left_out]),
        unasked=int((total < FEWEST_LIKED).sum()),
    )
