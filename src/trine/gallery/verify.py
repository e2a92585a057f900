"""Are these two the same? An answer from an encoder alone, without any gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trine.calibration import Calibration
from trine.distances import Distance
from trine.errors import Argument, CalibrationError
from trine.gallery.decision import Threshold, Verification
from trine.gallery.entries import as_rows
from trine.gallery.index import scores_between
from trine.shapes import Float32


@runtime_checkable
class EmbeddingSettings(Protocol):
    """What a gallery needs of an encoder's settings."""

    @property
    def dimension(self) -> int:
        """The length of an embedding."""


@runtime_checkable
class EmbeddingEncoder(Protocol):
    """What a gallery needs of an encoder (`trine.encoders.Encoder` is one)."""

    @property
    def fingerprint(self) -> str:
        """Which encoder this is: changes with its weights and its preprocessing."""

    @property
    def distance(self) -> Distance:
        """How its embeddings are compared."""

    @property
    def settings(self) -> EmbeddingSettings:
        """What it knows about itself."""

    @property
    def calibration(self) -> Calibration | None:
        """The threshold it was calibrated to, where there is one."""

    def embed(self, items: Any) -> Float32[np.ndarray, "n d"]:
        """Returns one row per item; items are pictures, vectors, or paths."""


def verify(encoder: EmbeddingEncoder, a: Any, b: Any, *, threshold: float | None = None) -> Verification:
    """Says whether two items are of the same identity.

    Args:
        encoder: What embeds them.
        a: An item the encoder takes: a picture, a vector, a path.
        b: Another.
        threshold: The largest distance that is accepted; the encoder's own where left out.

    Returns:
        The decision, with its score, threshold and false-accept rate.

    Raises:
        CalibrationError: The encoder has no threshold and none is given.
        GalleryError: An embedding is not finite.

    Example:
        >>> from types import SimpleNamespace
        >>> class Identity:  # any encoder of trine
        ...     fingerprint, distance, calibration = "identity", "euclidean", None
        ...     settings = SimpleNamespace(dimension=2)
        ...     embed = staticmethod(lambda items: np.array(items, dtype=np.float32))
        >>> print(verify(Identity(), [0.0, 1.0], [0.0, 3.0], threshold=0.5))
        different (distance 2.00, threshold 0.50)
    """
    limit = threshold_of(threshold, encoder.calibration)
    if limit is None:
        raise CalibrationError(
            "the encoder has no threshold: calibrate it with `trine evaluate --calibrate`, or pass ",
            Argument("threshold"),
        )
    names = [str(item) if isinstance(item, str | Path) else "an item" for item in (a, b)]
    rows = as_rows(encoder.embed([a, b]), dimension=encoder.settings.dimension, names=names)
    score = scores_between(rows[:1], rows[1:], distance=encoder.distance).item()
    return Verification(**limit.judged(score))


def threshold_of(given: float | None, calibration: Calibration | None) -> Threshold | None:
    """Returns the threshold that was given, or else the calibrated one, or `None`."""
    if given is not None:
        return Threshold(float(given))
    return None if calibration is None else Threshold.of(calibration)
