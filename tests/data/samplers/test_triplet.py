"""Batches of listed triplets: each once an epoch, in batches of nearly equal size."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data import TripletSampler
from trine.errors import DataError, SettingError


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3), st.integers(0, 3))
def test_each_triplet_comes_once_in_even_batches(count: int, size: int, world: int, epoch: int) -> None:
    if count < world:
        with pytest.raises(DataError, match=r"triplets for . processes: give each at least one"):
            TripletSampler(count, triplets=size, world_size=world)
        return
    ranks = []
    for rank in range(world):
        sampler = TripletSampler(count, triplets=size, seed=2, rank=rank, world_size=world)
        sampler.set_epoch(epoch)
        ranks.append(list(sampler))
        assert len(ranks[-1]) == len(sampler)
    everything = [number for batches in ranks for batch in batches for number in batch]
    assert Counter(everything) == Counter(range(count))
    together = [sum(len(batches[i]) for batches in ranks) for i in range(len(ranks[0]))]
    assert max(together) - min(together) <= 1
    assert max(len(batch) for batches in ranks for batch in batches) <= size


def test_seed_and_epoch_decide() -> None:
    sampler = TripletSampler(30, triplets=4, seed=1)
    first = list(sampler)
    second = list(sampler)
    assert second != first
    for epoch, batches in ((0, first), (1, second)):
        sampler.set_epoch(epoch)
        assert list(sampler) == batches
    resumed = TripletSampler(30, triplets=4, seed=1)
    resumed.load_state_dict(sampler.state_dict(epoch=1, batches=3))
    assert list(resumed) == second[3:]
    with pytest.raises(SettingError, match="saved with other data or other settings"):
        TripletSampler(30, triplets=5, seed=1).load_state_dict(sampler.state_dict())
    assert list(TripletSampler(30, triplets=4, seed=2)) != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"triplets": 0}, "triplets must be at least 1, given 0"),
        ({"triplets": 2, "seed": -1}, "seed must be at least 0, given -1"),
        ({"triplets": 2, "rank": 1}, "rank=1 is out of range: expected below world_size=1"),
    ],
)
def test_bad_settings(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        TripletSampler(5, **settings)
    with pytest.raises(SettingError, match="epoch must be at least 0, given -1"):
        TripletSampler(5, triplets=1).set_epoch(-1)
