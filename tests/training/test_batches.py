"""The batches of a run: every item its own label, and the same from anywhere on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trine.data import Dataset, ImageArray, Vectors
from trine.encoders import EncoderRecipe, MlpSettings, SmallResNetSettings, build_encoder
from trine.errors import DataError, SettingError
from trine.training import SamplerRecipe
from trine.training.batches import Batches, Prepared, make_sampler, steps_of

RECIPE = EncoderRecipe(small_resnet=SmallResNetSettings(width=2), mlp=MlpSettings(hidden=()))


def dataset(kind: str) -> Dataset:
    labels = np.repeat(np.arange(5), [3, 9, 6, 7, 5])
    generator = np.random.default_rng(0)
    items = (
        Vectors(generator.normal(size=(30, 4)).astype(np.float32))
        if kind == "vectors"
        else ImageArray(generator.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8))
    )
    return Dataset(items, labels, tuple("abcde"), tuple(f"item {i}" for i in range(30)))


def batches_of(data: Dataset, *, cache: float, steps: int = 11) -> Batches:
    encoder = build_encoder(data.items, recipe=RECIPE)
    sampler = make_sampler(data.labels, recipe=SamplerRecipe(identities=3, items=2), seed=4)
    return Batches(
        Prepared(data, encoder=encoder, cache=cache), labels=data.labels, sampler=sampler, steps=steps
    )


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("cache", [0, 1e9])
def test_batches_are_the_samplers_in_every_epoch(kind: str, cache: float) -> None:
    data = dataset(kind)
    encoder = build_encoder(data.items, recipe=RECIPE)
    sampler = make_sampler(data.labels, recipe=SamplerRecipe(identities=3, items=2), seed=4)
    expected = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected += [(epoch, chosen) for chosen in sampler]
    assert len(expected) > 11
    batches = batches_of(data, cache=cache)
    for batch, (epoch, chosen) in zip(batches, expected, strict=False):
        assert batch.positions.tolist() == chosen
        assert batch.labels.tolist() == data.labels[chosen].tolist()
        assert torch.equal(batch.inputs, encoder.prepare([data.items[at] for at in chosen]))
        assert batches.position[0] == epoch
        if batches.position == (2, 1):
            break
    assert batches.position == (2, 1)


@pytest.mark.parametrize("cache", [0, 1e9])
def test_a_run_goes_on_from_any_position_with_the_same_batches(cache: float) -> None:
    data = dataset("vectors")
    whole = batches_of(data, cache=cache)
    seen, positions = [], [(0, 0)]
    for batch in whole:
        seen.append(batch.positions.tolist())
        positions.append(whole.position)
        if len(seen) == 11:
            break
    assert positions[-1][0] > 0, "an epoch ends on the way"
    for start in range(11):
        rest = batches_of(data, cache=cache)
        rest.position = positions[start]
        for number, batch in enumerate(rest, start=start):
            assert batch.positions.tolist() == seen[number]
            if number == 10:
                break


def test_what_does_not_fit_into_the_cache_is_prepared_when_asked_for() -> None:
    data = dataset("images")
    encoder = build_encoder(data.items, recipe=RECIPE)
    size = 30 * 6 * 5 * 3
    assert Prepared(data, encoder=encoder, cache=size).in_memory is not None
    lazily = Prepared(data, encoder=encoder, cache=size - 1)
    assert lazily.in_memory is None
    assert torch.equal(lazily[[3, 1]], encoder.prepare(data.items)[[3, 1]])


@pytest.mark.parametrize(
    ("sizes", "recipe", "identities", "items"),
    [
        ([8] * 64, SamplerRecipe(), 32, 4),
        ([100] * 10, SamplerRecipe(batch=120), 10, 12),
        ([3] * 10, SamplerRecipe(batch=120), 10, 3),
        ([2] * 4, SamplerRecipe(), 4, 2),
        ([9] * 32, SamplerRecipe(identities=8, items=3), 8, 3),
        ([50] * 20, SamplerRecipe(identities=4, batch=40), 4, 10),
    ],
)
def test_what_the_recipe_leaves_open_comes_from_the_labels(
    sizes: list[int], recipe: SamplerRecipe, identities: int, items: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    batches = list(make_sampler(labels, recipe=recipe, seed=0))
    counts = [np.unique(labels[batch], return_counts=True)[1] for batch in batches]
    assert max(len(count) for count in counts) == identities
    assert max(count.max() for count in counts) == items


def test_batches_are_full_where_what_is_left_over_waits() -> None:
    labels = np.repeat(np.arange(10), [2] * 8 + [8] * 2)
    people = {}
    for last in ("even", "short", "drop"):
        sampler = make_sampler(labels, recipe=SamplerRecipe(identities=9, items=4, last=last), seed=0)
        people[last] = [len(np.unique(labels[batch])) for batch in sampler]
    assert people == {"even": [6, 6], "short": [9, 3], "drop": [9]}


def test_steps_are_counted_over_epochs() -> None:
    labels = np.repeat(np.arange(5), 6)
    sampler = make_sampler(labels, recipe=SamplerRecipe(identities=3, items=2), seed=0)
    assert steps_of(sampler, epochs=4) == 4 * len(list(sampler))


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 identity only: expected at least two"):
        make_sampler(np.zeros(9, dtype=np.int64), recipe=SamplerRecipe(), seed=0)
    with pytest.raises(DataError, match=r"one item only"):
        make_sampler(np.arange(9), recipe=SamplerRecipe(), seed=0)
    with pytest.raises(SettingError, match=r"items=5 is larger than any identity: the largest has 3 items"):
        make_sampler(np.repeat(np.arange(4), 3), recipe=SamplerRecipe(identities=4, items=5), seed=0)
