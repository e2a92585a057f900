"""Opens the store of a gallery (`open_store`), and checks its binding against what the caller expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Self

from trine.distances import Distance, check_distance
from trine.errors import Argument, GalleryError, SettingError
from trine.gallery.decision import Threshold
from trine.gallery.embedding import EmbeddingEncoder, cluster_threshold_of
from trine.gallery.entries import stored_path
from trine.gallery.lance import SCHEMES as LANCE
from trine.gallery.lance import LanceStore
from trine.gallery.postgres import SCHEMES as POSTGRES
from trine.gallery.postgres import PostgresStore
from trine.gallery.quantization import Dtype, check_dtype
from trine.gallery.sqlite import SqliteStore
from trine.gallery.store import Binding, Store
from trine.model import PACKAGED

STORES: dict[str, type[PostgresStore] | type[LanceStore]] = {
    **dict.fromkeys(POSTGRES, PostgresStore),
    **dict.fromkeys(LANCE, LanceStore),
}
"""The store of each scheme of a URL; a path is that of a `SqliteStore`."""


@dataclass(frozen=True)
class ExpectedBinding:
    """What a gallery is expected to be bound to; `None` accepts anything."""

    dimension: int | None = None
    fingerprint: str | None = None
    distance: Distance | None = None
    dtype: Dtype | None = None

    @classmethod
    def of(
        cls,
        encoder: EmbeddingEncoder | None,
        *,
        dimension: int | None = None,
        fingerprint: str | None = None,
        distance: Distance | None = None,
        dtype: Dtype | None = None,
    ) -> Self:
        """Expects the binding of an encoder, or the one that the arguments describe.

        Raises:
            SettingError: Both are given, the encoder is a folder that was not loaded, the dimension is not a
                whole number of at least 1, or the fingerprint is not a non-empty string.
            InputError: The distance or the dtype is unknown.
        """
        by_hand = cls(dimension, fingerprint, distance, dtype)
        if dtype is not None:
            check_dtype(dtype)
        if isinstance(encoder, str | Path):
            raise SettingError(f"encoder must be loaded: pass trine.load({str(encoder)!r})")
        if encoder is not None:
            if by_hand != cls(dtype=dtype):
                raise SettingError(
                    *(Argument("dimension"), ", ", Argument("fingerprint"), " and ", Argument("distance")),
                    " describe embeddings computed elsewhere; an encoder has its own: omit them",
                )
            return cls(encoder.settings.dimension, encoder.fingerprint, encoder.distance, dtype)
        if dimension is not None and (not isinstance(dimension, Integral) or dimension < 1):
            raise SettingError(f"dimension must be a whole number of at least 1, given {dimension!r}")
        if fingerprint is not None and (not isinstance(fingerprint, str) or not fingerprint):
            raise SettingError(f"fingerprint must be a non-empty string, given {fingerprint!r}")
        if distance is not None:
            check_distance(distance)
        return by_hand

    @classmethod
    def like(cls, bound: Binding, *, dtype: Dtype | None = None) -> Self:
        """Expects the binding of another gallery or of a table, with another dtype if one is given."""
        return cls(bound.dimension, bound.fingerprint, bound.distance, dtype)

    def binding(
        self,
        threshold: Threshold | None,
        encoder: EmbeddingEncoder | None,
        model: str | Path | None,
    ) -> Binding | None:
        """Returns what a new gallery is bound to; `None` if the expectation is incomplete."""
        if self.dimension is None or self.fingerprint is None:
            return None
        calibration = None if encoder is None else encoder.calibration
        return Binding(
            self.dimension,
            self.fingerprint,
            self.distance or "euclidean",
            threshold,
            calibration,
            None if model is None else _stored_model(model),
            self.dtype or "float32",
            cluster_threshold_of(encoder),
        )

    def check(self, store: Store) -> None:
        """Raises a `GalleryError` if a store has another binding."""
        bound, gallery = store.binding, f"the gallery {store.address}"
        if self.fingerprint not in (None, bound.fingerprint):
            ours, given = _short(bound.fingerprint), _short(str(self.fingerprint))
            hint = "open it with its own encoder, or rebuild it for this one"
            raise GalleryError(
                f"{gallery} holds embeddings of the encoder {ours}, given the encoder {given}: {hint}"
            )
        for field, holds in (
            ("dimension", "holds embeddings of dimension"),
            ("distance", "uses the distance"),
            ("dtype", "stores embeddings as"),
        ):
            wanted, actual = getattr(self, field), getattr(bound, field)
            if wanted not in (None, actual):
                raise GalleryError(f"{gallery} {holds} {actual}, given {wanted}: omit ", Argument(field))


def open_store(
    address: str | Path,
    *,
    binding: Binding | None,
    expected: ExpectedBinding | None = None,
    exist_ok: bool = True,
) -> Store:
    """Opens the store at an address, or creates a missing one.

    Args:
        address: A path, a URL, or ":memory:" for a new gallery that is not kept.
        binding: What a new gallery is bound to; `None` creates nothing.
        expected: What the gallery must be bound to.
        exist_ok: Whether the gallery may exist already.

    Raises:
        GalleryError: The address has an unknown scheme, or the store cannot be opened, has
            another binding, or exists already.
    """
    store: SqliteStore | PostgresStore | LanceStore
    if is_url(address):
        store = STORES[scheme_of(address)](str(address), binding=binding)
    else:
        store = SqliteStore(Path(address).expanduser(), binding=binding)
    try:
        if not (exist_ok or store.created):
            raise GalleryError(f"the gallery {store.address} already exists: choose another name")
        if expected is not None:
            expected.check(store)
    except BaseException:
        store.close()
        raise
    return store


def repair_binding(address: str | Path) -> str:
    """Restores what the gallery at an address is bound to; see `Gallery.repair_binding`."""
    if is_url(address):
        return STORES[scheme_of(address)].restore_binding(str(address))
    return SqliteStore.restore_binding(Path(address).expanduser())


def is_url(address: str | Path) -> bool:
    """Returns whether an address is a URL, rather than the path of a file.

    Raises:
        GalleryError: It has an unknown scheme.
    """
    return scheme_of(address) != ""


def scheme_of(address: str | Path) -> str:
    """Returns the scheme of an address; "" for a path.

    Raises:
        GalleryError: It is unknown.
    """
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+)://", str(address))
    if scheme is None:
        return ""
    if scheme[1] not in STORES:
        known = "postgresql://..., lance:///folder or s3://bucket/name"
        raise GalleryError(f"unknown scheme {scheme[1]}://, expected a path, {known}")
    return scheme[1]


def _stored_model(model: str | Path) -> str | None:
    """The name under which a model is found again from any working directory; None if it is not Unicode."""
    return str(model) if str(model).startswith(PACKAGED) else stored_path(model)


def _short(fingerprint: str) -> str:
    return repr(fingerprint) if len(fingerprint) <= 24 else f"{fingerprint[:12]}…"
