"""What the docstring of the sampler promises about an epoch, on generated identities."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from support.paths import SHARED_DATA
from trine.data import PKSampler
from trine.errors import DataError, SettingError

sizes = st.lists(st.integers(1, 13), min_size=2, max_size=14)
settings = st.fixed_dictionaries(
    {
        "identities": st.integers(2, 5),
        "items": st.integers(2, 4),
        "seed": st.integers(0, 3),
        "last": st.sampled_from(["even", "short", "drop"]),
        "world_size": st.integers(1, 2),
    }
)


def labels_of(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)) * 7 - 3, sizes)


def usable(sizes: list[int], options: dict[str, Any]) -> None:
    assume(options["identities"] * options["world_size"] <= len(sizes))
    assume(options["items"] <= max(sizes))


def naive_batches(sizes: list[int], p: int, k: int) -> int:
    """The most batches that could be full, counted one by one."""
    paired = sum(n > 1 for n in sizes)
    places = max(p // 2, p - paired)
    number = 0
    while True:
        more = number + 1
        groups = sum(min(-(-n // k), more) for n in sizes if n > 1)
        groups += min(sizes.count(1), places * more)
        if groups < p * more:
            return number
        number = more


def epoch_of_all_ranks(labels: np.ndarray, epoch: int, options: dict[str, Any]) -> list[list[list[int]]]:
    ranks = []
    for rank in range(options["world_size"]):
        sampler = PKSampler(labels, rank=rank, **options)
        sampler.set_epoch(epoch)
        ranks.append(list(sampler))
        assert len(ranks[-1]) == len(sampler)
    return [list(batch) for batch in zip(*ranks, strict=True)]


@given(sizes, settings, st.integers(0, 3))
def test_every_batch_keeps_the_promises(sizes: list[int], options: dict[str, Any], epoch: int) -> None:
    usable(sizes, options)
    labels = labels_of(sizes)
    p, k, world = options["identities"], options["items"], options["world_size"]
    batches = epoch_of_all_ranks(labels, epoch, options)
    full = naive_batches(sizes, p * world, k)
    assert full >= 1
    assert len(batches) in ((full,) if options["last"] == "drop" else (full, full + 1))

    everything = list(chain.from_iterable(chain.from_iterable(batches)))
    assert len(set(everything)) == len(everything), "an item came twice in an epoch"
    for number, ranks in enumerate(batches):
        held = [Counter(labels[batch].tolist()) for batch in ranks]
        together = Counter(chain.from_iterable(held))
        assert max(together.values()) == 1, "an identity is in two processes' batches"
        assert max(chain.from_iterable(h.values() for h in held)) <= k
        counts = [len(h) for h in held]
        assert max(counts) - min(counts) <= 1
        assert min(counts) >= 2
        if options["last"] == "drop" or (options["last"] == "short" and number < full):
            assert counts == [p] * world
        assert sum(counts) <= p * world
        if options["last"] == "even":
            assert sum(counts) >= p * world // 2
        single = sum(sizes[(label + 3) // 7] == 1 for label in together)
        assert single <= max(p * world // 2, p * world - sum(n > 1 for n in sizes)) + 1


@given(sizes, settings)
def test_without_skew_and_singletons_every_item_comes_once(sizes: list[int], options: dict[str, Any]) -> None:
    usable(sizes, options)
    sizes = [max(n, 2) for n in sizes]
    p = options["identities"] * options["world_size"]
    batches = epoch_of_all_ranks(labels_of(sizes), 0, options)
    groups = [-(-n // options["items"]) for n in sizes]
    assume(max(groups) <= len(batches))
    came = set(chain.from_iterable(chain.from_iterable(batches)))
    left = sum(sizes) - len(came)
    if options["last"] == "drop":
        assert left <= options["items"] * (sum(groups) - len(batches) * p)
    elif options["last"] == "short":
        assert left <= options["items"] * (2 * options["world_size"] - 1)
    elif sum(groups) <= len(batches) * p:
        assert left == 0


@given(sizes, settings)
def test_groups_are_dealt_evenly(sizes: list[int], options: dict[str, Any]) -> None:
    usable(sizes, options)
    labels = labels_of(sizes)
    dealt: dict[int, list[int]] = {}
    for batch in chain.from_iterable(epoch_of_all_ranks(labels, 1, options)):
        for label, number in Counter(labels[batch].tolist()).items():
            dealt.setdefault(label, []).append(number)
    for numbers in dealt.values():
        assert max(numbers) - min(numbers) <= 1


@given(sizes, settings, st.data())
def test_resuming_hands_out_the_rest(sizes: list[int], options: dict[str, Any], data: st.DataObject) -> None:
    usable(sizes, options)
    labels = labels_of(sizes)
    world = options["world_size"]
    whole = PKSampler(labels, rank=world - 1, **options)
    expected = [list(whole) for _ in range(3)]
    stop = data.draw(st.integers(0, len(whole)))

    first = PKSampler(labels, rank=world - 1, **options)
    assert list(first) == expected[0]
    running = iter(first)
    done = [next(running) for _ in range(stop)]
    resumed = PKSampler(labels, rank=world - 1, **options)
    resumed.load_state_dict(first.state_dict())
    resumed.set_epoch(1)
    assert done + list(resumed) == expected[1]
    assert list(resumed) == expected[2]
    counted = PKSampler(labels, rank=world - 1, **options)
    counted.load_state_dict(whole.state_dict(epoch=1, batches=stop))
    assert list(counted) == expected[1][stop:]


def test_epochs_and_seeds_differ_and_repeat() -> None:
    labels = labels_of([10] * 8)
    first, again = (PKSampler(labels, identities=4, items=3, seed=5) for _ in range(2))
    epochs = [list(first) for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert [list(again) for _ in range(2)] == epochs
    again.set_epoch(0)
    assert list(again) == epochs[0]
    assert list(PKSampler(labels, identities=4, items=3, seed=6)) != epochs[0]


def test_a_skewed_identity_is_in_every_batch_and_its_items_take_turns() -> None:
    """One identity owns half of all items."""
    sizes = [200] + [5] * 40
    labels = labels_of(sizes)
    sampler = PKSampler(labels, identities=8, items=4)
    came: Counter[int] = Counter()
    for _ in range(20):
        batches = list(sampler)
        assert len(batches) == 12
        for batch in batches:
            held = Counter(labels[batch].tolist())
            assert 7 <= len(held) <= 8
            assert held[-3] == 4
        came.update(chain.from_iterable(batches))
    # 20 epochs × 12 batches × 4 items over 200 items: 4 or 5 times each; the others every time.
    assert {came[i] for i in range(200)} == {4, 5}
    assert {came[i] for i in range(200, 400)} == {20}


def test_singletons_take_half_of_the_places_and_turns() -> None:
    sizes = [1] * 300 + [4] * 20
    labels = labels_of(sizes)
    sampler = PKSampler(labels, identities=8, items=4)
    assert len(sampler) == 5
    came: Counter[int] = Counter()
    for _ in range(15):
        for batch in sampler:
            held = Counter(labels[batch].tolist())
            assert sorted(held.values()) == [1] * 4 + [4] * 4
            came.update(batch)
    assert {came[i] for i in range(300)} == {1}
    assert {came[i] for i in range(300, 380)} == {15}


def test_identities_meet_by_chance() -> None:
    """Each pair of identities shares about the same number of batches over many epochs."""
    labels = labels_of([8] * 6)
    sampler = PKSampler(labels, identities=3, items=2)
    met: Counter[tuple[int, ...]] = Counter()
    for _ in range(300):
        for batch in sampler:
            held = sorted(set(labels[batch].tolist()))
            met.update((a, b) for a in held for b in held if a < b)
    expected = 300 * 8 * 3 / 15
    assert len(met) == 15
    assert max(abs(number - expected) for number in met.values()) < 0.15 * expected


@given(sizes, settings)
def test_fill_makes_every_group_k_items(sizes: list[int], options: dict[str, Any]) -> None:
    assume(options["identities"] * options["world_size"] <= len(sizes))
    assume(max(sizes) > 1)
    labels = labels_of(sizes)
    came: set[int] = set()
    for batch in chain.from_iterable(epoch_of_all_ranks(labels, 0, options | {"repeat": "fill"})):
        items: dict[int, list[int]] = {}
        for index in batch:
            items.setdefault(int(labels[index]), []).append(index)
        for label, own in items.items():
            assert len(own) == options["items"]
            # As many different items as there are, and each as often as the others, to within one.
            assert len(set(own)) == min(options["items"], sizes[(label + 3) // 7])
            times = Counter(own).values()
            assert max(times) - min(times) <= 1
        came.update(batch)
    assert came


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ([5, 4], {"items": 6}, SettingError, r"items=6 is larger than any identity: the largest has 5 items"),
        ([5], {}, DataError, r"the training data has only 1 identity: expected at least two"),
        ([], {}, DataError, r"has only 0 identities"),
        ([1, 1, 1], {}, DataError, r"each of the 3 identities of the training data has only one item"),
        ([5, 4], {"identities": 3}, SettingError, r"identities=3 exceeds the 2 identities"),
        (
            [5, 4, 4],
            {"identities": 2, "world_size": 2},
            SettingError,
            r"identities=2 in each of 2 processes exceeds the 3 identities",
        ),
        ([5, 4], {"identities": 1}, SettingError, "identities must be at least 2, given 1"),
        ([5, 4], {"items": 1}, SettingError, "items must be at least 2, given 1"),
        ([5, 4], {"seed": -1}, SettingError, "seed must be at least 0, given -1"),
        ([5, 4], {"rank": 1}, SettingError, r"rank=1 is out of range: expected below world_size=1"),
        ([5, 4], {"repeat": "filled"}, SettingError, r"unknown repeat 'filled': did you mean 'fill'\?"),
        ([5, 4], {"last": "evn"}, SettingError, r"unknown last 'evn': did you mean 'even'\?"),
    ],
)
def test_bad_settings(sizes: list[int], options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        PKSampler(labels_of(sizes), **{"identities": 2, "items": 2} | options)


def test_states_of_other_data_are_refused() -> None:
    sampler = PKSampler(labels_of([4, 4]), identities=2, items=2)
    state = sampler.state_dict()
    with pytest.raises(SettingError, match="saved with other data or other settings"):
        PKSampler(labels_of([4, 5]), identities=2, items=2).load_state_dict(state)
    with pytest.raises(SettingError, match="saved with other data or other settings"):
        PKSampler(labels_of([4, 4]), identities=2, items=3).load_state_dict(state)
    with pytest.raises(SettingError, match="lacks 'epoch'"):
        sampler.load_state_dict({})
    with pytest.raises(SettingError, match="99 batches, expected 0 or more, and 0 to 2"):
        sampler.load_state_dict(state | {"batches": 99})
    with pytest.raises(SettingError, match="epoch must be at least 0, given -1"):
        sampler.set_epoch(-1)


def test_a_data_loader_takes_it() -> None:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    labels = labels_of([4, 6, 2])
    sampler = PKSampler(labels, identities=2, items=2)
    loader = DataLoader(TensorDataset(torch.from_numpy(labels)), batch_sampler=sampler)
    assert len(loader) == len(sampler)
    for (batch,) in loader:
        assert len(batch.unique()) >= 2


def test_real_faces_with_many_singletons() -> None:
    if not (SHARED_DATA / "faces_lfw").exists():
        pytest.skip("real data faces_lfw is not beside the checkout")
    folders = sorted((SHARED_DATA / "faces_lfw" / "images").iterdir())
    sizes = [len(list(folder.iterdir())) for folder in folders]
    assert sizes.count(1) > 1000
    labels = labels_of(sizes)
    sampler = PKSampler(labels, identities=16, items=4)
    pairs = []
    for batch in sampler:
        held = Counter(labels[batch].tolist())
        assert len(held) >= 8
        pairs.append(sum(number > 1 for number in held.values()))
    assert min(pairs) >= 4


def test_rank_and_world_size_come_from_a_distributed_sampler():
    labels = np.repeat(np.arange(8), 4)
    other = DistributedSampler(range(32), num_replicas=2, rank=1)
    sampler = PKSampler(labels, identities=2, items=2, sampler=other)
    assert sampler.batches_of(3) == PKSampler(labels, identities=2, items=2, rank=1, world_size=2).batches_of(
        3
    )
    assert sampler.sampler is sampler
