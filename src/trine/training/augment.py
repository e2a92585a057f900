"""Augmentation of whole batches: random rotation, shift, scale, flip, brightness and erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from trine.settings import Range, Settings
from trine.shapes import Float, Float32, Int64, Shaped

Chance = Annotated[float, Range(at_least=0, at_most=1)]


@dataclass(frozen=True)
class AugmentRecipe(Settings):
    """How much training images are changed; all 0 leaves them unchanged.

    Attributes:
        rotate: Largest rotation to either side, in degrees.
        scale: Largest change of size; 0.1 draws factors in [1/1.1, 1.1].
        shift: Largest shift in each direction, as a share of the side.
        crop: How much an image is enlarged before a window of its old size is cut out of it at random; 1
            cuts nothing, 1.125 is that of Hermans, Beyer, Leibe 2017.
        flip: Chance that an image is mirrored and keeps its identity; 0 for what has a left and a right,
            such as faces and writing.
        flip_identities: Chance that all images of an identity in a batch are mirrored alike: mirrored images
            are compared only with each other, as if they were further identities.
        turn_identities: Chance that all images of an identity in a batch are turned alike, by one, two or
            three quarters: likewise as further identities, which suits written characters and other signs.
        brightness: Largest change of brightness, as a share of the full range.
        contrast: Largest change of contrast; 0.2 draws factors in [0.8, 1.2].
        erase: Chance that a rectangle is covered with the image's mean.
        erase_area: Largest area of that rectangle, as a share of the image.
    """

    rotate: Annotated[float, Range(at_least=0, at_most=180)] = 10.0
    scale: Annotated[float, Range(at_least=0, at_most=4)] = 0.1
    shift: Annotated[float, Range(at_least=0, at_most=1)] = 0.08
    crop: Annotated[float, Range(at_least=1, at_most=4)] = 1.0
    flip: Chance = 0.0
    flip_identities: Chance = 0.0
    turn_identities: Chance = 0.0
    brightness: Chance = 0.1
    contrast: Annotated[float, Range(at_least=0, below=1)] = 0.2
    erase: Chance = 0.0
    erase_area: Annotated[float, Range(above=0, at_most=1)] = 0.2


def augment(
    images: Shaped[Tensor, "b c h w"],
    labels: Int64[Tensor, " b"],
    *,
    recipe: AugmentRecipe,
    generator: torch.Generator,
) -> Float32[Tensor, "b c h w"]:
    """Changes each image of a batch at random.

    All random numbers are drawn first, on the CPU, so that a batch depends on its seed and not on the device.

    Args:
        images: Values in [0, 255], of any type.
        labels: The identity of each.
        recipe: How much they may be changed.
        generator: A generator on the CPU.

    Returns:
        The changed images, in [0, 255].

    Example:
        >>> images = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
        >>> generator = torch.Generator().manual_seed(0)
        >>> changed = augment(images, torch.tensor([0, 1]), recipe=AugmentRecipe(), generator=generator)
        >>> changed.shape
        torch.Size([2, 1, 8, 8])
    """
    count, _, height, width = images.shape
    drawn = torch.rand((count, 11), generator=generator)
    values = images.float()
    quarters = torch.zeros(count)
    if recipe.flip_identities or recipe.turn_identities:
        identities, identity = torch.unique(labels.cpu(), return_inverse=True)
    if recipe.flip_identities:
        mirrored = torch.rand(len(identities), generator=generator) < recipe.flip_identities
        values = torch.where(
            mirrored[identity].to(values.device)[:, None, None, None], values.flip(3), values
        )
    if recipe.turn_identities:
        whether, which = torch.rand((2, len(identities)), generator=generator)
        quarters = ((whether < recipe.turn_identities) * (1 + (3 * which).floor()))[identity]
    if (
        recipe.rotate
        or recipe.scale
        or recipe.shift
        or recipe.flip
        or recipe.turn_identities
        or recipe.crop > 1
    ):
        matrices = affine_matrices(drawn[:, :5], quarters, recipe=recipe, size=(height, width))
        if recipe.crop > 1:
            matrices = cropped(matrices, torch.rand((count, 2), generator=generator), crop=recipe.crop)
        grid = F.affine_grid(matrices.to(values.device), list(values.shape), align_corners=False)
        values = F.grid_sample(values, grid, padding_mode="border", align_corners=False)
    if recipe.brightness or recipe.contrast:
        signed = (2 * drawn[:, 5:7] - 1).to(values.device)[:, :, None, None, None]
        mean = values.mean(dim=(1, 2, 3), keepdim=True)
        factor, offset = 1 + recipe.contrast * signed[:, 0], 255 * recipe.brightness * signed[:, 1]
        values = (mean + factor * (values - mean) + offset).clamp(0, 255)
    if recipe.erase:
        covered = erased(drawn[:, 7:], recipe=recipe, size=(height, width)).to(values.device)
        values = torch.where(covered, values.mean(dim=(2, 3), keepdim=True), values)
    return values


def affine_matrices(
    drawn: Float32[Tensor, "b 5"],
    quarters: Float32[Tensor, " b"],
    *,
    recipe: AugmentRecipe,
    size: tuple[int, int],
) -> Float32[Tensor, "b 2 3"]:
    """Turns uniform numbers into affine maps from positions in the new image to positions in the old one.

    Args:
        drawn: Numbers in [0, 1): rotation, scale, horizontal shift, vertical shift, mirroring.
        quarters: By how many quarters each image is turned besides.
        recipe: How much images may be changed.
        size: Height and width: the rotation is in pixels, not in the unit square.

    Returns:
        One matrix per image, in `affine_grid`'s coordinates, where a side is 2 long.
    """
    height, width = size
    turn = math.radians(recipe.rotate) * (2 * drawn[:, 0] - 1) + math.pi / 2 * quarters
    factor = (1 + recipe.scale) ** (2 * drawn[:, 1] - 1)
    mirror = torch.where(drawn[:, 4] < recipe.flip, -1.0, 1.0)
    cosine, sine = turn.cos() / factor, turn.sin() / factor
    across = torch.stack(
        [mirror * cosine, -sine * (height / width), 2 * recipe.shift * (2 * drawn[:, 2] - 1)], dim=1
    )
    down = torch.stack(
        [mirror * sine * (width / height), cosine, 2 * recipe.shift * (2 * drawn[:, 3] - 1)], dim=1
    )
    return torch.stack([across, down], dim=1)


def cropped(
    matrices: Float32[Tensor, "b 2 3"], drawn: Float32[Tensor, "b 2"], *, crop: float
) -> Float32[Tensor, "b 2 3"]:
    """Adds a random window of the enlarged image to each affine map.

    Args:
        matrices: Maps from positions in the new image to positions in the window.
        drawn: Numbers in [0, 1): the window's horizontal and vertical position.
        crop: How much the images are enlarged, above 1.

    Returns:
        The maps to positions in the old image.
    """
    middles = (1 - 1 / crop) * (2 * drawn - 1)
    return torch.cat([matrices[:, :, :2] / crop, matrices[:, :, 2:] / crop + middles[:, :, None]], dim=2)


def erased(
    drawn: Float[Tensor, "b 4"], *, recipe: AugmentRecipe, size: tuple[int, int]
) -> Shaped[Tensor, "b 1 h w"]:
    """Chooses the rectangle that is covered (random erasing: Zhong, Zheng, Kang, Li, Yang 2020).

    Args:
        drawn: Numbers in [0, 1): whether to erase, area, horizontal and vertical position.
        recipe: The chance and the largest area.
        size: Height and width.

    Returns:
        True where a pixel is covered; the rectangle has the image's proportions and lies inside.
    """
    height, width = size
    side = (recipe.erase_area * drawn[:, 1]).sqrt()
    tall, wide = (side * height).round(), (side * width).round()
    top, left = (drawn[:, 3] * (height - tall)).floor(), (drawn[:, 2] * (width - wide)).floor()
    rows, columns = torch.arange(height)[None, :], torch.arange(width)[None, :]
    in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    chosen = (drawn[:, 0] < recipe.erase)[:, None, None, None]
    return chosen & (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
