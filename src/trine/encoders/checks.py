"""What is checked of the settings of a saved encoder before anything is built from them."""

from __future__ import annotations

import numpy as np
import torch

from trine.encoders.encoder import Encoder
from trine.encoders.face_resnet import LEAST_SIDE
from trine.encoders.onnx_network import OnnxNetwork
from trine.encoders.sentence import SentenceNetwork
from trine.encoders.settings import EncoderSettings, TableSettings
from trine.encoders.tabular import prepare_rows
from trine.encoders.two_tower import LikedTower, TwoTower, TwoTowerSettings

LONGEST_SIDE = 4096


def check_settings(settings: EncoderSettings | TwoTowerSettings) -> None:
    """Raises a `ValueError` for settings that training does not write: they contradict each other."""
    if isinstance(settings, TwoTowerSettings):
        if settings.titles and len(settings.titles) != len(settings.items):
            raise ValueError(f"{len(settings.titles)} titles for {len(settings.items)} items")
        if settings.liked is not None and (settings.dimension < 2 or settings.user_features):
            raise ValueError("users by the items they like have two numbers or more, and no features")
        return
    shape, network = settings.shape, settings.network
    own: dict[str, tuple[str, object]] = {
        "mlp": ("vectors", settings.mlp),
        "sentence": ("texts", settings.sentence),
        "small_resnet": ("images", settings.small_resnet),
        "onnx": ("images", settings.onnx),
    }
    kind, needed = own.get(network, ("images", network))
    if settings.kind != kind or needed is None:
        raise ValueError(f"the network {network[:40]!r} and its settings do not suit {settings.kind}")
    if len(shape) != (3 if kind == "images" else 1):
        raise ValueError(f"shape {shape} is not one of {kind}")
    if kind == "images" and (shape[0] not in (1, 3) or max(shape[1:]) > LONGEST_SIDE):
        raise ValueError(f"no image has shape {shape}: 1 or 3 channels, at most {LONGEST_SIDE} pixels a side")
    if network == "face_resnet" and (shape[0] != 3 or min(shape[1:]) < LEAST_SIDE):
        raise ValueError(f"no face has shape {shape}: 3 channels, at least {LEAST_SIDE} pixels a side")
    if settings.table is not None:
        _check_table(settings.table, shape[0])


def _check_table(table: TableSettings, features: int) -> None:
    if table.features != features:
        raise ValueError(f"a row has {table.features} features, and the network takes {features}")
    if table.named:
        prepare_rows([{column.name: "" for column in table.columns}], table=table)
    else:
        prepare_rows([np.zeros(len(table.columns))], table=table)


def check_weights(encoder: Encoder | TwoTower) -> None:
    """Raises a `ValueError` for weights that are more than numbers, and refer to what is not there."""
    if isinstance(encoder, TwoTower):
        sizes = torch.tensor([len(encoder.settings.users), len(encoder.settings.items)])
        if bool(((encoder.known < 0) | (encoder.known >= sizes)).any()):
            raise ValueError("it knows an interaction of a user or with an item that is not among its own")
        if isinstance(encoder.users, LikedTower):
            liked = encoder.users.liked
            if bool(((liked < 0) | (liked >= sizes)).any() | (liked[1:, 0] < liked[:-1, 0]).any()):
                raise ValueError("its liked items are not those of its users, in the order of users")
    elif isinstance(encoder.network, OnnxNetwork):
        encoder.network.check()


def check_network(encoder: Encoder | TwoTower) -> None:
    """Raises a `ValueError` for an encoder, on torch's device `meta`, whose parts do not fit each other.

    Networks that are built by trine fit by themselves.
    """
    if isinstance(encoder, TwoTower) or encoder.settings.network in ("small_resnet", "mlp", "face_resnet"):
        return
    settings, network = encoder.settings, encoder.network
    if isinstance(network, SentenceNetwork):
        computed = network.width
        if settings.shape[0] > network.longest:
            raise ValueError(f"texts of {settings.shape[0]} tokens, and the network takes {network.longest}")
    else:
        items = torch.zeros(1, *settings.shape, dtype=torch.float32, device="meta")
        try:
            with torch.inference_mode():
                features = network.eval()(items)
        except RuntimeError as error:
            if isinstance(error, NotImplementedError) or "meta" in str(error):
                return  # a network that looks at numbers, which `meta` has none of
            raise
        if features.ndim != 2:
            raise ValueError(f"the network computes {features.ndim - 1}-dimensional features of an item")
        computed = features.shape[1]
    if computed != settings.features:
        raise ValueError(f"the network computes {computed} features, and the head takes {settings.features}")
