"""What a recipe says about an encoder, and what a saved encoder knows about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trine.distances import Distance
from trine.settings import Range

Size = Annotated[int, Range(at_least=1, at_most=4096)]
Share = Annotated[float, Range(at_least=0, below=1)]


@dataclass(frozen=True)
class SmallResNetSettings:
    """The shape of the small residual network for small pictures.

    Attributes:
        width: Channels of the first stage; each later stage has twice as many.
        blocks: Residual blocks in each stage; each stage after the first halves the picture.
        stem: The longest side, in pixels, that the first stage is given: convolutions before it halve
            the picture until no side is longer.
        pool: Side of the grid that average pooling leaves; 1 forgets where in the picture something
            was, which suits objects that move; aligned pictures such as faces keep more with 2 or 4.
        dropout: Share of the features dropped in front of the embedding head, while training.
    """

    width: Size = 32
    blocks: tuple[Annotated[int, Range(at_least=1)], ...] = (1, 1, 1)
    stem: Size = 16
    pool: Annotated[int, Range(at_least=1, at_most=16)] = 1
    dropout: Share = 0.0


@dataclass(frozen=True)
class MlpSettings:
    """The shape of the multilayer perceptron for vectors.

    Attributes:
        hidden: Width of each hidden layer; an empty list leaves the linear head alone.
        dropout: Share of each hidden layer dropped while training.
        scaling: `standard` gives every feature mean 0 and standard deviation 1, as columns of different
            units need it; `length` gives every vector length 1 and leaves the features among themselves as
            they are, as features of another network need it.
    """

    hidden: tuple[Size, ...] = (256, 256)
    dropout: Share = 0.0
    scaling: Literal["standard", "length"] = "standard"


@dataclass(frozen=True)
class EncoderRecipe:
    """What a recipe says about the encoder; what it leaves open is derived from the training items.

    Attributes:
        network: `"auto"` (small_resnet for pictures, mlp for vectors), `"small_resnet"`, `"mlp"`, or the
            name of any timm model.
        dimension: Length of an embedding.
        normalise: Whether embeddings are scaled to length 1.
        image_size: Height and width that pictures are resized to; one number is the longer side, at the
            training pictures' median proportions; null is their median size, with the longer side at
            most 64, or a timm model's own size.
        pretrained: Whether a timm model starts from its published weights.
        weights: A local file with weights for a timm model, safetensors or a torch state dict; it takes
            the place of the published ones.
        small_resnet: Settings of that network.
        mlp: Settings of that network.
    """

    network: str = "auto"
    dimension: Size = 128
    normalise: bool = True
    image_size: Size | tuple[Size, Size] | None = None
    pretrained: bool = True
    weights: str | None = None
    small_resnet: SmallResNetSettings = field(default_factory=SmallResNetSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)


@dataclass(frozen=True)
class EncoderSettings:
    """What a saved encoder knows about itself, everything derived.

    Attributes:
        kind: What it takes.
        network: `"small_resnet"`, `"mlp"` or the name of a timm model.
        shape: (channels, height, width) of a prepared picture, or (features,) of a vector.
        features: Length of what the network hands to the embedding head.
        dimension: Length of an embedding.
        normalise: Whether embeddings are scaled to length 1.
        distance: The distance that its embeddings were trained for.
        small_resnet: Settings of that network, where it is the one.
        mlp: Settings of that network, where it is the one.
    """

    kind: Literal["images", "vectors"]
    network: str
    shape: tuple[Annotated[int, Range(at_least=1)], ...]
    features: Annotated[int, Range(at_least=1)]
    dimension: Annotated[int, Range(at_least=1)]
    normalise: bool
    distance: Distance
    small_resnet: SmallResNetSettings | None = None
    mlp: MlpSettings | None = None
