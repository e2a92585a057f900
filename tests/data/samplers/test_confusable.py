"""Batches of confusable identities: harder, and otherwise all that the deal promised."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trine.data import PKSampler, load
from trine.data.samplers.confusable import NeighbourSwaps
from trine.errors import SettingError
from trine.mining import confusable_identities

sizes = st.lists(st.integers(1, 13), min_size=2, max_size=14)
settings = st.fixed_dictionaries(
    {
        "identities": st.integers(2, 5),
        "items": st.integers(2, 4),
        "seed": st.integers(0, 3),
        "last": st.sampled_from(["even", "short", "drop"]),
        "repeat": st.sampled_from(["never", "fill"]),
        "world_size": st.integers(1, 2),
    }
)


def labels_of(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)) * 7 - 3, sizes)


def lists(identities: int, k: int, seed: int) -> np.ndarray:
    """Neighbours on a line, in random order along it; the last places of some lists are empty."""
    generator = np.random.default_rng(seed)
    at = generator.permutation(identities).astype(float)
    gap = np.abs(at[:, None] - at[None])
    np.fill_diagonal(gap, np.inf)
    found = gap.argsort(axis=1, kind="stable")[:, : min(k, identities - 1)]
    found[generator.random(found.shape) < 0.1] = -1
    return found


def epoch_of(labels: np.ndarray, epoch: int, options: dict[str, Any], **more: Any) -> list[list[list[int]]]:
    ranks = []
    for rank in range(options["world_size"]):
        sampler = PKSampler(labels, rank=rank, **options, **more)
        sampler.set_epoch(epoch)
        ranks.append(list(sampler))
    return [list(batch) for batch in zip(*ranks, strict=True)]


@given(sizes, settings, st.integers(1, 8), st.sampled_from([0.25, 0.5, 0.9]), st.integers(0, 2))
def test_the_promises_of_the_deal_are_kept(
    sizes: list[int], options: dict[str, Any], k: int, share: float, epoch: int
) -> None:
    assume(options["identities"] * options["world_size"] <= len(sizes))
    assume(options["items"] <= max(sizes))
    labels = labels_of(sizes)
    dealt = epoch_of(labels, epoch, options)
    neighbours = lists(len(sizes), k, options["seed"])
    composed = epoch_of(labels, epoch, options, neighbours=neighbours, confusable=share)

    everything = [Counter(chain.from_iterable(chain.from_iterable(batches))) for batches in (dealt, composed)]
    assert everything[0] == everything[1], "an item came more or less often"
    held = [[Counter(labels[batch].tolist()) for batch in ranks] for ranks in composed]
    before = [[Counter(labels[batch].tolist()) for batch in ranks] for ranks in dealt]
    for ranks, dealt_ranks in zip(held, before, strict=True):
        assert [len(own) for own in ranks] == [len(own) for own in dealt_ranks], "batches are as large"
        together = sum(ranks, Counter())
        assert len(together) == sum(len(own) for own in ranks), "an identity is in two processes' batches"
        assert max(together.values()) <= options["items"], "two groups of one identity"
        alone = [sum(sizes[(label + 3) // 7] == 1 for label in chain(*side)) for side in (ranks, dealt_ranks)]
        assert alone[0] == alone[1], "singletons are spread as evenly"
    groups = [
        sorted(
            tuple(sorted(i for i in batch if labels[i] == y))
            for b in side
            for batch in b
            for y in set(labels[batch])
        )
        for side in (dealt, composed)
    ]
    assert groups[0] == groups[1], "groups are not torn"


@given(sizes, settings, st.integers(1, 8), st.sampled_from([0.25, 0.5, 0.9]))
def test_the_share_is_not_exceeded_and_those_brought_have_somebody(
    sizes: list[int], options: dict[str, Any], k: int, share: float
) -> None:
    generator = np.random.default_rng(options["seed"])
    labels = np.arange(len(sizes))
    batches = [
        [[int(i)] for i in generator.permutation(len(sizes))[: options["identities"]]] for _ in range(6)
    ]
    neighbours = lists(len(sizes), k, options["seed"])
    swaps = NeighbourSwaps(
        batches, owners=labels, neighbours=neighbours,
        alone=np.zeros(len(sizes), dtype=bool), generator=generator,
    )  # fmt: skip
    swaps.swap(share)
    for batch, brought in zip(batches, swaps.fetched, strict=True):
        held = {group[0] for group in batch}
        assert len(held) == len(batch)
        wished = {j for i in held for j in neighbours[i].tolist()} & held
        assert brought <= min(int(share * len(batch) + 0.5), len(batch) - 1)
        assert len(wished) >= brought


@pytest.mark.parametrize(("share", "brought"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.75, 6), (0.99, 7)])
def test_long_lists_give_the_whole_share(share: float, brought: int) -> None:
    labels = np.repeat(np.arange(200), 8)
    generator = np.random.default_rng(0)
    batches = [[[int(8 * i)] for i in generator.permutation(200)[:8]] for _ in range(100)]
    swaps = NeighbourSwaps(
        batches, owners=labels, neighbours=lists(200, 30, 1),
        alone=np.zeros(200, dtype=bool), generator=generator,
    )  # fmt: skip
    swaps.swap(share)
    assert max(swaps.fetched) == brought
    assert np.mean(swaps.fetched) >= 0.97 * min(brought, 6), "0.99 leaves one who may ask"


def test_a_neighbour_is_met_far_more_often() -> None:
    labels = np.repeat(np.arange(120), 8)
    neighbours = lists(120, 5, 2)
    meets = {}
    for share in (0.0, 0.5):
        count = places = 0
        sampler = PKSampler(labels, identities=8, items=4, neighbours=neighbours, confusable=share)
        for batch in sampler:
            held = set(labels[batch].tolist())
            count += sum(bool(held & set(neighbours[i].tolist())) for i in held)
            places += len(held)
        meets[share] = count / places
    assert meets[0.0] < 0.4
    assert meets[0.5] > 0.7


def test_nobody_takes_over() -> None:
    """An identity that all others are confused with comes no more often than it would."""
    labels = np.repeat(np.arange(40), 8)
    hub = np.zeros((40, 1), dtype=np.int64)
    hub[0] = 1
    sampler = PKSampler(labels, identities=8, items=2, neighbours=hub, confusable=0.5)
    came = Counter(labels[index] for batch in sampler for index in batch)
    assert set(came.values()) == {8}


def test_the_seed_the_epoch_and_the_lists_decide() -> None:
    labels = np.repeat(np.arange(30), 6)

    def made(seed: int = 3, which: int = 1, share: float = 0.5) -> PKSampler:
        return PKSampler(
            labels, identities=6, items=3, seed=seed, neighbours=lists(30, 6, which), confusable=share
        )

    first = [list(sampler) for sampler in [made()] for _ in range(2)]
    assert [list(sampler) for sampler in [made()] for _ in range(2)] == first
    assert first[0] != first[1]
    assert list(made(seed=4)) != first[0]
    assert list(made(which=2)) != first[0]
    plain = PKSampler(labels, identities=6, items=3, seed=3)
    assert list(made(share=0.0)) == list(plain)
    later = PKSampler(labels, identities=6, items=3, seed=3, confusable=0.5)
    assert list(later) == list(PKSampler(labels, identities=6, items=3, seed=3))
    later.set_neighbours(lists(30, 6, 1))
    assert list(later) == first[1]


def test_an_epoch_is_resumed_with_the_lists_it_began_with() -> None:
    labels = np.repeat(np.arange(30), 6)
    sampler = PKSampler(labels, identities=6, items=3, neighbours=lists(30, 6, 1), confusable=0.5)
    whole = list(sampler)
    state = sampler.state_dict(epoch=0, batches=4)
    again = PKSampler(labels, identities=6, items=3, confusable=0.5)
    with pytest.raises(SettingError, match=r"saved with other data or other settings"):
        again.load_state_dict(state)
    again.set_neighbours(lists(30, 6, 1))
    again.load_state_dict(state)
    assert list(again) == whole[4:]


def test_batches_of_digits_are_harder_than_uniform_ones() -> None:
    data, _ = load("digits")
    rows = np.stack([data.items[i].ravel() for i in range(len(data))]).astype(np.float64)
    neighbours = confusable_identities(rows, data.labels, k=4)
    nearest = {}
    for share in (0.0, 0.5):
        sampler = PKSampler(data.labels, identities=3, items=8, neighbours=neighbours, confusable=share)
        found = []
        for batch in sampler:
            labels = data.labels[batch]
            d = np.sqrt(((rows[batch][:, None] - rows[batch][None]) ** 2).sum(axis=2))
            found.append(np.where(labels[:, None] == labels[None], np.inf, d).min(axis=1))
        assert len(np.concatenate(found)) == len(data)
        nearest[share] = np.concatenate(found).mean()
    assert nearest[0.5] < 0.97 * nearest[0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confusable": 1.0}, r"confusable must be a number >= 0 and < 1, given 1.0"),
        (
            {"neighbours": np.zeros((3, 1), dtype=np.int64)},
            r"neighbours has shape \(3, 1\), expected one row for each of the 2 identities",
        ),
        (
            {"neighbours": np.array([[1], [2]])},
            r"neighbours holds numbers from 1 to 2, expected positions among the 2 identities, 0 to 1, or -1",
        ),
    ],
)
def test_bad_lists(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        PKSampler(labels_of([5, 4]), identities=2, items=2, **options)
