"""The encoder: preprocessing, network and embedding head, from items to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.data import Dataset, ImageObjects, Items, Kind, Row, TrainedOn, read_items
from trine.data.frames import as_row, is_frame
from trine.data.image_cache import ImageCache
from trine.data.load import frame_items, single_item
from trine.data.objects import sequence_of, without_labels
from trine.distances import Distance
from trine.encoders.face_resnet import FEATURES, FaceResNet
from trine.encoders.fingerprint import fingerprint_of
from trine.encoders.mlp import mlp
from trine.encoders.onnx_network import OnnxNetwork
from trine.encoders.preprocessing import prepare_images, prepare_vectors
from trine.encoders.pretrained import timm_network
from trine.encoders.sentence import SentenceNetwork, prepare_texts
from trine.encoders.settings import EncoderSettings
from trine.encoders.small_resnet import small_resnet
from trine.encoders.tabular import prepare_rows
from trine.encoders.test_time_augmentation import augmented_views
from trine.errors import InputError, check_count, check_flags, require
from trine.shapes import Float, Float32, Shaped
from trine.strangers import LeftOut, Strangers

BATCH_SIZE = 256
"""How many items go through the network at once, unless told otherwise."""

Elsewhere = Callable[["Encoder", Items, Sequence[range]], Iterator[Float32[np.ndarray, "b d"]]]
"""Embeds batches of items in other processes; yields the embeddings of each batch, in order."""


def batches_of(positions: range, batch_size: int) -> list[range]:
    """Splits positions into batches, of which the last may be smaller.

    Example:
        >>> batches_of(range(10, 15), 2)
        [range(10, 12), range(12, 14), range(14, 15)]
    """
    starts = range(positions.start, positions.stop, batch_size)
    return [range(start, min(start + batch_size, positions.stop)) for start in starts]


@final
class Encoder(nn.Module):
    """Preprocessing, a network, a linear embedding head and optionally scaling to length 1.

    Args:
        settings: All settings, with the derived ones.
        network: The network, if already built, such as one with pretrained weights.

    Attributes:
        settings: All settings, with the derived ones.
        calibration: The threshold for "the same", once calibrated.
        cluster_threshold: How to cluster the embeddings, once chosen.
        trained: The items and identities that it was trained on; None if they are unknown.
        strangers: Embeddings of identities that no training saw; None if none are kept.
        left_out: How near identities came that folds of the training left out; None if there were none.
        elsewhere: Embeds batches of items in other processes, in order, in place of this one; None for this
            one (`trine.on_ray` sets it).
        started_from: The pretrained weights that training started from, with their licence and what they
            were trained on; "" for none.
        mean: Mean of each channel in [0, 1], or of each feature, of the training items; 0 for rows of a
            table, which preprocessing scales.
        std: The standard deviation; 1 for rows of a table.

    Example:
        >>> from trine.encoders import EncoderSettings, MlpSettings
        >>> settings = EncoderSettings(
        ...     kind="vectors", network="mlp", shape=(4,), features=4, dimension=2, normalise=True,
        ...     distance="euclidean", mlp=MlpSettings(hidden=()))
        >>> Encoder(settings).embed(np.eye(4, dtype=np.float32)).shape
        (4, 2)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: EncoderSettings, *, network: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.calibration: Calibration | None = None
        self.cluster_threshold: ClusterThreshold | None = None
        self.trained: TrainedOn | None = None
        self.strangers: Strangers | None = None
        self.left_out: LeftOut | None = None
        self.elsewhere: Elsewhere | None = None
        self.started_from = ""
        statistics = 0 if settings.kind == "texts" else settings.shape[0]
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("std", torch.ones(statistics))
        self.network = network if network is not None else _network_of(settings)
        self.head = nn.Linear(settings.features, settings.dimension)
        if settings.kind == "images":
            # Convolutions on the CPU run up to twice as fast with this memory format.
            self.network.to(memory_format=torch.channels_last)

    def __getstate__(self) -> dict[str, Any]:
        # A copy, also in another process, embeds where it is.
        return {**self.__dict__, "elsewhere": None}

    @property
    def distance(self) -> Distance:
        """The distance that the embeddings were trained for."""
        return self.settings.distance

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.head.weight.device

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of every weight, every statistic and every setting.

        Two encoders with the same fingerprint give the same embeddings; galleries are bound to it.
        """
        return fingerprint_of(self, self.settings)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of a table that it sees; None if items have no named columns."""
        table = self.settings.table
        if table is None or not table.named:
            return None
        return tuple(column.name for column in table.columns if column.features)

    def prepare(
        self, items: Sequence[np.ndarray] | Sequence[Row] | Sequence[str] | Items, *, first: int = 0
    ) -> Shaped[Tensor, "b ..."]:
        """Preprocesses items into a batch: images resized, rows scaled, texts split into tokens.

        Images are standardised later, in `forward`.

        Args:
            items: Images, uint8 (h, w), (h, w, 1) or (h, w, 3), in [0, 255]; vectors (features,); rows
                of a table, whose columns are found by name; or texts.
            first: The number of the first item, for errors.

        Returns:
            uint8 (b, channels, height, width), float32 (b, features), or int32 (b, tokens).

        Raises:
            InputError: An item does not fit this encoder.
        """
        shape = self.settings.shape
        if isinstance(self.network, SentenceNetwork):
            return prepare_texts(items, network=self.network, max_length=shape[0], first=first)
        if self.settings.table is not None:
            return prepare_rows(items, table=self.settings.table, first=first)
        if self.settings.kind == "vectors":
            return prepare_vectors(items, features=shape[0], first=first)
        return prepare_images(items, channels=shape[0], size=(shape[1], shape[2]), first=first)

    def forward(self, batch: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Embeds a prepared batch.

        Args:
            batch: What `prepare` returns, on the encoder's device; images may also be floating-point,
                in [0, 255].

        Returns:
            One embedding a row; of length 1 if `settings.normalise`.
        """
        embeddings: Tensor = self.head(self._features(batch))
        if self.settings.normalise:
            embeddings = F.normalize(embeddings.float(), dim=1)
        return embeddings

    def _features(self, batch: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b f"]:
        features: Tensor = self.network(self._standardised(batch))
        return features

    def _standardised(self, batch: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "b ..."]:
        if self.settings.kind == "texts":
            return batch
        values = batch.to(self.mean.dtype)
        if self.settings.kind == "images":
            mean, std = 255 * self.mean[:, None, None], 255 * self.std[:, None, None]
            return ((values - mean) / std).contiguous(memory_format=torch.channels_last)
        values = (values - self.mean) / self.std
        return F.normalize(values, dim=1) if self.settings.unit_rows else values

    def embed(
        self,
        items: Any,
        *,
        batch_size: int = BATCH_SIZE,
        progress: bool = False,
    ) -> Float32[np.ndarray, "n d"]:
        """Embeds any number of items, in evaluation mode; the mode of the encoder does not change.

        With several `settings.views` of an image, its embedding is the mean over them, scaled to length 1
        again if `settings.normalise`.

        Args:
            items: A dataset, its items, a DataFrame or a mapping of columns, or what else Python holds:
                arrays, tensors, images of Pillow, paths of images, rows, or, for an encoder of texts,
                strings; one image, or a sequence of items, or of pairs (item, label), such as a data set of
                torch.
            batch_size: How many items go through the network at once.
            progress: Whether to show a progress bar.

        Returns:
            One embedding a row, in the order of the items.

        Raises:
            InputError: An item does not fit this encoder.
            DataError: An image cannot be read.
        """
        return self._rows(
            items, self._embedded, self.settings.dimension, batch_size, progress, elsewhere=self.elsewhere
        )

    def embed_batches(self, items: Items, batches: Iterable[range]) -> Iterator[Float32[np.ndarray, "b d"]]:
        """Embeds items batch by batch, as `embed` does with the same batches.

        Args:
            items: The items.
            batches: The positions of the items of each batch.

        Yields:
            The embeddings of each batch.

        Raises:
            InputError: An item does not fit this encoder.
            DataError: An image cannot be read.

        Example:
            >>> from trine.data import Vectors
            >>> from trine.encoders import EncoderRecipe, build_encoder
            >>> points = Vectors(np.eye(4, dtype=np.float32))
            >>> encoder = build_encoder(points, recipe=EncoderRecipe())
            >>> [len(rows) for rows in encoder.embed_batches(points, [range(3), range(3, 4)])]
            [3, 1]
        """
        return self._computed(items, self._embedded, batches)

    def embed_parts(
        self, items: Items, parts: Sequence[range], *, batch_size: int = BATCH_SIZE
    ) -> Iterator[Float32[np.ndarray, "p d"]]:
        """Embeds items part by part, each as `embed` embeds it; where `elsewhere` is set, in one stream.

        Args:
            items: The items.
            parts: The positions of the items of each part.
            batch_size: How many items go through the network at once.

        Yields:
            The embeddings of each part.

        Raises:
            InputError: An item does not fit this encoder.
            DataError: An image cannot be read.
        """
        if self.elsewhere is None:
            for part in parts:
                yield self.embed(items.subset(part), batch_size=batch_size)
            return
        batches = [batches_of(part, batch_size) for part in parts]
        rows = self.elsewhere(self, items, [batch for each in batches for batch in each])
        for part, each in zip(parts, batches, strict=True):
            width = (len(part), self.settings.dimension)
            yield np.concatenate([next(rows) for _ in each] or [np.empty(width, dtype=np.float32)])

    def features(
        self,
        items: Any,
        *,
        batch_size: int = BATCH_SIZE,
        progress: bool = False,
    ) -> Float32[np.ndarray, "n f"]:
        """Computes the features that go into the embedding head, as `embed` computes embeddings.

        Args:
            items: As for `embed`.
            batch_size: How many items go through the network at once.
            progress: Whether to show a progress bar.

        Returns:
            One row of `settings.features` numbers per item, in the order of the items.

        Raises:
            InputError: An item does not fit this encoder.
            DataError: An image cannot be read.
        """
        return self._rows(items, self._features, self.settings.features, batch_size, progress)

    def _rows(
        self,
        items: Any,
        compute: Callable[[Tensor], Tensor],
        width: int,
        batch_size: int,
        progress: bool,
        *,
        elsewhere: Elsewhere | None = None,
    ) -> Float32[np.ndarray, "n w"]:
        check_count("batch_size", batch_size)
        source = _items(items, kind=self.settings.kind)
        rows = np.empty((len(source), width), dtype=np.float32)
        check_flags(progress=progress)
        batches = batches_of(range(len(source)), batch_size)
        # A single batch is the same wherever it is computed, and soonest here.
        if elsewhere is not None and isinstance(source, Items) and len(batches) > 1:
            computed = elsewhere(self, source, batches)
        else:
            computed = self._computed(source, compute, batches)
        todo: Iterable[range] = batches
        if progress:
            todo = require("rich.progress", extra="train").track(todo, "embedding")
        for batch, found in zip(todo, computed, strict=True):
            rows[batch.start : batch.stop] = found
        return rows

    def _computed(
        self, source: Any, compute: Callable[[Tensor], Tensor], batches: Iterable[range]
    ) -> Iterator[Float32[np.ndarray, "b w"]]:
        for positions in batches:
            part: Any = source.subset(positions) if isinstance(source, Items) else Subset(source, positions)
            training = self.training
            self.eval()
            try:
                batch = self.prepare(part, first=positions.start).to(self.device)
                with torch.inference_mode():
                    rows = compute(batch).float().cpu().numpy()
            finally:
                self.train(training)
            self._check_finite(rows, first=positions.start)
            yield rows

    def _check_finite(self, rows: Float32[np.ndarray, "b w"], *, first: int) -> None:
        """Raises an `InputError` for an item whose numbers overflow in a network that is finite itself."""
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all() and all(bool(weight.isfinite().all()) for weight in self.parameters()):
            raise InputError(
                f"item {first + int(np.argmin(finite))} is too far from the training items to have a finite "
                "embedding; check its values"
            )

    def _embedded(self, batch: Shaped[Tensor, "b ..."]) -> Float32[Tensor, "b d"]:
        parts: list[Tensor] = [self(view).float() for view in augmented_views(batch, self.settings.views)]
        if len(parts) == 1:
            return parts[0]
        mean = torch.stack(parts).mean(dim=0)
        return F.normalize(mean, dim=1) if self.settings.normalise else mean


def _network_of(settings: EncoderSettings) -> nn.Module:
    network, features = build_network(settings)
    if features != settings.features:
        raise ValueError(f"the network computes {features} features, and the head takes {settings.features}")
    return network


def build_network(settings: EncoderSettings) -> tuple[nn.Module, int]:
    """Builds the network of an encoder, with random weights from torch's generator.

    Args:
        settings: The encoder's settings; `features` is ignored.

    Returns:
        The network, and the number of features it computes.

    Raises:
        SettingError: The network's name is unknown, or does not suit the kind of items.
    """
    name, first, size = settings.network, settings.shape[0], settings.shape[1:]
    if name == "small_resnet" and settings.small_resnet is not None:
        return small_resnet(first, size=(size[0], size[1]), settings=settings.small_resnet)
    if name == "mlp" and settings.mlp is not None:
        return mlp(first, settings=settings.mlp)
    if name == "sentence" and settings.sentence is not None:
        return SentenceNetwork(settings.sentence), settings.features
    if name == "onnx" and settings.onnx is not None:
        return OnnxNetwork(settings.onnx), settings.onnx.features
    if name == "face_resnet":
        return FaceResNet(), FEATURES
    return timm_network(name, size=(size[0], size[1])), settings.features


def _items(items: Any, *, kind: Kind) -> Any:
    """A sequence of items; of an encoder of images, paths are read."""
    if isinstance(items, Dataset):
        return items.items
    if isinstance(items, Items):
        return items
    row = as_row(items) if kind == "vectors" else None
    if row is not None:
        items = [row]
    elif is_frame(items):
        return frame_items(items, kind=kind)
    if isinstance(items, list | tuple) and items and is_frame(items[0]) and not isinstance(items[0], Mapping):
        items = [single_item(item) for item in items]
    items = without_labels(sequence_of(items, images=kind == "images"))
    if kind != "images" or len(items) == 0:
        return items
    if isinstance(items, list | tuple | np.ndarray | Tensor):
        paths = [Path(item) for item in items if isinstance(item, str | Path)]
        return read_items(paths) if len(paths) == len(items) else items
    return ImageObjects(items, tuple(range(len(items))), ImageCache(decoded_bytes=0))
