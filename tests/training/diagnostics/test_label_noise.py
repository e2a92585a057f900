"""Labels that may be wrong: found where they are, and not suspected where classes overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trine.training.diagnostics.label_noise import LabelNoiseDetector, nearest_other


def naive(rows: np.ndarray, labels: np.ndarray, i: int) -> tuple[int, float] | None:
    own = [rows[j] for j in range(len(rows)) if labels[j] == labels[i] and j != i]
    others = [
        (float(np.linalg.norm(rows[i] - rows[labels == other].mean(axis=0))), int(other))
        for other in np.unique(labels)
        if other != labels[i]
    ]
    if not own or not others:
        return None
    nearest, identity = min(others)
    return identity, nearest / float(np.linalg.norm(rows[i] - np.mean(own, axis=0)))


@given(seed=st.integers(0, 10_000), labels=st.lists(st.integers(0, 5), min_size=1, max_size=16))
def test_the_nearest_other_identity_is_that_of_the_means(seed: int, labels: list[int]) -> None:
    rows = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype(np.float32)
    other, nearness = nearest_other(torch.from_numpy(rows), torch.tensor(labels))
    for i in range(len(labels)):
        expected = naive(rows, np.array(labels), i)
        if expected is None:
            assert torch.isnan(nearness[i])
        else:
            assert (int(other[i]), float(nearness[i])) == (expected[0], pytest.approx(expected[1], rel=1e-3))


SIZES, STEPS = 12, 100
NAMES = [f"item {i}" for i in range(5 * SIZES)]
IDENTITIES = list("abcde")


def watched(
    labels: np.ndarray, centres: np.ndarray, *, spread: float = 0.1, every: int = 4
) -> LabelNoiseDetector:
    """A run whose embeddings lie around the centre of what each item truly is; it comes every few steps."""
    watch = LabelNoiseDetector(labels, steps=STEPS, batch=1)
    random = np.random.default_rng(0)
    for step in range(STEPS):
        positions = np.arange(step % every, len(labels), every)
        rows = centres[positions] + spread * random.normal(size=(len(positions), centres.shape[1]))
        watch.observe(
            torch.from_numpy(rows.astype(np.float32)),
            torch.from_numpy(labels[positions]),
            torch.from_numpy(positions),
            step=step,
        )
    return watch


def truth() -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(5), SIZES)
    return labels, np.eye(5)[labels]


def test_wrong_labels_are_named_with_what_they_look_like() -> None:
    labels, centres = truth()
    given_labels = labels.copy()
    given_labels[[3, 40]] = [4, 0]
    watch = watched(given_labels, centres)
    found = {(each.item, each.identity, each.looks_like) for each in watch.suspects(NAMES, IDENTITIES)}
    assert found == {("item 3", "e", "a"), ("item 40", "a", "d")}
    assert watch.observed() == 5 * SIZES
    assert watch.doubtful() == 0


def test_right_labels_are_not_suspected() -> None:
    labels, centres = truth()
    assert watched(labels, centres).suspects(NAMES, IDENTITIES) == ()


def test_chaos_is_no_wrong_label() -> None:
    """Where everything lies wrong, as at the start of a run, nothing is suspected."""
    labels, centres = truth()
    assert watched(labels, centres, spread=5.0).suspects(NAMES, IDENTITIES) == ()


def test_an_identity_that_lies_among_another_overlaps_with_it() -> None:
    labels, centres = truth()
    overlapping = labels.copy()
    overlapping[[0, 1, 2]] = 4  # three of fifteen
    assert watched(overlapping, centres).suspects(NAMES, IDENTITIES) == ()


def test_the_look_of_an_hour_is_no_suspicion() -> None:
    """What lies wrong for a short time only is soon forgotten."""
    labels, centres = truth()
    watch = LabelNoiseDetector(labels, steps=STEPS, batch=1)
    random = np.random.default_rng(0)
    for step in range(STEPS):
        rows = centres + 0.1 * random.normal(size=centres.shape)
        if 20 <= step < 24:
            rows[7] = np.eye(5)[3]
        everything = torch.arange(len(labels))
        watch.observe(
            torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(labels), everything, step=step
        )
    assert watch.suspects(NAMES, IDENTITIES) == ()


def test_directions_alone_count_with_the_cosine() -> None:
    labels, centres = truth()
    watch = LabelNoiseDetector(labels, steps=STEPS, batch=1)
    scale = np.where(np.arange(len(labels)) % SIZES == 0, 40.0, 1.0)[:, None]
    for step in range(STEPS):
        rows = torch.from_numpy((scale * (centres + 0.01)).astype(np.float32))
        everything = torch.arange(len(labels))
        watch.observe(rows, torch.from_numpy(labels), everything, step=step, distance="cosine")
    assert float(watch.state_dict()["state"][:, 3].max()) == 0


def test_a_watch_goes_on_where_another_stood() -> None:
    labels, centres = truth()
    labels[[3, 40]] = [4, 0]
    whole = watched(labels, centres)
    again = LabelNoiseDetector(labels, steps=STEPS, batch=1)
    again.load_state_dict(whole.state_dict())
    assert again.suspects(NAMES, IDENTITIES) == whole.suspects(NAMES, IDENTITIES)


@pytest.mark.parametrize(("batch", "every"), [(1, 1), (60, 7), (10**6, 128_205)])
def test_items_that_come_often_are_looked_at_less_often(batch: int, every: int) -> None:
    assert LabelNoiseDetector(np.repeat(np.arange(5), 12), steps=100, batch=batch).every == every
