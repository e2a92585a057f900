"""Distributing groups of items over batches, so that no batch gets two groups of one identity."""

from __future__ import annotations

import numpy as np

Group = list[int]
"""Positions of items of one identity that are in one batch together."""


def drop_groups(groups: list[list[Group]], number: int, generator: np.random.Generator) -> None:
    """Drops groups at random, leaving them for another epoch.

    Args:
        groups: The groups of each identity; shortened in place.
        number: How many to drop.
        generator: Decides which.
    """
    owners = np.repeat(np.arange(len(groups)), [len(own) for own in groups])
    for owner in generator.choice(owners, number, replace=False):
        groups[owner].pop()


def take_short_batch(
    groups: list[list[Group]], number: int, full: int, generator: np.random.Generator
) -> list[Group]:
    """Takes the groups of a short last batch, starting with identities that the other batches cannot take.

    Args:
        groups: The groups of each identity; shortened in place.
        number: How many to take, each of a different identity.
        full: How many other batches there are.
        generator: Decides which.

    Returns:
        The groups taken.
    """
    owners = generator.permutation([owner for owner, own in enumerate(groups) if own])
    first = sorted(owners.tolist(), key=lambda owner: len(groups[owner]) <= full)
    return [groups[owner].pop() for owner in first[:number]]


def distribute(groups: list[list[Group]], number: int, generator: np.random.Generator) -> list[list[Group]]:
    """Distributes each identity's groups over different batches, always those with the fewest groups.

    So the numbers of groups never differ by more than one, at any time: identities that come first
    are spread as evenly as all others.

    Args:
        groups: The groups of each identity, at most `number` of each.
        number: How many batches there are.
        generator: Decides which groups share a batch.

    Returns:
        The groups of each batch.
    """
    batches: list[list[Group]] = [[] for _ in range(number)]
    # Batches with the fewest groups, in random order, and those with one more.
    low, high = generator.permutation(number).tolist(), []
    for own in groups:
        if len(own) <= len(low):
            chosen = [low.pop() for _ in own]
            high += chosen
        else:
            high = generator.permutation(high).tolist()
            more, low_again = high[: len(own) - len(low)], high[len(own) - len(low) :]
            chosen = low + more
            low, high = generator.permutation(low + low_again).tolist(), more
        for group, batch in zip(own, chosen, strict=True):
            batches[batch].append(group)
        if not low:
            low, high = generator.permutation(high).tolist(), []
    return batches
