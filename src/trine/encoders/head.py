"""The embedding head: initialised by PCA, or trained without its network."""

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
    """Sets the head to the principal components of features.

    Before the scaling to length 1, embeddings are then the centred features, rotated so that their variance
    is in descending order, and cut to the first `dimension` numbers. With fewer items than dimensions, the
    remaining directions are arbitrary ones orthogonal to these.

    Args:
        encoder: The encoder with the head.
        features: Its network's features of some items, one row each.

    Raises:
        SettingError: An embedding has more dimensions than there are features.

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
            f"encoder.head is 'principal', but {features.shape[1]:,} features have fewer components than "
            f"encoder.dimension {dimension}; lower encoder.dimension, or set encoder.head to random"
        )
    components = np.linalg.svd(centred, full_matrices=True)[2][:dimension]
    # The sign of a component is arbitrary: make the largest entry of each positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.sign(largest)
    with torch.no_grad():
        encoder.head.weight.copy_(torch.from_numpy(components))
        encoder.head.bias.copy_(torch.from_numpy(-components @ features.mean(axis=0, dtype=np.float64)))


def initialise_as_identity(encoder: Encoder) -> None:
    """Sets the head so that an embedding is the features themselves.

    Args:
        encoder: The encoder with the head.

    Raises:
        SettingError: An embedding has another number of dimensions than there are features.
    """
    settings = encoder.settings
    if settings.dimension != settings.features:
        raise SettingError(
            f"encoder.head is 'identity', but the network computes {settings.features:,} features and "
            f"encoder.dimension is {settings.dimension}; set encoder.dimension to {settings.features}"
        )
    with torch.no_grad():
        encoder.head.weight.copy_(torch.eye(settings.dimension))
        encoder.head.bias.zero_()


def head_only(encoder: Encoder) -> Encoder:
    """Makes an encoder of features that shares its head with another encoder.

    Args:
        encoder: The encoder with network and head.

    Returns:
        An encoder that takes `encoder.features` and computes the same embeddings; training it trains the
        head of `encoder`.
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
        faces=None,
        onnx=None,
    )
    alone = Encoder(settings, network=nn.Sequential())
    alone.head = encoder.head
    return alone
