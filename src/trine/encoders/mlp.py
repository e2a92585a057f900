"""A multilayer perceptron for vectors."""

from __future__ import annotations

from torch import nn

from trine.encoders.settings import MlpSettings


def mlp(features: int, *, settings: MlpSettings) -> tuple[nn.Module, int]:
    """Builds the network without its embedding head.

    Args:
        features: Length of a vector.
        settings: The network's shape.

    Returns:
        The module, from (b, features) to (b, width of the last hidden layer), and that width.

    Example:
        >>> mlp(13, settings=MlpSettings(hidden=(32, 16)))[1]
        16
    """
    layers: list[nn.Module] = []
    width = features
    for hidden in settings.hidden:
        layers += [
            nn.Linear(width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(settings.dropout),
        ]
        width = hidden
    return nn.Sequential(*layers), width
