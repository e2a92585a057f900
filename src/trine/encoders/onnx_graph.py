"""An encoder as an ONNX graph: what other programs run without torch and without trine."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trine.data import Items
from trine.display import first_line
from trine.encoders.encoder import Encoder
from trine.encoders.onnx_network import OnnxNetwork, open_session
from trine.encoders.scaling import FARTHEST
from trine.encoders.sentence import PADDING, SentenceNetwork
from trine.encoders.settings import ColumnSettings, TableSettings
from trine.encoders.tabular import raw_rows
from trine.encoders.test_time_augmentation import augmented_views
from trine.encoders.two_tower import Tower
from trine.errors import ModelError, require
from trine.shapes import Float, Float32, Float64, Int, Int64, Shaped

OUTPUT = "embeddings"
"""The name of the output of every graph."""

TOLERANCE = 1e-4
"""How far embeddings of the graph may be from those of torch, as a share of the longest embedding."""

PROBES = 12
"""How many generated items both are compared on."""

Feed = dict[str, Shaped[np.ndarray, "b ..."]]
"""The inputs of a graph by name."""


@dataclass(frozen=True)
class Graph:
    """A graph, and how it was compared with torch.

    Attributes:
        content: The ONNX file; it needs no other file.
        difference: The largest difference of a number from torch's.
        compared: On how many items.
        longest: The length of the longest of their embeddings.
    """

    content: bytes
    difference: float
    compared: int
    longest: float


class ImageGraph(nn.Module):
    """From pixels to embeddings; standardising and the views of each image are included.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Embeds resized images with values in [0, 255]."""
        views = self.encoder.settings.views
        parts: list[Tensor] = [self.encoder(view) for view in augmented_views(pixels, views)]
        if len(parts) == 1:
            return parts[0]
        mean = torch.stack(parts).mean(dim=0)
        return nn.functional.normalize(mean, dim=1) if self.encoder.settings.normalise else mean


class VectorGraph(nn.Module):
    """From vectors, or rows of a table, to embeddings; all preprocessing is included.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        table = encoder.settings.table
        self.scaled: nn.Module = nn.Identity() if table is None else TableScaling(table)

    def forward(self, rows: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """Embeds rows."""
        embeddings: Tensor = self.encoder(self.scaled(rows))
        return embeddings


class TextGraph(nn.Module):
    """From tokens to embeddings.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: Encoder, network: SentenceNetwork) -> None:
        super().__init__()
        self.encoder, self.network = encoder, network

    def forward(
        self, input_ids: Int64[Tensor, "b l"], attention_mask: Int64[Tensor, "b l"]
    ) -> Float[Tensor, "b d"]:
        """Embeds texts of tokens."""
        embeddings: Tensor = self.encoder.head(self.network.pooled(input_ids, attention_mask))
        return nn.functional.normalize(embeddings, dim=1) if self.encoder.settings.normalise else embeddings


class TableScaling(nn.Module):
    """What `prepare_rows` does with a table, as operations of a graph in float64.

    Args:
        table: The preprocessing of each column.
    """

    places: Tensor
    fill: Tensor
    points: Tensor
    levels: Tensor
    middle: Tensor
    spread: Tensor
    marked: Tensor
    coded: Tensor
    codes: Tensor
    order: Tensor

    def __init__(self, table: TableSettings) -> None:
        super().__init__()
        self.scaling = table.scaling
        columns = list(enumerate(graph_columns(table)))
        scaled = [(at, column) for at, column in columns if column.categories is None and column.points]
        marked = [(at, column) for at, column in columns if column.categories is None and column.missing]
        coded = [
            (at, code)
            for at, column in columns
            if column.categories
            for code in range(len(column.categories) + 1)
        ]
        self._whole("places", [at for at, _ in scaled])
        self._real("fill", [column.fill for _, column in scaled])
        if table.scaling == "quantile":
            knots, levels = (
                zip(*(_knots(column.points) for _, column in scaled), strict=True) if scaled else ((), ())
            )
            longest = max(map(len, knots), default=0)
            self._real("points", [[*each, *[np.inf] * (longest - len(each))] for each in knots])
            self._real("levels", [[*each, *[1.0] * (longest - len(each))] for each in levels])
        else:
            self._real("middle", [column.points[0] for _, column in scaled])
            self._real("spread", [column.points[1] for _, column in scaled])
        self._whole("marked", [at for at, _ in marked])
        self._whole("coded", [at for at, _ in coded])
        self._real("codes", [code for _, code in coded])
        # The features in groups, and where each column has its own.
        groups = ([at for at, _ in scaled], [at for at, _ in marked], [at for at, _ in coded])
        held = [(at, group, place) for group, places in enumerate(groups) for place, at in enumerate(places)]
        starts = np.cumsum([0, *map(len, groups)])
        self._whole("order", [int(starts[group]) + place for _, group, place in sorted(held)])

    def forward(self, rows: Float64[Tensor, "b c"]) -> Float32[Tensor, "b f"]:
        """Scales numbers, imputes missing ones, and turns categories into features."""
        values = rows[:, self.places]
        values = torch.where(torch.isnan(values), self.fill, values)
        missing = torch.isnan(rows[:, self.marked]).to(rows.dtype)
        categories = (rows[:, self.coded] == self.codes).to(rows.dtype)
        features = torch.cat([self._scaled(values), missing, categories], dim=1)[:, self.order]
        if self.scaling == "length":
            largest = features.abs().amax(dim=1, keepdim=True)
            features = features / torch.where(largest > 0, largest, 1.0)
        return features.float()

    def _scaled(self, values: Float64[Tensor, "b n"]) -> Float64[Tensor, "b n"]:
        if not values.shape[1]:
            return values
        if self.scaling == "quantile":
            return _normal_scores(self._shares(values).clamp(FARTHEST, 1 - FARTHEST))
        scaled = (values - self.middle) / self.spread
        if self.scaling != "robust":
            return scaled
        # The inverse hyperbolic sine, which onnxruntime has in float32 only.
        size = scaled.abs()
        capped = size.clamp(max=1e8)
        near = torch.log(capped + torch.sqrt(capped * capped + 1))
        return torch.sign(scaled) * (near + torch.log((size / 1e8).clamp(min=1)))

    def _shares(self, values: Float64[Tensor, "b n"]) -> Float64[Tensor, "b n"]:
        """The share of training values below each value; between two quantiles it is interpolated."""
        count, longest = self.points.shape
        above = (values[:, :, None] >= self.points).sum(dim=2)
        known = torch.isfinite(self.points).sum(dim=1)
        right = torch.minimum(above.clamp(min=1), known - 1)
        start = torch.arange(count) * longest + right
        points, levels = self.points.flatten(), self.levels.flatten()
        low, high = points[start - 1], points[start]
        share = levels[start - 1] + (values - low) / (high - low) * (levels[start] - levels[start - 1])
        share = torch.where(values < self.points[:, 0], 0.0, share)
        return torch.where(values > points[torch.arange(count) * longest + known - 1], 1.0, share)

    def _whole(self, name: str, values: Sequence[int]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.int64))

    def _real(self, name: str, values: Sequence[float] | Sequence[Sequence[float]]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float64))


def graph_columns(table: TableSettings) -> tuple[ColumnSettings, ...]:
    """The columns of a table that a graph takes: those with features, or all where they have no names."""
    return tuple(column for column in table.columns if column.features or not table.named)


def encoder_graph(
    encoder: Encoder, items: Sequence[Any] | Items | None = None, *, tolerance: float = TOLERANCE
) -> Graph:
    """Turns an encoder into a graph, and compares the two on generated items, and on given ones.

    Args:
        encoder: The encoder, on the CPU and in evaluation mode.
        items: Items to compare them on as well.
        tolerance: How far its embeddings may be from those of torch, as a share of the longest embedding.

    Returns:
        The graph, for any number of items at a time, and of texts for any number of tokens.

    Raises:
        ModelError: The network cannot be turned into a graph, or the graph computes other embeddings.
        MissingDependencyError: onnxruntime or onnxscript is not installed.
    """
    network = encoder.network
    if isinstance(network, OnnxNetwork):
        raise ModelError(
            "the network of this model is an ONNX file already, which trine runs as it is; use that file"
        )
    if isinstance(network, SentenceNetwork):
        module: nn.Module = TextGraph(encoder, network)
    else:
        module = ImageGraph(encoder) if encoder.settings.kind == "images" else VectorGraph(encoder)
    feeds = [_generated(encoder)]
    if items is not None and len(items):
        feeds.append(feed_of(encoder, items))
    return graph_of(module, feeds, tolerance=tolerance)


def tower_graph(tower: Tower, *, tolerance: float = TOLERANCE) -> Graph:
    """Turns the tower of users, or of items, into a graph that takes their numbers; see `encoder_graph`."""
    return graph_of(_TowerGraph(tower), [{"numbers": np.arange(len(tower.table))}], tolerance=tolerance)


class _TowerGraph(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, numbers: Int64[Tensor, " b"]) -> Float[Tensor, "b d"]:
        embeddings: Tensor = self.tower(numbers)
        return embeddings


def feed_of(encoder: Encoder, items: Sequence[Any] | Items) -> Feed:
    """Turns items into the inputs of the encoder's graph.

    Args:
        encoder: The encoder.
        items: The items.

    Returns:
        The inputs by name.

    Raises:
        InputError: An item does not fit this encoder.
    """
    settings = encoder.settings
    if settings.table is not None:
        return {"rows": raw_rows(items, table=settings.table, columns=graph_columns(settings.table))}
    batch = encoder.prepare(items)
    if settings.kind == "texts":
        return _tokens(batch.numpy())
    return {"pixels" if settings.kind == "images" else "rows": batch.float().numpy()}


def graph_of(module: nn.Module, feeds: Sequence[Feed], *, tolerance: float = TOLERANCE) -> Graph:
    """Turns a module into a graph, and compares the two.

    Args:
        module: The module; its arguments have the names of the inputs.
        feeds: Inputs to compare them on; the first one has at least 3 items.
        tolerance: As for `encoder_graph`.

    Returns:
        The graph.

    Raises:
        ModelError: The module cannot be turned into a graph, or the graph computes other numbers.
        MissingDependencyError: onnxruntime or onnxscript is not installed.
    """
    require("onnxscript", extra="onnx")
    require("onnxruntime", extra="onnx")
    module = module.eval()
    names = list(feeds[0])
    # An example of one item would make a graph for one item.
    example = {name: torch.from_numpy(feeds[0][name][:3]) for name in names}
    axes = {name: _axes(values) for name, values in example.items()}
    try:
        with _silently(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (),
                kwargs=example,
                input_names=names,
                output_names=[OUTPUT],
                dynamic_shapes=axes,
                dynamo=True,
                verbose=False,
                external_data=False,
            )
            assert program is not None
            content = program.model_proto.SerializeToString()
    except Exception as error:  # the exporter raises anything that a network's code raises
        raise ModelError(
            f"the network cannot be turned into an ONNX graph ({first_line(error)}); export another network"
        ) from error
    session = open_session(content, threads=torch.get_num_threads())
    difference, longest, compared = 0.0, 0.0, 0
    for feed in feeds:
        # One item alone as well: a graph that was made for one size of batch would fail.
        for part in (feed, {name: values[:1] for name, values in feed.items()}):
            with torch.no_grad():
                ours = module(**{name: torch.from_numpy(values) for name, values in part.items()}).numpy()
            theirs = run_graph(session, part)
            if theirs.shape != ours.shape or not np.isfinite(theirs).all():
                raise ModelError(
                    f"the ONNX graph computes {theirs.shape} numbers, not all finite or not {ours.shape}; "
                    "nothing was written"
                )
            difference = max(difference, float(np.abs(ours - theirs).max()))
            longest = max(longest, float(np.linalg.norm(ours, axis=1).max()))
        compared += len(next(iter(feed.values())))
    check_parity(difference, longest, tolerance=tolerance)
    return Graph(content, difference, compared, longest)


def check_parity(difference: float, longest: float, *, tolerance: float = TOLERANCE) -> None:
    """Raises a `ModelError` if a graph's embeddings are too far from those of torch.

    Args:
        difference: The largest difference of a number.
        longest: The length of the longest embedding.
        tolerance: The largest share of that length.

    Example:
        >>> check_parity(0.01, 1.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        trine.errors.ModelError: the exported network differs from torch by 0.01, more than 0.0001; ...
    """
    if difference > tolerance * longest:
        raise ModelError(
            f"the exported network differs from torch by {difference:.2g}, more than "
            f"{tolerance * longest:.2g}; nothing was written"
        )


def run_graph(session: Any, feed: Feed) -> Float32[np.ndarray, "b d"]:
    """Computes embeddings with onnxruntime.

    Raises:
        ModelError: onnxruntime cannot run the graph.
    """
    try:
        rows: np.ndarray = session.run([OUTPUT], feed)[0]
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise ModelError(f"onnxruntime cannot run the graph ({first_line(error)})") from error
    return rows


def _axes(values: Tensor) -> dict[int, Any]:
    """The axes of any length: of items, and of tokens."""
    axes: dict[int, Any] = {0: torch.export.Dim.DYNAMIC}
    if values.dtype == torch.int64 and values.ndim == 2:
        axes[1] = torch.export.Dim.DYNAMIC
    return axes


def _tokens(tokens: Int[np.ndarray, "b l"]) -> Feed:
    there = tokens != PADDING
    most = max(1, int(there.sum(axis=1).max(initial=1)))
    return {
        "input_ids": np.where(there, tokens, 0)[:, :most].astype(np.int64),
        "attention_mask": there[:, :most].astype(np.int64),
    }


def _generated(encoder: Encoder) -> Feed:
    """Items of noise that look like training items in their size and their spread."""
    settings, random = encoder.settings, np.random.default_rng(0)
    if isinstance(encoder.network, SentenceNetwork):
        most = settings.shape[0]
        lengths = np.linspace(min(3, most), most, PROBES).astype(int)
        ids = random.integers(0, encoder.network.vocabulary, (PROBES, most))
        return _tokens(np.where(np.arange(most) < lengths[:, None], ids, PADDING))
    if settings.table is not None:
        columns = [
            _generated_column(column, settings.table.scaling, random)
            for column in graph_columns(settings.table)
        ]
        return {"rows": np.stack(columns, axis=1)}
    if settings.kind == "vectors":
        noise = random.normal(size=(PROBES, *settings.shape))
        return {"rows": (encoder.mean.numpy() + encoder.std.numpy() * noise).astype(np.float32)}
    pixels = random.integers(0, 256, (PROBES, *settings.shape))
    grid = np.linspace(0, 255, settings.shape[-1]) * np.linspace(0, 1, settings.shape[-2])[:, None]
    smooth = np.linspace(0, 1, PROBES)[:, None, None, None]
    return {"pixels": np.floor(smooth * pixels + (1 - smooth) * grid).astype(np.float32)}


def _generated_column(
    column: ColumnSettings, scaling: str, random: np.random.Generator
) -> Float64[np.ndarray, " n"]:
    if column.categories is not None:
        return np.floor(random.uniform(0, len(column.categories) + 1, PROBES))
    values: Float64[np.ndarray, " n"]
    if scaling == "quantile" and column.points:
        low, high = column.points[0], column.points[-1]
        values = random.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low), PROBES)
    else:
        middle, spread = column.points or (column.fill, 1.0)
        values = middle + spread * random.normal(size=PROBES)
    values[random.random(PROBES) < 0.1] = np.nan
    return values


def _knots(points: Sequence[float]) -> tuple[list[float], list[float]]:
    """The distinct quantiles, and the share of training values below each; as in `scale`."""
    knots, first, times = np.unique(np.asarray(points), return_index=True, return_counts=True)
    return knots.tolist(), ((first + (times - 1) / 2) / (len(points) - 1)).tolist()


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    total = torch.full_like(x, coefficients[0])
    for each in coefficients[1:]:
        total = total * x + each
    return total


def _normal_scores(shares: Float64[Tensor, "b n"]) -> Float64[Tensor, "b n"]:
    """The quantiles of the normal distribution between 1e-9 and 1 − 1e-9.

    Wichura 1988, "Algorithm AS 241: The Percentage Points of the Normal Distribution", as in Python's
    `statistics.NormalDist.inv_cdf`; a graph has no such operation.
    """
    q = shares - 0.5
    r = 0.180625 - q * q
    middle = q * _polynomial(r, _MIDDLE[0]) / _polynomial(r, _MIDDLE[1])
    tail = torch.sqrt(-torch.log(torch.minimum(shares, 1 - shares))) - 1.6
    outer = _polynomial(tail, _OUTER[0]) / _polynomial(tail, _OUTER[1])
    return torch.where(q.abs() <= 0.425, middle, torch.sign(q) * outer)


_MIDDLE = (
    (
        *(2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4),
        *(1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    ),
    (
        *(5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4),
        *(5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
    ),
)
_OUTER = (
    (
        *(7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1),
        *(1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0),
        *(4.63033784615654529590e0, 1.42343711074968357734e0),
    ),
    (
        *(1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2),
        *(1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0),
        *(2.05319162663775882187e0, 1.0),
    ),
)


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """The exporter tells of its steps in warnings, logs and prints."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
