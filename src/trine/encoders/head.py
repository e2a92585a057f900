"""The embedding head: where it starts, and how it is learned without its network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from trine.encoders.encoder import Encoder
from trine.encoders.settings import MlpSettings
from trine.errors import SettingError
from trine.shapes import Float32


def initialise_from_pca(encoder: Encoder, features: Float32[np.ndarray, "n f"]) -> None:
    """Sets the head to the principal components of features: training begins at the network's own view.

    Before the scaling to length 1, embeddings are then the features less their mean, turned so that their
    first numbers vary most, and cut to the first `dimension` numbers. Where there are fewer items than
    numbers, the other directions are any that stand at right angles to these.

    Args:
        encoder: What gets the head.
        features: What its network gives for some items, one row each.

    Raises:
        SettingError: There are fewer features than an embedding has numbers.

    Example:
        >>> from trine.data import Vectors
        >>> from trine.encoders import EncoderRecipe, MlpSettings, build_encoder
        >>> points = np.float32([[0, 0], [4, 3], [8, 6]])
        >>> linear = EncoderRecipe(dimension=1, normalise=False, head="principal", mlp=MlpSettings(hidden=()))
        >>> found = build_encoder(Vectors(points), recipe=linear).embed(points)
        >>> abs(found[0] - found[2]).round(2)
        array([3.46], dtype=float32)
    """
    dimension = encoder.settings.dimension
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    if dimension > features.shape[1]:
        raise SettingError(
            f"encoder.head is 'principal', and {features.shape[1]:,} features have as many components, fewer "
            f"than encoder.dimension {dimension}; lower encoder.dimension, or set encoder.head to random"
        )
    components = np.linalg.svd(centred, full_matrices=True)[2][:dimension]
    # The sign of a component is free, and libraries differ: the largest number of each is positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.sign(largest)
    with torch.no_grad():
        encoder.head.weight.copy_(torch.from_numpy(components))
        encoder.head.bias.copy_(torch.from_numpy(-components @ features.mean(axis=0, dtype=np.float64)))


def head_only(encoder: Encoder) -> Encoder:
    """Makes an encoder of features, whose head is this encoder's: what the one learns, the other knows.

    Args:
        encoder: Network and head.

    Returns:
        An encoder that takes what `encoder.features` gives, and gives what `encoder` gives.
    """
    settings = replace(
        encoder.settings,
        kind="vectors",
        network="mlp",
        shape=(encoder.settings.features,),
        small_resnet=None,
        mlp=MlpSettings(hidden=()),
        table=None,
        views="one",
    )
    alone = Encoder(settings, network=nn.Sequential())
    alone.head = encoder.head
    return alone
