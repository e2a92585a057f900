"""A small residual network for small images (He, Zhang, Ren, Sun 2016, basic blocks)."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trine.encoders.settings import SmallResNetSettings
from trine.shapes import Float

_BINOMIAL = [[0.0625, 0.125, 0.0625], [0.125, 0.25, 0.125], [0.0625, 0.125, 0.0625]]
"""1-2-1 by itself, as numbers: on device `meta` a quotient loads torch's compiler, which takes seconds."""


class Blur(nn.Module):
    """The binomial low-pass 1-2-1 in both directions, in front of a layer that halves the image.

    Without it a move by one pixel changes what the halved image shows (Zhang 2019, "Making
    Convolutional Networks Shift-Invariant Again").

    Args:
        channels: Channels of the feature maps.
    """

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = torch.tensor(_BINOMIAL).expand(channels, 1, 3, 3).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Applies the filter; the border is repeated."""
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.kernel, groups=self.kernel.shape[0])


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        stride: Step of the first convolution; 2 halves height and width.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.blur: nn.Module = Blur(inputs) if stride != 1 else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """Applies the block to a batch of feature maps."""
        images = self.blur(images)
        inner = F.relu(self.first_norm(self.first(images)), inplace=True)
        inner = self.second_norm(self.second(inner))
        return F.relu(inner + self.shortcut(images), inplace=True)


def small_resnet(
    channels: int, *, size: tuple[int, int], settings: SmallResNetSettings
) -> tuple[nn.Module, int]:
    """Builds the network without its embedding head.

    Args:
        channels: Channels of an image: 1 or 3.
        size: Height and width of an image.
        settings: The network's shape.

    Returns:
        The module, from (b, channels, h, w) to (b, features), and its number of features.

    Example:
        >>> network, features = small_resnet(1, size=(28, 28), settings=SmallResNetSettings(width=8))
        >>> features
        32
    """
    width = settings.width
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    halvings = max(0, math.ceil(math.log2(max(size) / settings.stem)))
    inputs = channels
    for step in range(max(1, halvings)):
        # The widest maps have half the channels: they cost the most and contribute the least.
        outputs = width if step + 1 >= halvings else max(1, width // 2)
        stride = 2 if halvings else 1
        if stride == 2:
            layers[f"stem{step}_blur"] = Blur(inputs)
        layers[f"stem{step}"] = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        layers[f"stem{step}_norm"] = nn.BatchNorm2d(outputs)
        layers[f"stem{step}_active"] = nn.ReLU(inplace=True)
        inputs = outputs
    for stage, blocks in enumerate(settings.blocks):
        outputs = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            layers[f"stage{stage}_block{block}"] = ResidualBlock(inputs, outputs, stride=stride)
            inputs = outputs
    layers["pool"] = nn.AdaptiveAvgPool2d(settings.pool)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(settings.dropout)
    for module in layers.values():
        for convolution in module.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers), inputs * settings.pool**2
