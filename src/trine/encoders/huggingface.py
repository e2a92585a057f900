"""Encoders as folders that sentence-transformers and timm open."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trine.display import first_line
from trine.encoders.encoder import Encoder
from trine.encoders.sentence import CONFIG, LENGTH, MODULES, POOLING, TOKENIZER, WEIGHTS, SentenceNetwork
from trine.encoders.settings import OWN_NETWORKS
from trine.errors import ModelError, require
from trine.shapes import Float32

DENSE, NORMALIZE = "2_Dense", "3_Normalize"

SPECIAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
"""What the usual tokens are called, in tokenizers of BERT and of RoBERTa."""


def check_exportable(encoder: Encoder) -> None:
    """Raises a `ModelError` unless sentence-transformers or timm has a network like the encoder's."""
    settings = encoder.settings
    if settings.network == "sentence":
        return
    if settings.network in OWN_NETWORKS:
        raise ModelError(
            f"the network {settings.network} is in neither sentence-transformers nor "
            "timm, which open sentence encoders and timm networks; export it as ONNX"
        )
    if settings.views != "one":
        raise ModelError(
            f"the embedding of an image is the mean over several views (encoder.views is "
            f"{settings.views}), which timm does not compute; export it as ONNX, which includes the views"
        )


def write_huggingface(encoder: Encoder, folder: Path) -> None:
    """Writes an encoder as a folder that sentence-transformers, or timm, opens.

    Args:
        encoder: The encoder, on the CPU and in evaluation mode.
        folder: An empty folder.

    Raises:
        ModelError: No such folder has the embeddings of this encoder.
        MissingDependencyError: A package is not installed.
    """
    check_exportable(encoder)
    if isinstance(encoder.network, SentenceNetwork):
        _write_sentence(encoder, encoder.network, folder)
    else:
        _write_timm(encoder, folder)


def embeddings_of(folder: Path, encoder: Encoder, items: Any) -> Float32[np.ndarray, "n d"]:
    """Opens a folder that `write_huggingface` wrote with the library that it is for, and embeds items.

    Args:
        folder: The folder.
        encoder: The encoder that was written: it prepares images, and says whether embeddings have length 1.
        items: The items.

    Returns:
        One embedding a row.

    Raises:
        ModelError: The library cannot open the folder.
        MissingDependencyError: It is not installed.
    """
    try:
        with _quiet(), torch.inference_mode():
            if encoder.settings.kind == "texts":
                opened = require("sentence_transformers", extra="text").SentenceTransformer(
                    str(folder), device="cpu"
                )
                texts = [items[at] for at in range(len(items))]
                return np.asarray(opened.encode(texts, show_progress_bar=False), dtype=np.float32)
            network = require("timm", extra="images").create_model(f"local-dir:{folder}", pretrained=True)
            rows = network.eval()(encoder._standardised(encoder.prepare(items)))
            rows = nn.functional.normalize(rows, dim=1) if encoder.settings.normalise else rows
            return np.asarray(rows.numpy(), dtype=np.float32)
    except Exception as error:  # both libraries raise anything
        raise ModelError(f"the exported folder cannot be opened ({first_line(error)})") from error


def _write_sentence(encoder: Encoder, network: SentenceNetwork, folder: Path) -> None:
    settings = encoder.settings
    assert settings.sentence is not None
    tokenizer = network.tokenizer.cpu().numpy().tobytes()
    (folder / TOKENIZER).write_bytes(tokenizer)
    config = json.loads(settings.sentence.config)
    _json(folder / CONFIG, {"architectures": [type(network.transformer).__name__], **config})
    _save(folder / WEIGHTS, dict(network.transformer.state_dict()))
    known = set(json.loads(tokenizer).get("model", {}).get("vocab", ()))
    special = {name: token for name, names in SPECIAL.items() for token in names if token in known}
    _json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": settings.shape[0],
            "clean_up_tokenization_spaces": False,
            **special,
        },
    )
    _json(folder / LENGTH, {"max_seq_length": settings.shape[0], "do_lower_case": False})
    pooling = settings.sentence.pooling
    (folder / POOLING).parent.mkdir()
    _json(
        folder / POOLING,
        {
            "word_embedding_dimension": network.width,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
        },
    )
    layers = [("", "Transformer"), (POOLING.partition("/")[0], "Pooling")]
    if not _is_identity(encoder.head):
        layers.append((DENSE, "Dense"))
        (folder / DENSE).mkdir()
        about = {
            "in_features": settings.features,
            "out_features": settings.dimension,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        _json(folder / DENSE / CONFIG, about)
        state = {"linear.weight": encoder.head.weight, "linear.bias": encoder.head.bias}
        _save(folder / DENSE / WEIGHTS, state)
    if settings.normalise:
        layers.append((NORMALIZE, "Normalize"))
        (folder / NORMALIZE).mkdir()
        _json(folder / NORMALIZE / CONFIG, {})
    _json(
        folder / MODULES,
        [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
            for at, (path, name) in enumerate(layers)
        ],
    )
    _json(
        folder / "config_sentence_transformers.json",
        {"similarity_fn_name": "cosine" if settings.normalise else "euclidean"},
    )


def _write_timm(encoder: Encoder, folder: Path) -> None:
    settings = encoder.settings
    timm = require("timm", extra="images")
    base: Any = encoder.network
    size = settings.shape[1:]
    fixed = bool(getattr(base, "pretrained_cfg", {}).get("fixed_input_size"))
    arguments = {"img_size": list(size)} if fixed else {}
    with _quiet():
        whole: Any = timm.create_model(
            settings.network, pretrained=False, num_classes=settings.dimension, **arguments
        ).eval()
    classifier = whole.get_classifier()
    if not isinstance(classifier, nn.Linear) or classifier.in_features != settings.features:
        raise _no_place(settings.network)
    state = whole.state_dict()
    (prefix,) = [name for name, module in whole.named_modules() if module is classifier]
    state.update(base.state_dict())
    state[f"{prefix}.weight"] = encoder.head.weight.detach()
    if classifier.bias is None:
        raise _no_place(settings.network)
    state[f"{prefix}.bias"] = encoder.head.bias.detach()
    whole.load_state_dict(state)
    _save(folder / WEIGHTS, dict(whole.state_dict()))
    _json(
        folder / CONFIG,
        {
            "architecture": settings.network,
            "num_classes": settings.dimension,
            "num_features": settings.features,
            "model_args": arguments,
            "pretrained_cfg": {
                "tag": "trine",
                "custom_load": False,
                "input_size": list(settings.shape),
                "fixed_input_size": fixed,
                "interpolation": "bilinear",
                "crop_pct": 1.0,
                "crop_mode": "squash",
                "mean": encoder.mean.tolist(),
                "std": encoder.std.tolist(),
                "num_classes": settings.dimension,
                "pool_size": None,
                "first_conv": whole.pretrained_cfg.get("first_conv"),
                "classifier": prefix,
            },
        },
    )


def _no_place(network: str) -> ModelError:
    return ModelError(
        f"timm's {network} has no linear classifier in which the embedding head could stand; "
        "export it as ONNX"
    )


def _is_identity(head: nn.Linear) -> bool:
    weight = head.weight
    if weight.shape[0] != weight.shape[1]:
        return False
    return bool((weight == torch.eye(len(weight))).all()) and not bool(head.bias.any())


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", "utf-8")


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save = require("safetensors.torch", extra="train").save
    path.write_bytes(save(copies, metadata={"format": "pt"}))


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
