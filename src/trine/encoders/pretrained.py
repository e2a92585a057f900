"""Any timm model as the network of an encoder, with published weights or those of a file."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trine.display import first_line
from trine.encoders.settings import OWN_NETWORKS
from trine.errors import ModelError, SettingError, nearest, require

TIMM_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)
"""The name of a timm model, and the tag of its weights."""


def timm_network(name: str, *, size: tuple[int, int] | None = None, pretrained: bool = False) -> nn.Module:
    """Builds a timm model without its classifier.

    Args:
        name: The model's name, such as `"resnet18"` or, with weights, `"resnet18.a1_in1k"`.
        size: Height and width of an image, for models that are built for one size.
        pretrained: Whether to download its published weights; else they are random.

    Returns:
        The module, from (b, 3, h, w) to (b, features).

    Raises:
        SettingError: timm does not have the model.
        ModelError: The weights cannot be downloaded.
    """
    timm = require("timm", extra="images")
    # Other characters name a place to load from, such as hf-hub:... and local-dir:...
    if not TIMM_NAME.fullmatch(name) or not timm.is_model(name.split(".")[0]):
        known = [*OWN_NETWORKS, *timm.list_models()]
        phrase = nearest(name, known).partition("known: ")[0]
        raise SettingError(
            f"encoder.network is {name!r}, which is neither small_resnet, mlp nor a timm model; "
            f"{phrase}timm.list_models() lists {len(known) - len(OWN_NETWORKS)} names"
        )
    module = _created(timm, name, size=size, pretrained=False)
    if not pretrained:
        return module
    if not getattr(module, "pretrained_cfg", {}).get("hf_hub_id"):
        raise ModelError(
            f"timm has no published weights for {name!r}; set encoder.pretrained to false, "
            "or encoder.weights to a local file"
        )
    try:
        with _quiet("huggingface_hub"):
            return _created(timm, name, size=size, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise ModelError(
            f"the published weights of {name!r} could not be downloaded ({reason}); connect to the "
            "network, set encoder.weights to a local file, or set encoder.pretrained to false"
        ) from error


def load_weights(network: nn.Module, path: Path, *, name: str) -> None:
    """Loads a timm model's weights from a local file; nothing in the file is executed.

    Args:
        network: A model made by `timm_network`.
        path: A safetensors file, or a torch file that holds only tensors; a state dict may be under
            `state_dict` or `model`, and the classifier's weights are skipped.
        name: The model's name, for the error.

    Raises:
        ModelError: The file cannot be read, or lacks weights that the model needs.
    """
    state = read_state(path)
    own = network.state_dict()
    found = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    # Buffers such as batch counters may be missing from old files; parameters may not.
    missing = [key for key, _ in network.named_parameters() if key not in found]
    if missing:
        raise ModelError(
            f"{path} lacks {len(missing)} of the {len(list(network.parameters()))} weights of "
            f"{name!r}, first {missing[0]!r}; give a file that was saved from that model"
        )
    network.load_state_dict(found, strict=False)


def read_state(path: Path) -> dict[str, Tensor]:
    """Reads a state dict; nothing in the file is executed.

    Args:
        path: A safetensors file, or a torch file that holds only tensors, optionally under `state_dict` or
            `model`.

    Returns:
        The tensors by name, in the file's order.

    Raises:
        ModelError: The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist; set encoder.weights to a file with weights")
    try:
        if path.suffix == ".safetensors":
            content: Any = require("safetensors.torch", extra="train").load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors, and opening such a file could run any code; save only its "
            "state dict, preferably as safetensors"
        ) from error
    except Exception as error:  # both readers have their own exceptions for damaged files
        raise ModelError(f"{path} cannot be read as weights ({first_line(error)})") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, expected a state dict")
    return {
        str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)
    }


def _created(timm: Any, name: str, *, size: tuple[int, int] | None, pretrained: bool) -> nn.Module:
    module: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    fixed = bool(getattr(module, "pretrained_cfg", {}).get("fixed_input_size"))
    arguments = {"img_size": size} if fixed and size is not None else {}
    if not pretrained and not arguments:
        return module
    created: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    return created


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
