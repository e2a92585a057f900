"""Test-time augmentation: the mean embedding of several views of a picture is more stable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from trine.shapes import Float32, Shaped

Views = Literal["one", "flip", "ten"]
"""The views of a picture; see `augmented_views`."""

ENLARGED = 1.125
"""The size of the enlarged picture relative to a crop: 9/8, as in Hermans et al. 2017."""


def augmented_views(pictures: Shaped[Tensor, "b c h w"], views: Views) -> Iterator[Shaped[Tensor, "b c h w"]]:
    """Yields the views of a batch of pictures, one after the other.

    Hermans, Beyer, Leibe 2017, section 4.1, take ten: of the picture enlarged to 9/8 the four corners and
    the centre, each with its mirror image.

    Args:
        pictures: Values in [0, 255], of any type.
        views: `one` for the pictures themselves, `flip` for these and their mirror images, `ten` for those
            of the paper.

    Yields:
        Batches of the same size; those of `ten` in [0, 255], floating-point.

    Example:
        >>> import torch
        >>> [len(list(augmented_views(torch.zeros(2, 3, 16, 8), views))) for views in ("one", "flip", "ten")]
        [1, 2, 10]
    """
    crops: Iterator[Tensor] = iter((pictures,))
    if views == "ten":
        offset = 1 - 1 / ENLARGED
        corners = [(across, down) for down in (-offset, offset) for across in (-offset, offset)]
        crops = (window(pictures.float(), across, down) for across, down in [*corners, (0.0, 0.0)])
    for crop in crops:
        yield crop
        if views != "one":
            yield crop.flip(3)


def window(pictures: Float32[Tensor, "b c h w"], across: float, down: float) -> Float32[Tensor, "b c h w"]:
    """Cuts a window of the pictures' own size out of the pictures, enlarged.

    Args:
        pictures: The pictures.
        across: The middle of the window, in [−1, 1] from the left border to the right.
        down: Likewise, from top to bottom.

    Returns:
        What is in the window; values between pixels are bilinear, and the border is repeated.
    """
    matrix = pictures.new_tensor([[1 / ENLARGED, 0.0, across], [0.0, 1 / ENLARGED, down]])
    grid = F.affine_grid(matrix.expand(len(pictures), 2, 3), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
