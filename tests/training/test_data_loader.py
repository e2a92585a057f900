"""The batches of a run: every item its own label, and the same from anywhere on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trine.data import Dataset, ImageArray, PKSampler, Vectors
from trine.encoders import EncoderRecipe, MlpSettings, SmallResNetSettings, build_encoder
from trine.errors import DataError, SettingError
from trine.training import (
    Recipe,
    SamplerRecipe,
    Stage,
    TrainingRecipe,
    fit,
)
from trine.training.data_loader import BatchLoader, PreparedItems
from trine.training.samplers import SamplerSchedule

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


def sampler_of(
    labels: np.ndarray, identities: int, items: int, *, seed: int = 0, **settings: Any
) -> PKSampler:
    return PKSampler(labels, identities=identities, items=items, seed=seed, **settings)


def batches_of(data: Dataset, *, cache: float, steps: int = 40) -> BatchLoader:
    encoder = build_encoder(data.items, recipe=RECIPE)
    sampler = sampler_of(data.labels, 3, 2, seed=4)
    items = PreparedItems(data, encoder=encoder, cache=cache)
    return BatchLoader(items, labels=data.labels, sampler_at=lambda step: sampler, steps=steps)


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("cache", [0, 1e9])
def test_batches_are_the_samplers_in_every_epoch(kind: str, cache: float) -> None:
    data = dataset(kind)
    encoder = build_encoder(data.items, recipe=RECIPE)
    sampler = sampler_of(data.labels, 3, 2, seed=4)
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
        if batches.position[:2] == (2, 1):
            break
    assert batches.position[:2] == (2, 1)


@pytest.mark.parametrize("cache", [0, 1e9])
def test_a_run_goes_on_from_any_position_with_the_same_batches(cache: float) -> None:
    data = dataset("vectors")
    whole = batches_of(data, cache=cache)
    seen, positions = [], [whole.position]
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
    assert PreparedItems(data, encoder=encoder, cache=size).in_memory is not None
    lazily = PreparedItems(data, encoder=encoder, cache=size - 1)
    assert lazily.in_memory is None
    assert torch.equal(lazily[[3, 1]], encoder.prepare(data.items)[[3, 1]])


def changing(data: Dataset, curriculum: tuple[Stage, ...], *, steps: int) -> BatchLoader:
    recipe = Recipe(sampler=SamplerRecipe(identities=2, items=2), curriculum=curriculum)
    samplers = SamplerSchedule(data.labels, recipe=recipe)
    items = PreparedItems(data, encoder=build_encoder(data.items, recipe=RECIPE), cache=0)
    return BatchLoader(
        items, labels=data.labels, sampler_at=lambda step: samplers.at(step / steps), steps=steps
    )


GROWING = (Stage(at=0.25, until=0.5, identities=5), Stage(at=0.75, items=3))


def test_a_batch_is_what_the_curriculum_says_at_its_step() -> None:
    data, steps = dataset("vectors"), 40
    samplers = SamplerSchedule(
        data.labels, recipe=Recipe(sampler=SamplerRecipe(identities=2, items=2), curriculum=GROWING)
    )
    shapes = []
    for batch, _ in zip(changing(data, GROWING, steps=steps), range(steps), strict=False):
        shape = samplers.shape_at(len(shapes) / steps)
        counts = np.unique(batch.labels.numpy(), return_counts=True)[1]
        assert len(counts) <= shape[0]
        assert counts.max() <= shape[1]
        shapes.append((len(counts), int(counts.max())))
    assert shapes[:10] == [(2, 2)] * 10
    assert max(shapes[20:30]) == (5, 2)
    assert max(shapes[30:]) == (5, 3)


def test_a_change_of_shape_deals_all_items_anew() -> None:
    data, steps = dataset("vectors"), 40
    batches = changing(data, (Stage(at=0.5, identities=4),), steps=steps)
    positions = []
    for batch, _ in zip(batches, range(steps), strict=False):
        positions.append((*batches.position, len(batch.positions)))
    at, after = positions[19], positions[20]
    assert (after[0], after[1], after[2]) == (at[0] + 1, 1, 21)
    assert at[1] < len(sampler_of(data.labels, 2, 2, seed=0))


@pytest.mark.parametrize("steps", [11, 40])
def test_a_run_goes_on_from_any_position_while_its_shape_changes(steps: int) -> None:
    data = dataset("vectors")
    whole = changing(data, GROWING, steps=steps)
    seen, states = [], [whole.state_dict()]
    for batch, _ in zip(whole, range(steps), strict=False):
        seen.append(batch.positions.tolist())
        states.append(whole.state_dict())
    assert len({state["epoch"] for state in states}) > 3
    for start in range(steps):
        rest = changing(data, GROWING, steps=steps)
        rest.load_state_dict(states[start])
        for number, batch in zip(range(start, steps), rest, strict=False):
            assert batch.positions.tolist() == seen[number], (start, number)


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
    batches = list(SamplerSchedule(labels, recipe=Recipe(sampler=recipe)).at(0.0))
    counts = [np.unique(labels[batch], return_counts=True)[1] for batch in batches]
    assert max(len(count) for count in counts) == identities
    assert max(count.max() for count in counts) == items


def test_batches_are_full_where_what_is_left_over_waits() -> None:
    labels = np.repeat(np.arange(10), [2] * 8 + [8] * 2)
    people = {}
    for last in ("even", "short", "drop"):
        sampler = sampler_of(labels, 9, 4, seed=0, last=last)
        people[last] = [len(np.unique(labels[batch])) for batch in sampler]
    assert people == {"even": [6, 6], "short": [9, 3], "drop": [9]}


def test_steps_are_counted_over_epochs() -> None:
    labels = np.repeat(np.arange(5), 6)
    samplers = SamplerSchedule(labels, recipe=Recipe(sampler=SamplerRecipe(identities=3, items=2)))
    assert samplers.steps_of(4) == 4 * len(list(samplers.at(0.0)))


def test_epochs_are_counted_while_batches_grow() -> None:
    """Half of the run takes 60 batches for all items, and the other half 10."""
    labels = np.repeat(np.arange(10), 24)
    recipe = Recipe(
        sampler=SamplerRecipe(identities=2, items=2), curriculum=(Stage(at=0.5, identities=4, items=6),)
    )
    samplers = SamplerSchedule(labels, recipe=recipe)
    assert (len(samplers.at(0.0)), len(samplers.at(0.5))) == (60, 10)
    steps = samplers.steps_of(7)
    passes = sum(1 / len(samplers.at(step / steps)) for step in range(steps))
    assert passes == pytest.approx(7, abs=1 / 10)


def test_a_stage_that_the_data_does_not_allow_is_refused_at_the_start() -> None:
    labels = np.repeat(np.arange(5), 6)
    for stage, message in (
        (Stage(at=0.9, identities=6), r"^identities=6 exceeds the 5 identities"),
        (Stage(at=0.1, until=0.9, items=7), r"^items=7 is larger than any identity"),
    ):
        recipe = Recipe(sampler=SamplerRecipe(identities=2, items=2), curriculum=(stage,))
        with pytest.raises(SettingError, match=message):
            SamplerSchedule(labels, recipe=recipe)


def test_labels_that_must_not_be_written_to_are_taken_without_a_warning() -> None:
    rows, labels = np.eye(8, dtype=np.float32), np.arange(8) // 2
    rows.flags.writeable = labels.flags.writeable = False
    data = Dataset(Vectors(rows), labels, tuple("abcd"), tuple("abcdefgh"))
    recipe = Recipe(encoder=EncoderRecipe(mlp=MlpSettings((8,))), training=TrainingRecipe(steps=2))
    for triplets in (None, np.array([[0, 1, 2], [2, 3, 4]])):
        assert fit(data, recipe, out=None, triplets=triplets).embed(data).shape == (8, 128)


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(DataError, match=r"only 1 identity: expected at least two"):
        SamplerSchedule(np.zeros(9, dtype=np.int64), recipe=Recipe())
    with pytest.raises(DataError, match=r"only one item"):
        SamplerSchedule(np.arange(9), recipe=Recipe())
    with pytest.raises(SettingError, match=r"items=5 is larger than any identity: the largest has 3 items"):
        SamplerSchedule(
            np.repeat(np.arange(4), 3), recipe=Recipe(sampler=SamplerRecipe(identities=4, items=5))
        )
