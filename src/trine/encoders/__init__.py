"""Encoders: from items to embeddings, including preprocessing."""

from __future__ import annotations

from trine.encoders.build import build_encoder, started_from
from trine.encoders.encoder import Encoder
from trine.encoders.head import head_only
from trine.encoders.serialization import load, load_two_tower, save
from trine.encoders.settings import (
    EncoderRecipe,
    EncoderSettings,
    MlpSettings,
    SentenceSettings,
    SmallResNetSettings,
)
from trine.encoders.two_tower import Reason, Recommendation, TwoTower, TwoTowerSettings, build_two_tower

__all__ = [
    "Encoder",
    "EncoderRecipe",
    "EncoderSettings",
    "MlpSettings",
    "Reason",
    "Recommendation",
    "SentenceSettings",
    "SmallResNetSettings",
    "TwoTower",
    "TwoTowerSettings",
    "build_encoder",
    "build_two_tower",
    "head_only",
    "load",
    "load_two_tower",
    "save",
    "started_from",
]
