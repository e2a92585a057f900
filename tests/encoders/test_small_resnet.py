"""The small networks: what their settings change, and the residual block against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from trine.encoders import MlpSettings, SmallResNetSettings
from trine.encoders.mlp import mlp
from trine.encoders.small_resnet import Blur, ResidualBlock, small_resnet


@pytest.mark.parametrize(
    ("settings", "features", "side"),
    [
        (SmallResNetSettings(width=4), 16, 4),
        (SmallResNetSettings(width=4, stem=8), 16, 2),
        (SmallResNetSettings(width=4, stem=3), 16, 1),
        (SmallResNetSettings(width=4, blocks=(2,), stem=64), 4, 16),
        (SmallResNetSettings(width=2, blocks=(1, 2, 1, 1), pool=2), 64, 2),
    ],
)
def test_stages_double_the_width_and_halve_the_picture(
    settings: SmallResNetSettings, features: int, side: int
) -> None:
    network, count = small_resnet(3, size=(16, 16), settings=settings)
    assert count == features
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, features)
    last = [layer for layer in network if isinstance(layer, ResidualBlock)][-1]
    seen = []
    last.register_forward_hook(lambda _module, _given, made: seen.append(made.shape[-1]))
    network(torch.rand(2, 3, 16, 16))
    assert seen == [side]
    blocks = sum(isinstance(layer, ResidualBlock) for layer in network)
    assert blocks == sum(settings.blocks)


def blurred(x: torch.Tensor) -> torch.Tensor:
    """1-2-1 across and down, in loops, the border repeated."""
    made = torch.zeros_like(x)
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            for di, a in ((-1, 1), (0, 2), (1, 1)):
                for dj, b in ((-1, 1), (0, 2), (1, 1)):
                    row, column = min(max(i + di, 0), height - 1), min(max(j + dj, 0), width - 1)
                    made[:, :, i, j] += a * b / 16 * x[:, :, row, column]
    return made


def test_blur_is_the_binomial_filter_and_no_weight() -> None:
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(Blur(3)(x), blurred(x))
    assert not list(Blur(3).parameters())
    assert not Blur(3).state_dict()


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_two_convolutions_beside_a_shortcut(stride: int) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(3, 3 * stride, stride=stride).eval()
    torch.nn.init.uniform_(block.second_norm.weight)
    x = torch.randn(2, 3, 6, 6)

    def normed(values: torch.Tensor, norm: torch.nn.BatchNorm2d) -> torch.Tensor:
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return (values - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    given = x
    if stride == 2:
        x = blurred(x)
    inner = normed(F.conv2d(x, block.first.weight, stride=stride, padding=1), block.first_norm).clamp(min=0)
    inner = normed(F.conv2d(inner, block.second.weight, padding=1), block.second_norm)
    shortcut = x
    if stride == 2:
        convolution, norm = block.shortcut
        shortcut = normed(F.conv2d(x, convolution.weight, stride=2), norm)
    expected = (inner + shortcut).clamp(min=0)
    assert expected.max() > 0.5
    torch.testing.assert_close(block(given), expected)


def test_a_perceptron_has_the_hidden_layers_it_was_given() -> None:
    network, width = mlp(7, settings=MlpSettings(hidden=(5, 3)))
    shapes = [tuple(layer.weight.shape) for layer in network if isinstance(layer, torch.nn.Linear)]
    assert (shapes, width) == ([(5, 7), (3, 5)], 3)
    empty, width = mlp(7, settings=MlpSettings(hidden=()))
    x = torch.randn(2, 7)
    assert width == 7
    assert torch.equal(empty(x), x)
