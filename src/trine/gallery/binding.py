"""Opening a gallery: what the caller says it is bound to, against what it is bound to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Self

from trine.distances import Distance, check_distance
from trine.errors import Argument, GalleryError, SettingError
from trine.gallery.decision import Threshold
from trine.gallery.postgres import SCHEMES, PostgresStore
from trine.gallery.quantization import Dtype, check_dtype
from trine.gallery.sqlite import SqliteStore
from trine.gallery.store import Binding, Store
from trine.gallery.verify import EmbeddingEncoder


@dataclass(frozen=True)
class ExpectedBinding:
    """What whoever opens a gallery says it is bound to; `None` where they say nothing."""

    dimension: int | None = None
    fingerprint: str | None = None
    distance: Distance | None = None
    dtype: Dtype | None = None

    @classmethod
    def of(
        cls,
        encoder: EmbeddingEncoder | None,
        *,
        dimension: int | None,
        fingerprint: str | None,
        distance: Distance | None,
        dtype: Dtype | None = None,
    ) -> Self:
        """Takes the claim of an encoder, or the one made by hand.

        Raises:
            SettingError: Both are given, the encoder is a folder that was not loaded, the dimension is no
                whole number of at least 1, or the fingerprint is no text or empty.
            InputError: The distance or the dtype is unknown.
        """
        by_hand = cls(dimension, fingerprint, distance, dtype)
        if dtype is not None:
            check_dtype(dtype)
        if isinstance(encoder, str | Path):
            raise SettingError(
                f"encoder= takes an encoder that is loaded, given {str(encoder)!r}: load it with "
                f"trine.load({str(encoder)!r})"
            )
        if encoder is not None:
            if by_hand != cls(dtype=dtype):
                raise SettingError(
                    *(Argument("dimension"), ", ", Argument("fingerprint"), " and ", Argument("distance")),
                    " are for embeddings computed elsewhere; an encoder has its own: leave them out",
                )
            return cls(encoder.settings.dimension, encoder.fingerprint, encoder.distance, dtype)
        if dimension is not None and (not isinstance(dimension, Integral) or dimension < 1):
            raise SettingError(
                f"dimension is the length of an embedding, a whole number of at least 1, given {dimension!r}"
            )
        if fingerprint is not None and (not isinstance(fingerprint, str) or not fingerprint):
            raise SettingError(
                f"fingerprint names what made the embeddings: give a text that is not empty, given "
                f"{fingerprint!r}"
            )
        if distance is not None:
            check_distance(distance)
        return by_hand

    def binding(
        self,
        threshold: Threshold | None,
        encoder: EmbeddingEncoder | None,
        model: str | Path | None,
    ) -> Binding | None:
        """Returns what a new gallery is to be bound to; `None` where the claim does not say enough."""
        if self.dimension is None or self.fingerprint is None:
            return None
        calibration = None if encoder is None else encoder.calibration
        return Binding(
            self.dimension,
            self.fingerprint,
            self.distance or "euclidean",
            threshold,
            calibration,
            None if model is None else str(Path(model).absolute()),
            self.dtype or "float32",
        )

    def check(self, store: Store) -> None:
        """Raises a `GalleryError` where the claim and the gallery do not agree."""
        bound, gallery = store.binding, f"the gallery {store.address}"
        if self.fingerprint not in (None, bound.fingerprint):
            raise GalleryError(
                f"{gallery} holds embeddings of the encoder {_short(bound.fingerprint)}, given the encoder "
                f"{_short(str(self.fingerprint))}: open it with the encoder it was made with, rebuild it for "
                f"this one, or enrol into a new gallery"
            )
        if self.dimension not in (None, bound.dimension):
            raise GalleryError(
                f"{gallery} holds embeddings of dimension {bound.dimension}, given dimension "
                f"{self.dimension}: open it with the encoder it was made with"
            )
        if self.distance not in (None, bound.distance):
            raise GalleryError(
                f"{gallery} compares by the distance {bound.distance!r}, given {self.distance!r}: leave ",
                Argument("distance"),
                " out, or enrol into a new gallery",
            )
        if self.dtype not in (None, bound.dtype):
            raise GalleryError(
                f"{gallery} keeps its embeddings as {bound.dtype}, given {self.dtype!r}: leave ",
                Argument("dtype"),
                " out, or copy it into a gallery of that dtype",
            )


def open_store(address: str | Path, *, binding: Binding | None) -> Store:
    """Opens the store an address names, or creates it where it is missing and a binding is given.

    Raises:
        GalleryError: The address is of no kind this trine knows, or the store cannot be opened.
    """
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+)://", str(address))
    if scheme is None:
        return SqliteStore(Path(address).expanduser(), binding=binding)
    if scheme[1] in SCHEMES:
        return PostgresStore(str(address), binding=binding)
    raise GalleryError(
        f"{scheme[1]}:// is no kind of gallery that this trine opens: give the path of a file, or "
        f"postgresql://…"
    )


def _short(fingerprint: str) -> str:
    return repr(fingerprint) if len(fingerprint) <= 24 else f"{fingerprint[:12]}…"
