"""What is done to a gallery as a whole: exported, imported, copied, rebuilt, counted, mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trine.data import Dataset
from trine.errors import GalleryError
from trine.gallery import parquet
from trine.gallery.binding import ExpectedBinding
from trine.gallery.contents import CHUNK, Contents, check_chunk
from trine.gallery.embedding import Embedder
from trine.gallery.entries import Enrolment
from trine.gallery.quantization import Dtype
from trine.gallery.rebuild import RebuildResult, rebuild
from trine.gallery.stats import Stats
from trine.gallery.verify import EmbeddingEncoder, threshold_of


class Upkeep(Contents):
    """The part of a `Gallery` that keeps all of it in order; not to be used by itself."""

    def export_parquet(self, path: str | Path, *, chunk: int = CHUNK) -> int:
        """Writes every item as a Parquet table: item, identity, embedding, metadata (JSON), source.

        The table says which encoder its embeddings are of. It is whole or not there at all.

        Returns:
            How many items it has.

        Raises:
            DataError: The file cannot be written.
            MissingDependencyError: pyarrow is not installed.
        """
        check_chunk(chunk)
        return parquet.export_parquet(self._store, Path(path), chunk=chunk)

    def import_parquet(
        self, path: str | Path, *, chunk: int = CHUNK, progress: Callable[[int], None] | None = None
    ) -> Enrolment:
        """Enrols the items of a table that `export_parquet` wrote; done again it changes nothing.

        Returns:
            How many were new, replaced and there already.

        Raises:
            DataError: The file cannot be read, or lacks a column or the name of its encoder.
            GalleryError: The table is of another encoder.
            MissingDependencyError: pyarrow is not installed.
        """
        check_chunk(chunk)
        return parquet.import_parquet(
            self._store, Path(path), chunk=chunk, progress=progress, embedder=self._embedder
        )

    def copy_to(
        self,
        address: str | Path,
        *,
        dtype: Dtype | None = None,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> Enrolment:
        """Copies every item, and the clusters, into another gallery, of any store.

        Nothing is deleted there. A copy that was interrupted is finished by starting it again.

        Args:
            address: The other gallery; made where it is missing.
            dtype: How a new gallery keeps embeddings; as this one where left out.
            chunk: How many items are written together, at least 1.
            progress: Called with the number of items so far, whenever a chunk is on the disk.

        Returns:
            How many were new, replaced and there already.

        Raises:
            GalleryError: The other gallery is of another encoder or form.
        """
        check_chunk(chunk)
        return parquet.copy_gallery(self._store, address, dtype=dtype, chunk=chunk, progress=progress)

    def rebuild(
        self,
        encoder: EmbeddingEncoder,
        *,
        data: Dataset | None = None,
        drop_missing: bool = False,
        model: str | Path | None = None,
        chunk: int = CHUNK,
        progress: Callable[[int], None] | None = None,
    ) -> RebuildResult:
        """Embeds every item anew with another encoder, and then uses the new embeddings at once.

        An item is read from `data`, where that has its name, or from the file it was enrolled from. The new
        embeddings grow beside the old ones, which answer until all are there: whatever happens, the gallery
        is wholly of the one encoder or wholly of the other. A rebuild that was interrupted goes on where it
        stopped. Whoever else has the gallery open is told to open it again. Clusters are dissolved.

        Args:
            encoder: The new encoder, which this object uses from then on, with its threshold.
            data: The items, by the names they were enrolled under.
            drop_missing: Whether items that cannot be read from anywhere are deleted.
            model: The folder of the encoder, to be remembered as `gallery.model`.
            chunk: How many items are embedded together, at least 1.
            progress: Called with the number of items so far.

        Returns:
            How many items were embedded, and which were deleted.

        Raises:
            GalleryError: Items cannot be read from anywhere; the message names the first.
            DataError: A picture is damaged.
        """
        check_chunk(chunk)
        claim = ExpectedBinding.of(
            encoder, dimension=None, fingerprint=None, distance=None, dtype=self.binding.dtype
        )
        limit = threshold_of(None, encoder.calibration)
        binding = claim.binding(limit, encoder, model)
        if binding is None:
            raise GalleryError("the encoder has no fingerprint, so nothing can be bound to it: load it anew")
        done = rebuild(
            self._store,
            encoder,
            binding,
            data=data,
            drop_missing=drop_missing,
            chunk=chunk,
            progress=progress,
        )
        self._embedder = Embedder(self._store, encoder)
        self._threshold = limit
        return done

    def stats(self) -> Stats:
        """Counts what is here; see `trine.gallery.Stats`."""
        return Stats.of(self._store)

    def check(self) -> list[str]:
        """Reads everything and returns a sentence for each thing that is wrong; none where all is sound."""
        return self._store.check()

    def repair(self) -> list[str]:
        """Mends what `check` finds and returns a sentence for each thing done.

        An item whose embedding or metadata cannot be read is deleted.

        Raises:
            GalleryError: The file itself is damaged: restore it from a backup.
        """
        return self._store.repair()
