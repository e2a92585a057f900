"""One service: its galleries, its keys, its log, its counters and its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from typing import Self

from trine.errors import GalleryError, SettingError
from trine.gallery import Gallery
from trine.gallery.errors import UnknownNameError
from trine.service.audit_log import AuditLog
from trine.service.hosted import Hosted
from trine.service.keys import Keys
from trine.service.metrics import Metrics
from trine.service.pictures import Decoder, Pictures
from trine.service.settings import ServiceSettings
from trine.service.state import State

PICTURES = "pictures"


class Service:
    """The galleries that are served together, and what the service itself keeps.

    Args:
        galleries: The open galleries by name, each with its encoder if it has one; closed by `close`.
        settings: How the service is reached, and what it keeps.

    Attributes:
        forgetting: Called with a gallery, an identity, and that and the names of its items when they are
            forgotten.
        renaming: Called with a gallery, the name that an identity had, and the one it has now.

    Raises:
        SettingError: There is no gallery, or a name cannot be part of an address; or it can be reached from
            elsewhere without keys.
        InputError: The service's file cannot be opened.
    """

    def __init__(self, galleries: Mapping[str, Gallery], settings: ServiceSettings) -> None:
        if not galleries:
            raise SettingError("a service needs at least one gallery")
        self.settings = settings
        self.limits = settings.limits
        with ExitStack() as stack:
            self.state = State(settings.state)
            stack.callback(self.state.close)
            self.state.take()
            self.keys = Keys(self.state)
            settings.check_reach(keys=len(self.keys))
            self.log = AuditLog(self.state)
            self.metrics = Metrics()
            self.decoder = Decoder(pixels=self.limits.pixels, at_once=self.limits.decoding)
            self.forgetting: list[Callable[[str, str, set[str]], object]] = []
            self.renaming: list[Callable[[str, str, str], object]] = []
            self.galleries = {name: self._host(name, gallery) for name, gallery in galleries.items()}
            stack.pop_all()

    @property
    def needs_keys(self) -> bool:
        """Whether a request needs a key: there is or was one, or others can reach the service."""
        return not self.settings.is_local or self.keys.are_needed

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of the galleries with their names, for messages."""
        return {hosted.gallery.address: name for name, hosted in self.galleries.items()}

    def forget(self, hosted: Hosted, identity: str) -> int:
        """Deletes an identity, its pictures and its names in everything that the service keeps.

        Returns:
            How many items were deleted, what is kept with the model included.

        Raises:
            GalleryError: As for `Gallery.forget`.
        """
        with hosted.changing:
            items: list[str] = []
            with suppress(UnknownNameError):  # an identity without items may still have left traces
                items = hosted.names_of(identity)
            # The gallery comes last: after a crash it still knows which names to take out of the rest, and
            # pictures of no item are swept away at the next start.
            self.log.forget(hosted.name, {identity, *items})
            self.drop_judgements(hosted.name, items)
            for listener in self.forgetting:
                listener(hosted.name, identity, {identity, *items})
            self.state.wipe()
            deleted = hosted.gallery.forget(identity)
            hosted.pictures.drop_all(dict.fromkeys(items))
            hosted.pictures.sweep(entry.source for entry in hosted.gallery.entries())
            hosted.pictures.forget_thumbnails()
            hosted.forget_computed()
        return deleted

    def renamed(self, gallery: str, identity: str, to: str) -> None:
        """Tells those who hold names of a gallery that an identity has another one now."""
        for listener in self.renaming:
            listener(gallery, identity, to)

    def drop_judgements(self, gallery: str, items: Iterable[str]) -> None:
        """Deletes what was judged about items."""
        with self.state.transaction():  # one wait for the disk, not one for each item
            for item in items:
                self.state.changed(
                    "DELETE FROM judgements WHERE gallery = ? AND (first = ? OR second = ?)",
                    (gallery, item, item),
                )

    def close(self) -> None:
        """Closes the galleries and the service's file; safe to call twice."""
        for hosted in self.galleries.values():
            hosted.gallery.close()
        self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _host(self, name: str, gallery: Gallery) -> Hosted:
        if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name[0] == ".":
            raise SettingError(
                f"a gallery is served under a name of letters, digits, '-', '_' and '.', given {name[:80]!r}"
            )
        folder = self.settings.state / PICTURES / name
        # Kept pictures are shown, and deleted, whether or not further ones are kept.
        kept = Pictures(folder if self.settings.keep_pictures or folder.is_dir() else None, self.decoder)
        batches = self.metrics.batches.labels(name)
        hosted = Hosted(name, gallery, pictures=kept, decoder=self.decoder, observe=batches.observe)
        if kept.keeps:
            kept.sweep(entry.source for entry in gallery.entries())
        return hosted

    def count(self) -> None:
        """Sets the counters of the galleries; those of one that is away stay as they were."""
        for name, hosted in self.galleries.items():
            try:
                counts = hosted.identities()
            except GalleryError:
                continue
            self.metrics.items.labels(name).set(sum(counts.values()))
            self.metrics.identities.labels(name).set(len(counts))
