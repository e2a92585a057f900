"""Test-time augmentation: the mean embedding of several views of an image is more stable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from trine.shapes import Float32, Shaped

Views = Literal["one", "flip", "ten"]
"""The views of an image; see `augmented_views`."""

ENLARGED = 1.125
"""The size of the enlarged image relative to a crop: 9/8, as in Hermans et al. 2017."""


def augmented_views(images: Shaped[Tensor, "b c h w"], views: Views) -> Iterator[Shaped[Tensor, "b c h w"]]:
    """Yields the views of a batch of images, one after the other.

    Hermans, Beyer, Leibe 2017, section 4.1, take ten: of the image enlarged to 9/8 the four corners and
    the centre, each with its mirror image.

    Args:
        images: Values in [0, 255], of any type.
        views: `one` for the images themselves, `flip` for these and their mirror images, `ten` for those
            of the paper.

    Yields:
        Batches of the same size; those of `ten` in [0, 255], floating-point.

    Example:
        >>> import torch
        >>> [len(list(augmented_views(torch.zeros(2, 3, 16, 8), views))) for views in ("one", "flip", "ten")]
        [1, 2, 10]
    """
    crops: Iterator[Tensor] = iter((images,))
    if views == "ten":
        offset = 1 - 1 / ENLARGED
        corners = [(across, down) for down in (-offset, offset) for across in (-offset, offset)]
        crops = (window(images.float(), across, down) for across, down in [*corners, (0.0, 0.0)])
    for crop in crops:
        yield crop
        if views != "one":
            yield crop.flip(3)


def window(images: Float32[Tensor, "b c h w"], across: float, down: float) -> Float32[Tensor, "b c h w"]:
    """Cuts a window of the images' own size out of the images, enlarged.

    Args:
        images: The images.
        across: The middle of the window, in [−1, 1] from the left border to the right.
        down: Likewise, from top to bottom.

    Returns:
        What is in the window; values between pixels are bilinear, and the border is repeated.
    """
    matrix = images.new_tensor([[1 / ENLARGED, 0.0, across], [0.0, 1 / ENLARGED, down]])
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
