"""A transformer for texts, from the folder of a sentence-transformers model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trine.data import Items
from trine.display import first_line, shortened
from trine.encoders.pretrained import load_weights
from trine.encoders.settings import SentenceSettings
from trine.encoders.transformer_config import known_config, longest_text, width_of
from trine.errors import InputError, ModelError, require
from trine.io import read_small
from trine.plain_json import parse_json
from trine.shapes import Float, Int, Int64

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
MODULES, POOLING, LENGTH = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
READ = ("Transformer", "Pooling", "Normalize")
PADDING = -1
"""Fills rows of tokens after the end of a text."""

BATCH = 32
"""How many texts go through the transformer at once."""


class SentenceNetwork(nn.Module):
    """A transformer whose last states are pooled into one vector.

    The tokenizer is a buffer, so that it is saved with the weights.

    Args:
        settings: The network's shape.

    Attributes:
        tokenizer: The tokenizer, as the bytes of its JSON.
        width: The number of features that it computes.
        longest: The most tokens that it has positions for.
    """

    tokenizer: Tensor

    def __init__(self, settings: SentenceSettings) -> None:
        super().__init__()
        transformers = require("transformers", extra="text")
        config = known_config(_parsed(settings.config), source="the configuration of the transformer")
        self.pooling = settings.pooling
        self.width, self.longest = width_of(config), longest_text(config)
        self.transformer: nn.Module = transformers.AutoModel.from_config(
            transformers.AutoConfig.for_model(**config), trust_remote_code=False
        )
        if getattr(self.transformer, "pooler", None) is not None:
            self.transformer.pooler = None  # its output is not used, so it would get no gradient
        self.register_buffer("tokenizer", torch.zeros(settings.tokenizer, dtype=torch.uint8))
        self._read: Any = None

    def tokens(self, texts: Sequence[str], *, max_length: int) -> Int[Tensor, "n l"]:
        """Splits texts into tokens.

        Args:
            texts: The texts.
            max_length: The most tokens of a text; the rest is cut off.

        Returns:
            int32, one row per text, padded with -1.
        """
        if self._read is None:
            self._read = _read_tokenizer(self.tokenizer.cpu().numpy().tobytes(), self.transformer)
        self._read.enable_truncation(max_length=max_length)
        rows = np.full((len(texts), max_length), PADDING, dtype=np.int32)
        for row, encoding in zip(rows, self._read.encode_batch(list(texts)), strict=True):
            row[: len(encoding.ids)] = encoding.ids
        return torch.from_numpy(rows)

    def forward(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b f"]:
        """Computes a vector of each text.

        Args:
            tokens: What `tokens` returns.

        Returns:
            The mean over the states of a text's tokens, or the state of the first.
        """
        lengths = (tokens != PADDING).sum(dim=1)
        if not len(tokens):
            return torch.zeros((0, self.width), device=tokens.device)
        # Similar lengths together: padding costs as much as words.
        order = lengths.argsort(stable=True)
        rows = torch.cat([self._embedded(tokens[part], lengths[part]) for part in torch.split(order, BATCH)])
        return rows[order.argsort()]

    def _embedded(self, tokens: Int[Tensor, "b l"], lengths: Int[Tensor, " b"]) -> Float[Tensor, "b f"]:
        tokens = tokens[:, : int(lengths.max())]
        return self.pooled(tokens.clamp(min=0).long(), (tokens != PADDING).long())

    def pooled(
        self, input_ids: Int64[Tensor, "b l"], attention_mask: Int64[Tensor, "b l"]
    ) -> Float[Tensor, "b f"]:
        """Computes a vector of each text, from what transformers takes.

        Args:
            input_ids: The number of each token.
            attention_mask: 1 for a token, 0 after the end of a text.

        Returns:
            As `forward`.
        """
        states: Tensor = self.transformer(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]
        weights = attention_mask.unsqueeze(2).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the transformer has a row for."""
        rows: int = self.transformer.get_input_embeddings().num_embeddings  # type: ignore[operator]
        return rows


def sentence_network(
    folder: Path, *, name: str, pretrained: bool = True
) -> tuple[SentenceNetwork, SentenceSettings, int]:
    """Builds the network of a sentence-transformers folder; nothing in it is executed.

    Args:
        folder: The folder with config.json, model.safetensors and tokenizer.json.
        name: Its name in errors.
        pretrained: Whether to load the weights; else they are random.

    Returns:
        The network; its settings; and the most tokens that it takes.

    Raises:
        ModelError: A file is missing or damaged, or the folder has a layer that is not supported.
    """
    config, pooling = _read_json(folder / CONFIG), _pooling(folder)
    known = known_config(config, source=str(folder / CONFIG))
    tokenizer = _read_bytes(folder / TOKENIZER)
    settings = SentenceSettings(
        config=json.dumps(known, sort_keys=True), pooling=pooling, tokenizer=len(tokenizer)
    )
    network = SentenceNetwork(settings)
    if pretrained:
        load_weights(network.transformer, folder / WEIGHTS, name=name)
    network.tokenizer.copy_(torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8))
    limits = [network.longest]
    if (folder / LENGTH).is_file():
        limits.append(_longest_asked(folder / LENGTH) or limits[0])
    return network, settings, min(limits)


def prepare_texts(
    items: Sequence[Any] | Items, *, network: SentenceNetwork, max_length: int, first: int = 0
) -> Int[Tensor, "n l"]:
    """Checks texts and splits them into tokens.

    Args:
        items: The texts.
        network: The network with the tokenizer.
        max_length: The most tokens of a text.
        first: The number of the first item, for errors.

    Returns:
        One batch.

    Raises:
        InputError: An item is not a text, or is empty.
    """
    for position in range(len(items)):
        item = items[position]
        if not isinstance(item, str):
            raise InputError(
                f"item {first + position} is a {type(item).__name__}, but this encoder takes texts; "
                "give strings"
            )
        if not item.strip():
            raise InputError(f"item {first + position} is an empty text; remove it")
    return network.tokens([items[position] for position in range(len(items))], max_length=max_length)


def _pooling(folder: Path) -> Any:
    if (folder / MODULES).is_file():
        listed = _read_json(folder / MODULES)
        layers = listed if isinstance(listed, list) else [listed]
        for layer in layers:
            name = str(layer.get("type", "") if isinstance(layer, dict) else layer).rpartition(".")[2]
            if name not in READ:
                raise ModelError(
                    f"{folder / MODULES} lists a layer {shortened(name, most=40)}, but only "
                    f"{', '.join(READ)} are supported; choose another sentence encoder"
                )
    if not (folder / POOLING).is_file():
        return "mean"
    chosen = [
        key
        for key, on in _read_object(folder / POOLING).items()
        if key.startswith("pooling_mode") and on is True
    ]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in known:
        raise ModelError(
            f"{folder / POOLING} has {' and '.join(chosen) or 'no pooling mode'}, but only "
            f"{' or '.join(known)} is supported; choose another sentence encoder"
        )
    return known[chosen[0]]


def _parsed(config: str) -> Any:
    try:
        return parse_json(config)
    except ValueError as error:
        raise ModelError(f"the configuration of the transformer is damaged ({error})") from error


def _read_tokenizer(content: bytes, transformer: nn.Module) -> Any:
    """Reads a tokenizer, and checks that the transformer has a row for each of its tokens."""
    damaged = "the tokenizer of the model is damaged ({}); copy the model again or train again"
    rows = transformer.get_input_embeddings().num_embeddings  # type: ignore[operator]
    try:
        tokenizer = require("tokenizers", extra="text").Tokenizer.from_str(content.decode())
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    except Exception as error:  # the library raises Exception itself
        raise ModelError(damaged.format(first_line(error))) from error
    if largest >= rows:
        raise ModelError(damaged.format(f"a token has the number {largest}, and the network has {rows}"))
    tokenizer.no_padding()
    return tokenizer


def _longest_asked(path: Path) -> int | None:
    length = _read_object(path).get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise ModelError(f"{path} has max_seq_length {str(length)[:40]}, expected a number of tokens")
    return length


def _read_object(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object; copy the sentence encoder again")
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        return read_small(path)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); set encoder.weights to a folder of a sentence encoder"
        ) from error


def _read_json(path: Path) -> Any:
    try:
        return parse_json(_read_bytes(path))
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({error}); copy the sentence encoder again") from error
