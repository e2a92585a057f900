"""Encoders: from items to embeddings, preprocessing included."""

from __future__ import annotations

from trine.encoders.build import build_encoder
from trine.encoders.encoder import Encoder
from trine.encoders.head import head_alone
from trine.encoders.saved import load, save
from trine.encoders.settings import (
    EncoderRecipe,
    EncoderSettings,
    MlpSettings,
    SentenceSettings,
    SmallResNetSettings,
)

__all__ = [
    "Encoder",
    "EncoderRecipe",
    "EncoderSettings",
    "MlpSettings",
    "SentenceSettings",
    "SmallResNetSettings",
    "build_encoder",
    "head_alone",
    "load",
    "save",
]
