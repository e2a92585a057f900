"""The residual network of dlib for faces, with its published weights (King 2017).

It follows ResNet-34 (He, Zhang, Ren, Sun 2016) with fewer layers and half the channels, and was trained with
a metric loss on about three million faces. Its embeddings are those of dlib to rounding, at a tenth of the
time on a processor; and as a torch module it can be trained further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trine.errors import ModelError
from trine.shapes import Float, Float32

SIDE = 150
"""The side of an aligned face, in pixels."""

LEAST_SIDE = 112
"""Smaller images are nothing once the network has halved them six times."""

FEATURES = 128

MEAN, STD = (122.782 / 255, 117.001 / 255, 104.298 / 255), (256 / 255,) * 3
"""How images are standardised: mean and standard deviation of each channel, in [0, 1]."""

_STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Channels and blocks of each stage, and whether its first block halves the image."""

_TENSOR = re.compile(rb"(con_4|affine_|fc_2\x01\x80\x02\x00\x01)\x01\x02", re.DOTALL)
"""The name of a layer, what a linear layer says of itself, and the version of the tensor that follows."""

_LARGEST_DIMENSION = 1 << 22


class FaceBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; where shapes differ, the smaller one is padded with zeros.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        halve: Whether the output has half the height and width.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2 if halve else 1, padding=0 if halve else 1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k i j"]:
        """Computes the output of the block."""
        computed = self.second(F.relu(self.first(images)))
        shortcut = F.avg_pool2d(images, 2) if self.halve else images
        shape = tuple(map(max, computed.shape, shortcut.shape))
        return F.relu(_padded(computed, shape) + _padded(shortcut, shape))


class FaceResNet(nn.Module):
    """The network: 29 convolutions and a linear layer, from (b, 3, 150, 150) to (b, 128).

    Example:
        >>> FaceResNet()(torch.zeros(2, 3, 150, 150)).shape
        torch.Size([2, 128])
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        blocks, channels = [], 32
        for outputs, count, halve in _STAGES:
            for at in range(count):
                blocks.append(FaceBlock(channels, outputs, halve=halve and at == 0))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(channels, FEATURES, bias=False)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 128"]:
        """Computes the features of standardised images of aligned faces."""
        stem = F.max_pool2d(F.relu(self.stem(images)), 3, stride=2)
        features: Tensor = self.last(self.blocks(stem).mean(dim=(2, 3)))
        return features


def load_face_weights(network: FaceResNet, path: Path) -> None:
    """Loads the weights from the file that dlib publishes; nothing in it is executed.

    Batch normalisation is an affine layer in that file; it is multiplied into the convolution before it.

    Args:
        network: The network.
        path: dlib_face_recognition_resnet_model_v1.dat.

    Raises:
        ModelError: The file cannot be read, or does not hold these weights.
    """
    try:
        tensors = list(_tensors(path.read_bytes()))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); install its package again") from error
    except ValueError as error:
        raise _damaged(path) from error
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    sizes = [
        size
        for layer in convolutions
        for size in (layer.weight.numel() + layer.out_channels, 2 * layer.out_channels)
    ]
    if [len(tensor) for tensor in tensors] != [*sizes, network.last.weight.numel()]:
        raise _damaged(path)
    with torch.no_grad():
        for layer, weights, affine in zip(convolutions, tensors[::2], tensors[1::2], strict=False):
            kernel, bias = weights[: layer.weight.numel()], weights[layer.weight.numel() :]
            scale, shift = affine.chunk(2)
            layer.weight.copy_(kernel.view_as(layer.weight) * scale[:, None, None, None])
            assert layer.bias is not None
            layer.bias.copy_(bias * scale + shift)
        network.last.weight.copy_(tensors[-1].view(-1, FEATURES).T)


def _tensors(content: bytes) -> Iterator[Float32[Tensor, " n"]]:
    """The weights of each layer in the order of computation; a `ValueError` where the file ends too early.

    dlib writes an integer as its number of bytes and these bytes, the least significant first; a tensor as
    its version, four dimensions and float32 numbers. Numbers that happen to look like a layer are skipped,
    since the search goes on behind the numbers of each tensor.
    """
    at = 0
    while (found := _TENSOR.search(content, at)) is not None:
        at, count = found.end(), 1
        for _ in range(4):
            length = content[at] if at < len(content) else 0
            dimension = int.from_bytes(content[at + 1 : at + 1 + length], "little")
            if not 0 < length <= 4 or not 0 < dimension <= _LARGEST_DIMENSION:
                raise ValueError("no dimension")
            at, count = at + 1 + length, count * dimension
        yield torch.from_numpy(np.frombuffer(content, "<f4", count, at).astype(np.float32))
        at += 4 * count


def _padded(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images with zeros behind the last channel, row and column up to a shape."""
    missing = [wanted - has for wanted, has in zip(shape, images.shape, strict=True)]
    if not any(missing):
        return images
    return F.pad(images, (0, missing[3], 0, missing[2], 0, missing[1]))


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"{path} does not hold the weights of dlib's network for faces; install its package again"
    )
