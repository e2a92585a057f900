"""Encoders: from items to embeddings, preprocessing included."""

from __future__ import annotations

from trine.encoders.build import build_encoder
from trine.encoders.encoder import Encoder
from trine.encoders.head import head_alone
from trine.encoders.serialization import load, load_towers, save
from trine.encoders.settings import (
    EncoderRecipe,
    EncoderSettings,
    MlpSettings,
    SentenceSettings,
    SmallResNetSettings,
)
from trine.encoders.two_tower import Suggestion, Towers, TowersSettings, build_towers

__all__ = [
    "Encoder",
    "EncoderRecipe",
    "EncoderSettings",
    "MlpSettings",
    "SentenceSettings",
    "SmallResNetSettings",
    "Suggestion",
    "Towers",
    "TowersSettings",
    "build_encoder",
    "build_towers",
    "head_alone",
    "load",
    "load_towers",
    "save",
]
