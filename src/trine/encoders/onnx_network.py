"""A network in an ONNX file, run by onnxruntime: another library's encoder in the place of one of trine's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trine.display import first_line, shortened
from trine.encoders.onnx_file import check_alone
from trine.encoders.settings import Layout, OnnxRecipe, OnnxSettings
from trine.errors import ModelError, SettingError, require
from trine.shapes import Float, Shaped

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
"""The types of input that a network of images may have."""

CHANNELS = (1, 3)

HOW = (
    "set encoder.onnx.mean and encoder.onnx.std (as ArcFace: 127.5 and 127.5; networks of ImageNet: "
    "encoder.onnx.white 1, [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225]; pixels as they are: 0 and 1)"
)


class OnnxNetwork(nn.Module):
    """A network whose ONNX file is a buffer, so that it is saved with the model and is in its fingerprint.

    It has no weights that torch could train.

    Args:
        settings: How it is run.

    Attributes:
        graph: The bytes of the file.
    """

    graph: Tensor

    def __init__(self, settings: OnnxSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("graph", torch.zeros(settings.bytes, dtype=torch.uint8))
        self._running: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes open the network again."""
        return {**self.__dict__, "_running": None}

    def check(self) -> None:
        """Raises a `ValueError` if the file needs other files; nothing of it is run."""
        check_alone(self.graph.cpu().numpy().tobytes())

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """Computes the features of standardised images, red channel first.

        Args:
            images: The images.

        Returns:
            One row each.

        Raises:
            ModelError: The network cannot be run, or computes something else than its settings say.
        """
        settings = self.settings
        if images.device.type == "meta" or not len(images):
            return images.new_empty((len(images), settings.features), dtype=torch.float32)
        images = images.flip(1) if settings.order == "bgr" else images
        images = images.permute(0, 2, 3, 1) if settings.layout == "nhwc" else images
        pixels = np.ascontiguousarray(images.detach().cpu().numpy())
        session, size = self._session(), settings.batch or len(pixels)
        parts = []
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size]
            # The last batch of a fixed size is filled with copies.
            filled = part[np.minimum(np.arange(size), len(part) - 1)] if len(part) < size else part
            (rows,) = run(session, filled, [settings.output])
            if rows.size != len(filled) * settings.features or len(rows) != len(filled):
                raise ModelError(
                    f"the ONNX network computed {_words(rows.shape)} of {len(filled)} images, and its "
                    f"settings say {settings.features:,} numbers of each; copy the model again"
                )
            parts.append(rows.reshape(len(filled), -1)[: len(part)].astype(np.float32))
        return torch.from_numpy(np.concatenate(parts)).to(images.device)

    def opened(self, session: Any) -> None:
        """Uses a session that was opened with the same file."""
        self._running = torch.get_num_threads(), session

    def _session(self) -> Any:
        """The opened network, with as many threads as torch has now."""
        threads = torch.get_num_threads()
        if self._running is None or self._running[0] != threads:
            self._running = threads, open_session(self.graph.cpu().numpy().tobytes(), threads=threads)
        return self._running[1]


def open_session(content: bytes, *, threads: int) -> Any:
    """Opens an ONNX file with onnxruntime, on the CPU.

    Args:
        content: The file.
        threads: How many threads it may use.

    Returns:
        onnxruntime's session.

    Raises:
        ModelError: It is no ONNX file, needs other files, or cannot be run.
        MissingDependencyError: onnxruntime is not installed.
    """
    onnxruntime = require("onnxruntime", extra="onnx")
    try:
        check_alone(content)
    except ValueError as error:
        raise ModelError(f"the ONNX network cannot be used: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # Else a file that begins so would be read as onnxruntime's own format, which was not checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise ModelError(f"the ONNX network cannot be opened ({first_line(error)})") from error


def run(
    session: Any, pixels: Shaped[np.ndarray, "b ..."], outputs: Sequence[str]
) -> list[Shaped[np.ndarray, "b ..."]]:
    """Runs a network; a `ModelError` where it fails."""
    (entry,) = session.get_inputs()
    try:
        found: list[np.ndarray] = session.run(
            list(outputs), {entry.name: pixels.astype(TYPES.get(entry.type, np.float32))}
        )
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise ModelError(f"the ONNX network cannot be run ({first_line(error)})") from error
    return found


def onnx_network(
    content: bytes, *, name: str, recipe: OnnxRecipe, image_size: int | tuple[int, int] | None
) -> tuple[OnnxNetwork, tuple[int, int, int]]:
    """Builds the network of an ONNX file; what its graph does not say comes from the recipe.

    Args:
        content: The file.
        name: Its name in errors.
        recipe: How it takes images, and which of its outputs are the features.
        image_size: Height and width of the images, or one number for both, where the graph leaves them open.

    Returns:
        The network; and channels, height and width of an image.

    Raises:
        SettingError: The recipe contradicts the graph, or leaves open what the graph leaves open.
        ModelError: The file cannot be run, does not take one image, or computes no vector of an image.
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        session = open_session(content, threads=torch.get_num_threads())
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    entry = _entry(session, name)
    layout, channels = _layout(entry.shape, recipe.layout, name)
    height, width = _size(entry.shape, layout, image_size, name)
    shape = (channels, height, width)
    batch = entry.shape[0] if isinstance(entry.shape[0], int) and entry.shape[0] > 0 else 0
    rows = max(batch, 1)
    probes = _probes(2, shape, layout)
    outputs = [output.name for output in session.get_outputs()]
    try:
        found = run(session, probes[[0] * rows], outputs)
    except ModelError as error:
        raise ModelError(f"{name}: {error}; check encoder.image_size and encoder.onnx.layout") from error
    output, features = _output(dict(zip(outputs, found, strict=True)), rows, recipe.output, name)
    network = OnnxNetwork(
        OnnxSettings(
            bytes=len(content),
            features=features,
            output=output,
            layout=layout,
            order=recipe.order,
            batch=batch or _batch(session, probes, output, features),
        )
    )
    network.opened(session)
    network.graph.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    again = run(session, probes[[0] * rows], [output])[0]
    if not np.allclose(found[outputs.index(output)], again, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ModelError(
            f"{name} computes other numbers when it sees the same image again; export it in evaluation mode, "
            "without dropout"
        )
    return network, shape


def _entry(session: Any, name: str) -> Any:
    """The input, if there is one and it takes images."""
    entries = session.get_inputs()
    described = ", ".join(
        f"{shortened(entry.name, most=40)} {entry.type} {_words(entry.shape)}" for entry in entries
    )
    if len(entries) != 1 or len(entries[0].shape) != 4 or entries[0].type not in TYPES:
        raise ModelError(
            f"{name} takes {described or 'no input'}, expected one input of images: {', '.join(TYPES)} of "
            "four axes, (batch, 3, height, width) or (batch, height, width, 3)"
        )
    return entries[0]


def _layout(shape: Sequence[Any], asked: Layout | None, name: str) -> tuple[Layout, int]:
    """Where the channels are, and how many."""
    places: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
    fitting: list[Layout] = [layout for layout, axis in places.items() if shape[axis] in CHANNELS]
    open_axes = [layout for layout, axis in places.items() if not isinstance(shape[axis], int)]
    if asked is None and len(fitting) == 1:
        return fitting[0], int(shape[places[fitting[0]]])
    if asked is not None and (asked in fitting or asked in open_axes):
        return asked, int(shape[places[asked]]) if asked in fitting else 3
    if asked is not None or not (fitting or open_axes):
        raise SettingError(
            f"{name} takes images of shape {_words(shape)}, which has no 1 or 3 channels"
            + (f" where encoder.onnx.layout {asked} has them; leave it out" if asked else "")
        )
    raise SettingError(
        f"{name} takes images of shape {_words(shape)}, which does not say where the channels are; set "
        "encoder.onnx.layout to nchw or nhwc"
    )


def _size(
    shape: Sequence[Any], layout: Layout, asked: int | tuple[int, int] | None, name: str
) -> tuple[int, int]:
    sides = shape[2:4] if layout == "nchw" else shape[1:3]
    wanted = asked if isinstance(asked, tuple) else (asked, asked)
    for side, own in zip(wanted, sides, strict=True):
        if side is None and not isinstance(own, int):
            raise SettingError(
                f"{name} takes images of any size {_words(shape)}: set encoder.image_size to the one that it "
                "was trained with, such as 112 or [256, 128] (height, width)"
            )
        if side is not None and isinstance(own, int) and side != own:
            raise SettingError(
                f"encoder.image_size is {asked}, but {name} takes images of shape {_words(shape)}; leave it "
                "out"
            )
    height, width = (own if isinstance(own, int) else side for side, own in zip(wanted, sides, strict=True))
    assert height is not None
    assert width is not None
    return height, width


def _probes(count: int, shape: tuple[int, int, int], layout: Layout) -> np.ndarray:
    """Different images of noise, standardised."""
    noise = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    return noise.transpose(0, 2, 3, 1).copy() if layout == "nhwc" else noise


def _output(found: dict[str, np.ndarray], rows: int, asked: str | None, name: str) -> tuple[str, int]:
    """The output that is a vector of each image, and its length."""
    described = ", ".join(f"{shortened(key, most=40)} {_words(value.shape)}" for key, value in found.items())
    vectors = {
        key: value.size // rows
        for key, value in found.items()
        if value.dtype.kind == "f"
        and value.ndim >= 2
        and len(value) == rows
        and value.size == rows * max(value.shape[1:])
    }
    if asked is not None and asked not in found:
        raise SettingError(
            f"encoder.onnx.output is {asked!r}, but {name} computes {described}; name one of these"
        )
    if asked is None and len(vectors) > 1:
        raise SettingError(
            f"{name} computes {described} of {rows} {'image' if rows == 1 else 'images'}: set "
            "encoder.onnx.output to the one with the features"
        )
    chosen = next(iter(vectors), None) if asked is None else asked
    if chosen not in vectors:
        raise ModelError(
            f"{name} computes {described} of {rows} {'image' if rows == 1 else 'images'}, expected a vector "
            "of each; export the network without what follows its embedding"
        )
    return chosen, vectors[chosen]


def _batch(session: Any, probes: np.ndarray, output: str, features: int) -> int:
    """1 if the network cannot take several images at once, or mixes them; 0 if it takes any number."""
    try:
        (both,) = run(session, probes, [output])
    except ModelError:
        return 1
    if both.size != len(probes) * features:
        return 1
    alone = np.concatenate(
        [run(session, probes[at : at + 1], [output])[0].reshape(1, -1) for at in range(len(probes))]
    )
    same = np.allclose(both.reshape(len(probes), -1), alone, rtol=1e-3, atol=1e-4, equal_nan=True)
    return 0 if same else 1


def _words(shape: Sequence[Any]) -> str:
    return f"({', '.join(shortened(str(side), most=20) for side in shape)})"
