"""A gallery that is open: by which address and encoder, with which threshold, and until when."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from trine.distances import Distance
from trine.errors import InputError
from trine.gallery import parquet
from trine.gallery.binding import ExpectedBinding, open_store
from trine.gallery.decision import Threshold
from trine.gallery.embedding import Embedder
from trine.gallery.identify import Identifier
from trine.gallery.quantization import Dtype
from trine.gallery.store import Binding, Store
from trine.gallery.verify import EmbeddingEncoder, threshold_of


class Opened:
    """The part of a `Gallery` that opens and closes it; not to be used by itself."""

    def __init__(
        self,
        store: Store,
        *,
        encoder: EmbeddingEncoder | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        """Takes a store that is open; `Gallery.open` opens one by its address."""
        if isinstance(store, str | Path):
            raise InputError(f"a gallery is opened by its address with Gallery.open({str(store)!r}, ...)")
        self._store = store
        self._embedder = Embedder(store, encoder)
        self._identifier = Identifier(store)
        self._threshold = threshold

    @property
    def encoder(self) -> EmbeddingEncoder | None:
        """What embeds the items; None where embeddings are given."""
        return self._embedder.encoder

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: EmbeddingEncoder | None = None,
        dimension: int | None = None,
        fingerprint: str | None = None,
        distance: Distance | None = None,
        dtype: Dtype | None = None,
        threshold: float | None = None,
        model: str | Path | None = None,
        create: bool = True,
    ) -> Self:
        """Opens a gallery, and creates it where it is missing and the arguments say what it is bound to.

        What a gallery is bound to is fixed at its creation: the fingerprint of the encoder, the dimension
        and the distance. Opened with an encoder, or with any of the three by hand, they must agree. The
        encoder's calibration is stored at creation; later, the threshold is the one given here, or else
        the encoder's, or else the stored one.

        Args:
            path: The file, or `postgresql://user:password@host:port/database?gallery=people` for a gallery in
                a database (extra `pgvector`). A folder for which nobody has the right to write is read as it
                stands.
            encoder: What embeds the items; left out, every call takes `embedding=`.
            dimension: The length of an embedding, for embeddings made elsewhere; at least 1.
            fingerprint: What made those embeddings: any text that changes when it does.
            distance: How to compare those embeddings; Euclidean where left out.
            dtype: How a new gallery keeps embeddings: `"float32"`, `"float16"` or `"int8"`, of which the last
                takes a byte a number.
            threshold: The largest distance that is accepted as the same identity.
            model: The folder of the encoder, to be remembered in a new gallery as `gallery.model`.
            create: Whether a missing gallery is created rather than refused.

        Returns:
            The open gallery; a context manager that closes itself.

        Raises:
            GalleryError: The gallery is missing and is not to be created; it is bound to another
                encoder, dimension or distance; or the file is foreign, damaged or locked.
            SettingError: The dimension or the threshold is out of range, the encoder is a folder rather than
                loaded, or both an encoder and what stands in for one are given.
        """
        claim = ExpectedBinding.of(
            encoder, dimension=dimension, fingerprint=fingerprint, distance=distance, dtype=dtype
        )
        given = threshold_of(threshold, encoder.calibration if encoder is not None else None)
        binding = claim.binding(given, encoder, model) if create else None
        store = open_store(path, binding=binding)
        try:
            claim.check(store)
        except BaseException:
            store.close()
            raise
        return cls(store, encoder=encoder, threshold=given or store.binding.threshold)

    @classmethod
    def open_for_table(
        cls, table: str | Path, path: str | Path, *, encoder: EmbeddingEncoder | None = None
    ) -> Self:
        """Opens a gallery to import a table into, and creates it where it is missing, as the table says.

        Args:
            table: A Parquet file that `export_parquet` wrote.
            path: The gallery.
            encoder: As for `open`.

        Returns:
            The open gallery; what is in the table is not imported yet.

        Raises:
            DataError: The table cannot be read, or does not say of which encoder it is.
            GalleryError: The gallery is of another encoder than the table, or cannot be opened.
        """
        bound = parquet.bound_by(Path(table))
        store = open_store(path, binding=bound)
        try:
            ExpectedBinding(bound.dimension, bound.fingerprint, bound.distance).check(store)
        except BaseException:
            store.close()
            raise
        store.close()
        return cls.open(path, encoder=encoder, create=False)

    @property
    def address(self) -> str:
        """Where the gallery is: the path of its file, or its address without the password."""
        return self._store.address

    @property
    def binding(self) -> Binding:
        """What the gallery was bound to at its creation."""
        return self._store.binding

    @property
    def threshold(self) -> Threshold | None:
        """What decides here: the threshold given at opening, the encoder's, or the stored one."""
        return self._threshold

    @property
    def model(self) -> str | None:
        """The folder of the encoder, where the creator of the gallery named it."""
        return self.binding.model

    def close(self) -> None:
        """Lets go of the store; closing twice is no error."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store.address!r})"
