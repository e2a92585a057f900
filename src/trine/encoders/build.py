"""Builds an untrained encoder; the training items decide what the recipe leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trine.data import ImageFiles, Items, Kind, Table, Vectors
from trine.data.pixels import as_pixels
from trine.data.table import narrowest
from trine.distances import Distance
from trine.encoders.bundled_weights import (
    DEFAULTS,
    about_weights,
    known_package,
    load_in_order,
    weights_path,
)
from trine.encoders.encoder import Encoder, build_network
from trine.encoders.face_resnet import FEATURES, LEAST_SIDE, MEAN, SIDE, STD, FaceResNet, load_face_weights
from trine.encoders.head import initialise_as_identity, initialise_from_pca
from trine.encoders.onnx_network import HOW, onnx_network
from trine.encoders.pretrained import load_weights, timm_network
from trine.encoders.sentence import sentence_network
from trine.encoders.settings import EncoderRecipe, EncoderSettings
from trine.encoders.tabular import learn_table
from trine.errors import DataError, ModelError, SettingError
from trine.io import open_regular, read_small, readable
from trine.model import PACKAGED
from trine.plain_yaml import parse_yaml
from trine.settings import parse
from trine.shapes import Float32, Int64

LONGEST_SIDE = 64
SAMPLE = 1024


def build_encoder(
    items: Items, *, recipe: EncoderRecipe, distance: Distance = "euclidean", seed: int = 0
) -> Encoder:
    """Builds an untrained encoder whose preprocessing fits the training items.

    Size, channels, mean and standard deviation of images come from at most 1,024 of the items, evenly
    spaced. The statistics of vectors, the imputed values and the categories come from all items.

    Args:
        items: The training items.
        recipe: The encoder's settings in the recipe.
        distance: The distance to train for.
        seed: The seed of the weights; torch's global generators are not changed.

    Returns:
        The encoder, on the CPU.

    Raises:
        SettingError: The network is unknown, or does not suit the items.
        DataError: There are no items, vectors hold infinity, or no column varies.
        ModelError: Pretrained weights are wanted and not available.
        MissingDependencyError: The package with the weights is not installed.

    Example:
        >>> from trine.data import Vectors
        >>> items = Vectors(np.eye(4, dtype=np.float32))
        >>> build_encoder(items, recipe=EncoderRecipe(dimension=2)).settings.network
        'mlp'
    """
    if len(items) == 0:
        raise DataError("there are no training items; give at least one")
    network = network_for(recipe, items.kind)
    wanted = _kind_of(network)
    if items.kind != wanted:
        raise SettingError(
            f"encoder.network {network!r} takes {wanted}, but the training items are {items.kind}; "
            "set encoder.network to auto"
        )
    _check_kind(items.kind, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = BUILDERS.get(network, _for_timm)(items, recipe, distance)
    encoder.started_from = started_from(recipe, items.kind)
    if recipe.head == "principal":
        initialise_from_pca(encoder, encoder.features(items.subset(_spaced(items))))
    elif recipe.head == "identity":
        initialise_as_identity(encoder)
    return encoder


def network_for(recipe: EncoderRecipe, kind: Kind) -> str:
    """The network of a recipe for items of a kind."""
    if recipe.is_onnx:
        return "onnx"
    if recipe.network != "auto":
        return recipe.network
    return {"images": "small_resnet", "vectors": "mlp", "texts": "sentence"}[kind]


def started_from(recipe: EncoderRecipe, kind: Kind) -> str:
    """Says which weights training starts from, their licence, and what they were trained on.

    Args:
        recipe: The encoder's settings in the recipe.
        kind: The kind of the training items.

    Returns:
        A phrase; "" if they are random.

    Raises:
        SettingError: The weights are those of an unknown package.

    Example:
        >>> started_from(EncoderRecipe(network="resnet18"), "images")
        "timm's published weights of resnet18 (licence and training data: see its page on huggingface.co)"
        >>> started_from(EncoderRecipe(), "images")
        ''
    """
    network = network_for(recipe, kind)
    if not replace(recipe, network=network).is_pretrained:
        return ""
    weights = recipe.weights or DEFAULTS.get(network)
    if weights is not None:
        return about_weights(weights)
    return (
        f"timm's published weights of {network} (licence and training data: see its page on huggingface.co)"
    )


def pretrained_encoder(weights: str) -> Encoder:
    """Builds an encoder of pretrained weights, without any training.

    An embedding is the features of the network, scaled to length 1.

    Args:
        weights: `package:` and the name of a package with weights.

    Returns:
        The encoder, on the CPU and in evaluation mode. It has no threshold: a gallery calibrates its own.
        That of faces has one for clusters, chosen on people of Labeled Faces in the Wild.

    Raises:
        SettingError: The package is unknown.
        MissingDependencyError: It is not installed.
        ModelError: It does not hold the expected weights.
    """
    known = known_package(weights)
    recipe = EncoderRecipe(
        network=known.network,
        weights=weights,
        dimension=known.features,
        head="identity",
        views="flip" if known.network == "face_resnet" else "one",
    )
    encoder = BUILDERS.get(known.network, _for_timm)((), recipe, "euclidean")
    encoder.started_from = about_weights(weights)
    initialise_as_identity(encoder)
    encoder.cluster_threshold = known.clusters
    return encoder.eval()


def onnx_encoder(path: Path) -> Encoder:
    """Builds an encoder of a network in an ONNX file, without any training.

    An embedding is the features of the network, scaled to length 1.

    Args:
        path: The file. How it takes images is in a file of the same name that ends with .yaml, as the section
            `encoder` of a recipe.

    Returns:
        The encoder, on the CPU and in evaluation mode. It has no threshold: a gallery calibrates its own.

    Raises:
        SettingError: The settings are missing, or do not fit the file.
        ModelError: The file cannot be read or run.
        MissingDependencyError: onnxruntime is not installed.
    """
    beside = path.with_suffix(".yaml")
    if not path.is_file():
        raise ModelError(f"{path} does not exist; name an ONNX file, or a model folder")
    with readable(beside, SettingError):
        text = read_small(beside).decode("utf-8", "replace") if beside.is_file() else ""
    content = parse_yaml(text, source=str(beside)) or {}
    section = content.get("encoder") if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise SettingError(
            f"{beside} does not say how {path.name} takes images: write it with a section encoder, in it "
            "onnx, in it mean and std, such as: encoder: {onnx: {mean: 127.5, std: 127.5}}"
        )
    own = {"weights": str(path), "frozen": True, "head": "identity"}
    recipe = parse(EncoderRecipe, {**section, **own}, source=str(beside), key="encoder")
    encoder = _for_onnx((), recipe, "euclidean", whole=True)
    encoder.started_from = about_weights(str(path))
    initialise_as_identity(encoder)
    return encoder.eval()


def _kind_of(network: str) -> Kind:
    kinds: dict[str, Kind] = {"mlp": "vectors", "sentence": "texts"}
    return kinds.get(network, "images")


def _check_kind(kind: Kind, recipe: EncoderRecipe) -> None:
    """Raises a `SettingError` for a setting that is for items of another kind."""
    others = {
        "scaling": (recipe.scaling, "standard", kind == "vectors", "for numbers"),
        "views": (recipe.views, "one", kind == "images", "for images"),
        "faces": (recipe.faces, None, kind == "images", "for images"),
        "max_length": (recipe.max_length, None, kind == "texts", "for texts"),
    }
    if kind == "images" and recipe.scaling == "length":  # the recipe for judgements serves both
        others.pop("scaling")
    for name, (value, usual, fits, what) in others.items():
        if value != usual and not fits:
            raise SettingError(
                f"encoder.{name} is {value!r}, which is {what}, but the training items are {kind}; set "
                f"encoder.{name} to {'null' if usual is None else usual}"
            )


def _for_vectors(items: Items, recipe: EncoderRecipe, distance: Distance) -> Encoder:
    if not isinstance(items, Vectors | Table):
        items = Vectors(np.stack([np.asarray(items[at]) for at in range(len(items))]))
    # Numbers that float32 holds are standardised by the network's own buffers, all others in float64 before.
    plain = isinstance(items, Vectors) and recipe.scaling in ("standard", "length")
    plain = plain and narrowest(items.rows).dtype == np.float32
    table = None if plain and not np.isnan(items.rows).any() else learn_table(items, scaling=recipe.scaling)
    encoder = _built(
        recipe,
        distance,
        network="mlp",
        shape=(items.rows.shape[1] if table is None else table.features,),
        mlp=recipe.mlp,
        unit_rows=recipe.scaling == "length",
        table=table,
    )
    if table is None:
        vectors = items.rows.astype(np.float64)
        if not np.isfinite(vectors).all():
            position = int(np.argwhere(~np.isfinite(vectors))[0, 0])
            raise DataError(f"training item {position} holds infinity; fix or drop it first")
        if recipe.scaling == "length":
            return encoder
        encoder.mean.copy_(torch.from_numpy(vectors.mean(axis=0)))
        encoder.std.copy_(_without_zeros(vectors.std(axis=0)))
    return encoder


def _for_images(items: Items, recipe: EncoderRecipe, distance: Distance) -> Encoder:
    sampled = _spaced(items)
    shapes = _image_shapes(items, sampled)
    channels = int(shapes[:, 2].max())
    encoder = _built(
        recipe,
        distance,
        network="small_resnet",
        shape=(channels, *resized_shape(recipe.image_size, shapes[:, :2])),
        views=recipe.views,
        faces=recipe.faces,
        small_resnet=recipe.small_resnet,
    )
    images = encoder.prepare(items.subset(sampled))
    moments = np.zeros((2, channels))
    # In chunks: the whole sample in float64 would take eight times its memory.
    for start in range(0, len(images), 64):
        values = images[start : start + 64].numpy().astype(np.float64) / 255
        moments += [values.sum(axis=(0, 2, 3)), np.square(values).sum(axis=(0, 2, 3))]
    first, second = moments * channels / images.numel()
    encoder.mean.copy_(torch.from_numpy(first))
    encoder.std.copy_(_without_zeros(np.sqrt(np.maximum(second - first**2, 0))))
    return encoder


def _for_texts(_: Items, recipe: EncoderRecipe, distance: Distance) -> Encoder:
    where = recipe.weights or DEFAULTS["sentence"]
    folder = weights_path(where, network="sentence")
    network, sentence, most = sentence_network(folder, name=where, pretrained=recipe.pretrained)
    if recipe.max_length is not None and recipe.max_length > most:
        raise SettingError(
            f"encoder.max_length is {recipe.max_length}, but {where} takes at most {most}; lower it, or set "
            "it to null"
        )
    return _built(
        recipe,
        distance,
        network,
        features=network.width,
        network="sentence",
        shape=(recipe.max_length or most,),
        sentence=sentence,
    )


def _for_faces(_: Items | tuple[()], recipe: EncoderRecipe, distance: Distance) -> Encoder:
    network = FaceResNet()
    if recipe.pretrained:
        where = recipe.weights or DEFAULTS["face_resnet"]
        load_face_weights(network, weights_path(where, network="face_resnet"))
    wanted = recipe.image_size or SIDE
    height, width = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    if min(height, width) < LEAST_SIDE:
        raise SettingError(
            f"encoder.image_size is {min(height, width)}, but face_resnet takes at least {LEAST_SIDE} pixels "
            f"a side; leave it out for {SIDE}"
        )
    encoder = _built(
        recipe,
        distance,
        network,
        features=FEATURES,
        network="face_resnet",
        shape=(3, height, width),
        views=recipe.views,
        faces=recipe.faces,
    )
    encoder.mean.copy_(torch.tensor(MEAN))
    encoder.std.copy_(torch.tensor(STD))
    return encoder


def _for_onnx(
    _: Items | tuple[()], recipe: EncoderRecipe, distance: Distance, *, whole: bool = False
) -> Encoder:
    assert recipe.weights is not None
    name, how = recipe.weights, recipe.onnx
    if how.mean is None or how.std is None:
        raise SettingError(f"{name} does not say how it takes pixels: {HOW}")
    try:
        with open_regular(name) as file:
            content = file.read()
    except OSError as error:
        raise ModelError(
            f"{name} cannot be read ({error.strerror}); set encoder.weights to an ONNX file"
        ) from error
    network, shape = onnx_network(content, name=name, recipe=how, image_size=recipe.image_size)
    features = network.settings.features
    encoder = _built(
        replace(recipe, dimension=features) if whole else recipe,
        distance,
        network,
        features=features,
        network="onnx",
        shape=shape,
        views=recipe.views,
        faces=recipe.faces,
        onnx=network.settings,
    )
    encoder.mean.copy_(_colours("mean", how.mean, shape[0]) / how.white)
    encoder.std.copy_(_colours("std", how.std, shape[0]) / how.white)
    return encoder


def _colours(name: str, given: float | tuple[float, ...], channels: int) -> Float32[Tensor, " c"]:
    values = given if isinstance(given, tuple) else (given,) * channels
    if len(values) != channels:
        raise SettingError(
            f"encoder.onnx.{name} has {len(values)} numbers, but the network takes {channels} "
            f"{'channel' if channels == 1 else 'channels'}; give one number, or one for each"
        )
    return torch.tensor(values, dtype=torch.float32)


def _for_timm(items: Items, recipe: EncoderRecipe, distance: Distance) -> Encoder:
    name, size = recipe.network, None
    if recipe.image_size is not None:
        size = resized_shape(recipe.image_size, _image_shapes(items, _spaced(items))[:, :2])
    weights = recipe.weights
    network = timm_network(name, size=size, pretrained=recipe.pretrained and weights is None)
    if weights is not None:
        read = load_in_order if weights.startswith(PACKAGED) else load_weights
        read(network, weights_path(weights, network=name), name=name)
    own: dict[str, Any] = dict(getattr(network, "pretrained_cfg", {}) or {})
    height, width = size or tuple(own.get("input_size", (3, 224, 224)))[1:]
    encoder = _built(
        recipe,
        distance,
        network,
        features=_features(network, (3, height, width)),
        network=name,
        shape=(3, height, width),
        views=recipe.views,
        faces=recipe.faces,
    )
    encoder.mean.copy_(torch.tensor(own.get("mean", (0.5, 0.5, 0.5))))
    encoder.std.copy_(torch.tensor(own.get("std", (0.5, 0.5, 0.5))))
    return encoder


BUILDERS: Mapping[str, Callable[[Any, EncoderRecipe, Distance], Encoder]] = {
    "mlp": _for_vectors,
    "sentence": _for_texts,
    "small_resnet": _for_images,
    "face_resnet": _for_faces,
    "onnx": _for_onnx,
}
"""What builds the encoder of each network; all others are timm models."""


def resized_shape(wanted: int | tuple[int, int] | None, sizes: np.ndarray) -> tuple[int, int]:
    """Chooses the height and width that images are resized to.

    Args:
        wanted: Height and width; or the longer side, with the images' median aspect ratio; or None for
            their median size with the longer side at most 64.
        sizes: Heights and widths of images, (n, 2).

    Returns:
        Height and width, each at least 1.

    Example:
        >>> resized_shape(None, np.array([[112, 92], [112, 92]]))
        (64, 53)
        >>> resized_shape(56, np.array([[112, 92], [112, 92]]))
        (56, 46)
    """
    if isinstance(wanted, tuple):
        return wanted
    height, width = (float(side) for side in np.median(sizes, axis=0))
    longest = max(height, width)
    scale = wanted / longest if wanted is not None else min(1.0, LONGEST_SIDE / longest)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _built(
    recipe: EncoderRecipe,
    distance: Distance,
    module: nn.Module | None = None,
    *,
    features: int = 1,
    **derived: Any,
) -> Encoder:
    """Builds an encoder of the recipe's settings and derived ones; without a module also the network."""
    settings = EncoderSettings(
        **derived,
        kind=_kind_of(derived["network"]),
        features=features,
        dimension=recipe.dimension,
        normalise=recipe.normalise,
        distance=distance,
    )
    if module is None:
        module, features = build_network(settings)
        settings = replace(settings, features=features)
    return Encoder(settings, network=module)


def _spaced(items: Items) -> Int64[np.ndarray, " k"]:
    count = min(len(items), SAMPLE)
    return np.linspace(0, len(items) - 1, count).round().astype(np.int64)


def _image_shapes(items: Items, positions: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, "k 3"]:
    """Height, width and channels of some images; those that loading decoded are not decoded again."""
    if isinstance(items, ImageFiles):
        return np.array([items.shape(at) for at in positions.tolist()])
    return np.array([as_pixels(items[at], name=f"item {at}").shape for at in positions.tolist()])


def _features(network: nn.Module, shape: tuple[int, int, int]) -> int:
    training = network.training
    with torch.inference_mode():
        output = network.eval()(torch.zeros(1, *shape))
    network.train(training)
    if output.ndim != 2:
        raise SettingError(
            f"the network {type(network).__name__} computes {output.ndim - 1}-dimensional features of a "
            "image, expected a vector; choose another encoder.network"
        )
    return int(output.shape[1])


def _without_zeros(std: np.ndarray) -> Float32[Tensor, " d"]:
    # A constant feature is 0 after subtracting its mean; dividing by a deviation of 0 would make it NaN.
    return torch.from_numpy(np.where(std > 1e-12, std, 1.0)).float()
