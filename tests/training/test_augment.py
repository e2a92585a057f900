"""Augmentation against loops: one pixel at a time, from the same drawn numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.training import AugmentRecipe, augment
from trine.training.augment import affine_matrices, cropped, erased

NONE = AugmentRecipe(rotate=0, scale=0, shift=0, flip_identities=0, brightness=0, contrast=0)
LABELS = torch.arange(20) // 2


def pictures(count: int, channels: int = 2, height: int = 6, width: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def looked_up(picture: np.ndarray, row: float, column: float) -> float:
    """The value at a place between pixels, bilinear, the border repeated."""
    height, width = picture.shape
    row, column = min(max(row, 0.0), height - 1.0), min(max(column, 0.0), width - 1.0)
    top, left = int(row), int(column)
    down, right = min(top + 1, height - 1), min(left + 1, width - 1)
    y, x = row - top, column - left
    return float(
        (1 - y) * ((1 - x) * picture[top, left] + x * picture[top, right])
        + y * ((1 - x) * picture[down, left] + x * picture[down, right])
    )


def naive_affine(pictures: torch.Tensor, drawn: np.ndarray, recipe: AugmentRecipe) -> np.ndarray:
    count, channels, height, width = pictures.shape
    made = np.zeros(pictures.shape)
    for b in range(count):
        turn = math.radians(recipe.rotate) * (2 * drawn[b, 0] - 1)
        factor = (1 + recipe.scale) ** (2 * drawn[b, 1] - 1)
        mirror = -1 if drawn[b, 4] < recipe.flip else 1
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    # In pixels from the middle: mirror, turn, scale, move.
                    x, y = mirror * (j - (width - 1) / 2), i - (height - 1) / 2
                    across = (math.cos(turn) * x - math.sin(turn) * y) / factor
                    down = (math.sin(turn) * x + math.cos(turn) * y) / factor
                    across += recipe.shift * (2 * drawn[b, 2] - 1) * width
                    down += recipe.shift * (2 * drawn[b, 3] - 1) * height
                    made[b, c, i, j] = looked_up(
                        pictures[b, c].numpy().astype(float),
                        down + (height - 1) / 2,
                        across + (width - 1) / 2,
                    )
    return made


@pytest.mark.parametrize(
    "recipe",
    [
        AugmentRecipe(rotate=40, scale=0, shift=0, flip_identities=0, brightness=0, contrast=0),
        AugmentRecipe(rotate=0, scale=0.5, shift=0, flip_identities=0, brightness=0, contrast=0),
        AugmentRecipe(rotate=0, scale=0, shift=0.3, flip_identities=0, brightness=0, contrast=0),
        AugmentRecipe(rotate=0, scale=0, shift=0, flip_identities=0, brightness=0, contrast=0, flip=0.5),
        AugmentRecipe(rotate=25, scale=0.3, shift=0.1, flip_identities=0, brightness=0, contrast=0, flip=0.5),
    ],
)
def test_pictures_are_turned_scaled_moved_and_mirrored(recipe: AugmentRecipe) -> None:
    given_pictures = pictures(5)
    drawn = torch.rand((5, 11), generator=seeded(3)).numpy().astype(float)
    expected = naive_affine(given_pictures, drawn, recipe)
    assert np.abs(expected - given_pictures.numpy()).max() > 20
    made = augment(given_pictures, LABELS[: len(given_pictures)], recipe=recipe, generator=seeded(3)).numpy()
    np.testing.assert_allclose(made, expected, atol=0.05)


@pytest.mark.parametrize("change", [{}, {"rotate": 25, "scale": 0.3, "shift": 0.1, "flip": 0.5}])
def test_a_window_is_cut_out_of_the_enlarged_picture(change: dict[str, float]) -> None:
    """The naive twin enlarges by 1.5, cuts, and lets the other changes follow in the window."""
    recipe = replace(NONE, crop=1.5, **change)
    given_pictures = pictures(5)
    count, channels, height, width = given_pictures.shape
    generator = seeded(3)
    drawn = torch.rand((5, 11), generator=generator).numpy().astype(float)
    places = torch.rand((5, 2), generator=generator).numpy().astype(float)
    expected = np.zeros(given_pictures.shape)
    for b in range(count):
        turn = math.radians(recipe.rotate) * (2 * drawn[b, 0] - 1)
        factor = (1 + recipe.scale) ** (2 * drawn[b, 1] - 1)
        mirror = -1 if drawn[b, 4] < recipe.flip else 1
        left, top = places[b, 0] * (1.5 - 1) * width, places[b, 1] * (1.5 - 1) * height
        for c, i, j in np.ndindex(channels, height, width):
            x, y = mirror * (j - (width - 1) / 2), i - (height - 1) / 2
            across = (math.cos(turn) * x - math.sin(turn) * y) / factor + width / 2
            down = (math.sin(turn) * x + math.cos(turn) * y) / factor + height / 2
            across += recipe.shift * (2 * drawn[b, 2] - 1) * width
            down += recipe.shift * (2 * drawn[b, 3] - 1) * height
            # In pixels from the corner of the enlarged picture, and of the old one; middles are at ½.
            column, row = (left + across) / 1.5 - 0.5, (top + down) / 1.5 - 0.5
            expected[b, c, i, j] = looked_up(given_pictures[b, c].numpy().astype(float), row, column)
    assert np.abs(expected - given_pictures.numpy()).max() > 20
    made = augment(given_pictures, LABELS[:5], recipe=recipe, generator=seeded(3)).numpy()
    np.testing.assert_allclose(made, expected, atol=0.05)


@given(seed=st.integers(0, 1000), crop=st.floats(1.01, 4))
@settings(max_examples=30, deadline=None)
def test_a_window_lies_inside_the_picture(seed: int, crop: float) -> None:
    still = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]]).expand(20, 2, 3)
    matrices = cropped(still, torch.rand((20, 2), generator=seeded(seed)), crop=crop)
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])
    reached = matrices @ corners.T
    assert reached.abs().max() <= 1 + 1e-5
    assert reached.abs().max() > 1 / crop


def test_light_is_changed_around_the_mean_of_the_picture() -> None:
    recipe = AugmentRecipe(rotate=0, scale=0, shift=0, flip_identities=0, brightness=0.3, contrast=0.6)
    given_pictures = pictures(6)
    drawn = torch.rand((6, 11), generator=seeded(4)).numpy().astype(float)
    made = augment(given_pictures, LABELS[: len(given_pictures)], recipe=recipe, generator=seeded(4)).numpy()
    for b in range(6):
        values = given_pictures[b].numpy().astype(float)
        mean = values.sum() / values.size
        expected = (
            mean + (1 + 0.6 * (2 * drawn[b, 5] - 1)) * (values - mean) + 255 * 0.3 * (2 * drawn[b, 6] - 1)
        )
        np.testing.assert_allclose(made[b], np.clip(expected, 0, 255), atol=1e-2)


def test_a_rectangle_is_covered_with_the_mean_of_the_picture() -> None:
    recipe = replace(NONE, erase=0.6, erase_area=0.5)
    given_pictures = pictures(20)
    drawn = torch.rand((20, 11), generator=seeded(5)).numpy().astype(float)
    made = augment(given_pictures, LABELS[: len(given_pictures)], recipe=recipe, generator=seeded(5)).numpy()
    covered = 0
    for b in range(20):
        expected = given_pictures[b].numpy().astype(float)
        if drawn[b, 7] < 0.6:
            side = math.sqrt(0.5 * drawn[b, 8])
            tall, wide = round(side * 6), round(side * 9)
            top, left = int(drawn[b, 10] * (6 - tall)), int(drawn[b, 9] * (9 - wide))
            for c in range(2):
                expected[c, top : top + tall, left : left + wide] = given_pictures[b, c].float().mean().item()
            covered += tall * wide
        np.testing.assert_allclose(made[b], expected, atol=1e-3)
    assert covered > 50


def test_identities_are_mirrored_as_a_whole() -> None:
    recipe = replace(NONE, flip_identities=0.5)
    given_pictures = pictures(20)
    made = augment(given_pictures, LABELS, recipe=recipe, generator=seeded(6))
    mirrored = [torch.equal(made[b], given_pictures[b].float().flip(2)) for b in range(20)]
    kept = [torch.equal(made[b], given_pictures[b].float()) for b in range(20)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert mirrored[::2] == mirrored[1::2]
    assert 0 < sum(mirrored) < 20


def test_identities_are_turned_as_a_whole() -> None:
    recipe = replace(NONE, turn_identities=0.75)
    labels = torch.arange(40) // 2
    given_pictures = pictures(40, height=7, width=7)
    made = augment(given_pictures, labels, recipe=recipe, generator=seeded(6))
    quarters = [
        [
            quarter
            for quarter in range(4)
            if torch.allclose(made[b], given_pictures[b].float().rot90(quarter, (1, 2)), atol=0.05)
        ]
        for b in range(40)
    ]
    assert all(len(found) == 1 for found in quarters)
    assert quarters[::2] == quarters[1::2]
    counts = [quarters.count([quarter]) for quarter in range(4)]
    assert min(counts) >= 4  # each is expected 10 times


def test_nothing_is_changed_where_everything_is_zero() -> None:
    given_pictures = pictures(3)
    assert torch.equal(
        augment(given_pictures, LABELS[: len(given_pictures)], recipe=NONE, generator=seeded(0)),
        given_pictures.float(),
    )


@given(
    seed=st.integers(0, 1000),
    rotate=st.floats(0, 180),
    scale=st.floats(0, 4),
    shift=st.floats(0, 1),
    light=st.floats(0, 0.99),
    erase=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_values_stay_in_range_and_repeat_with_the_seed(
    seed: int, rotate: float, scale: float, shift: float, light: float, erase: float
) -> None:
    recipe = AugmentRecipe(
        rotate=rotate, scale=scale, shift=shift, brightness=light, contrast=light, erase=erase, flip=0.5
    )
    made = augment(pictures(3), LABELS[:3], recipe=recipe, generator=seeded(seed))
    assert made.min() >= -1e-3
    assert made.max() <= 255.001
    assert torch.equal(made, augment(pictures(3), LABELS[:3], recipe=recipe, generator=seeded(seed)))


@given(seed=st.integers(0, 1000), area=st.floats(0.01, 1), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_a_covered_rectangle_lies_inside_and_is_no_larger_than_allowed(
    seed: int, area: float, height: int, width: int
) -> None:
    drawn = torch.rand((8, 4), generator=seeded(seed))
    mask = erased(drawn, recipe=AugmentRecipe(erase=1, erase_area=area), size=(height, width))
    side = math.sqrt(area)
    for one in mask[:, 0]:
        rows, columns = one.any(dim=1).sum().item(), one.any(dim=0).sum().item()
        assert one.sum().item() == rows * columns
        assert rows <= side * height + 0.5
        assert columns <= side * width + 0.5


def test_middle_numbers_leave_pictures_in_place() -> None:
    drawn = torch.full((1, 5), 0.5)
    recipe = AugmentRecipe(rotate=90, scale=1, shift=1, flip=0.2)
    expected = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    torch.testing.assert_close(affine_matrices(drawn, torch.zeros(1), recipe=recipe, size=(4, 7)), expected)
