"""A gallery as a service holds it: with its encoder, its pictures, and the counts that pages ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from trine.errors import InputError
from trine.gallery import Entry, Gallery
from trine.service.batching import BatchingEncoder, unwrapped
from trine.service.errors import ApiError
from trine.service.faces import Finder, Seen, finder_for
from trine.service.pictures import Decoder, Pictures
from trine.service.plane import Plane
from trine.service.revised import Revised

Kind = Literal["images", "vectors", "texts"]

PAGE = 1_000
"""How many items are read at a time."""

NO_SOURCE = ""
"""The source of an item without a file: a rebuild must not take the name that a caller chose for a path."""


class Content(Protocol):
    """What a request brings to embed: see `trine.service.schemas.Probe`."""

    picture: bytes | None
    text: str | None
    vector: list[float] | None
    row: Mapping[str, Any] | None
    embedding: list[float] | None
    face: int | None


@dataclass(frozen=True, eq=False)
class Asked:
    """One question to a gallery: something for the encoder, or an embedding.

    Attributes:
        content: What the encoder embeds.
        embedding: (D,) the embedding, in place of it.
        seen: The face that it is, in a gallery of faces.
    """

    content: Any = None
    embedding: Any = None
    seen: Seen | None = None


class Hosted:
    """One gallery of a service.

    Args:
        name: Its name in addresses.
        gallery: The open gallery; its encoder is one that batches requests.
        pictures: Its pictures.
        decoder: Decodes pictures.
        finder: What is looked for on pictures; by default what suits the encoder.
    """

    def __init__(
        self,
        name: str,
        gallery: Gallery,
        *,
        pictures: Pictures,
        decoder: Decoder,
        finder: Finder | None = None,
        observe: Callable[[int], object] | None = None,
    ) -> None:
        self.name = name
        self.gallery = gallery
        self.pictures = pictures
        self._decoder = decoder
        if gallery.encoder is not None and not isinstance(gallery.encoder, BatchingEncoder):
            gallery.use_encoder(BatchingEncoder(gallery.encoder, observe=observe))
        self._finder = finder
        self._counts = Revised(gallery, Gallery.identities)
        self._members = Revised(gallery, _members)
        self.plane = Revised(gallery, Plane.of)
        self.changing = threading.RLock()
        """Held while several calls of the gallery must go together, as for what takes a change back."""

    @cached_property
    def finder(self) -> Finder:
        """What is looked for on pictures."""
        return self._finder or finder_for(self.gallery.encoder)

    @property
    def kind(self) -> Kind | None:
        """What the encoder embeds; None if there is none, or it does not say."""
        settings: Any = getattr(unwrapped(self.gallery.encoder), "settings", None)
        kind: Kind | None = getattr(settings, "kind", None)
        return kind

    def identities(self) -> dict[str, int]:
        """The number of items of each identity."""
        return self._counts.get()

    def identities_last(self) -> dict[str, int]:
        """The number of items of each identity as it was known last, whether or not the gallery is there."""
        return self._counts.last() or {}

    def members(self) -> dict[int, list[str]]:
        """The items of each cluster, the largest first."""
        return self._members.get()

    def names_of(self, identity: str) -> list[str]:
        """The items of an identity, in order of their names.

        Raises:
            GalleryError: The identity is not in the gallery.
        """
        names: list[str] = []
        while page := self.gallery.items(identity, after=names[-1] if names else "", limit=PAGE):
            names += [entry.item for entry in page]
            if len(page) < PAGE:
                break
        return names

    def forget_computed(self) -> None:
        """Drops what was computed from the gallery, since names in it may be forgotten."""
        for each in (self._counts, self._members, self.plane):
            each.forget()

    def asked(self, probe: Content) -> list[Asked]:
        """Turns what a request brings into questions: one for each face of a picture, otherwise one.

        Args:
            probe: The content, or the embedding, or the name of an item.

        Raises:
            ApiError: The encoder is missing, or embeds something else.
            InputError: The picture cannot be used.
        """
        if probe.embedding is not None:
            return [Asked(embedding=np.array(probe.embedding))]
        item: str | None = getattr(probe, "item", None)
        if item is not None and not hasattr(probe, "identity"):
            return [Asked(embedding=self.gallery.get(item).embedding)]
        if self.gallery.encoder is None:
            raise ApiError("no_encoder", f"the gallery {self.name} is open without an encoder")
        if probe.picture is not None:
            self._check_kind("images", "a picture")
            return self._of_picture(probe.picture, probe.face)
        if probe.text is not None:
            self._check_kind("texts", "a text")
            return [Asked(content=probe.text)]
        self._check_kind("vectors", "numbers")
        return [Asked(content=np.array(probe.vector) if probe.row is None else dict(probe.row))]

    def one(self, probe: Content) -> Asked:
        """Turns what a request brings into one question: of several faces the largest.

        Raises:
            ApiError: As for `asked`.
        """
        return self.asked(probe)[0]

    def entry(self, new: Any) -> tuple[Entry, str]:
        """Turns an item to enrol into an entry with its embedding, and the part of its picture that it is.

        Args:
            new: See `trine.service.schemas.NewItem`.

        Raises:
            ApiError: As for `asked`; or there are several faces on the picture.
        """
        asked = self.asked(new)
        if len(asked) > 1:
            raise ApiError(
                "invalid_picture",
                f"there are {len(asked)} faces on the picture of {new.item!r}: which of them is it?",
                "pass face: 0 is the largest",
            )
        embedding = asked[0].embedding if asked[0].content is None else self.embed([asked[0].content])[0]
        metadata = dict(new.metadata) if new.text is None else {"text": new.text, **new.metadata}
        part = "" if asked[0].seen is None else asked[0].seen.part
        return Entry(new.identity, new.item, embedding, None, metadata, NO_SOURCE), part

    def embed(self, contents: Sequence[Any]) -> np.ndarray:
        """Embeds contents, together with those of other requests.

        Raises:
            ApiError: There is no encoder.
            InputError: A content does not fit the encoder.
        """
        encoder = self.gallery.encoder
        if encoder is None:
            raise ApiError("no_encoder", f"the gallery {self.name} is open without an encoder")
        rows: np.ndarray = encoder.embed(list(contents))
        return rows

    def encoder_changed(self) -> None:
        """Forgets what was known of the encoder before a rebuild."""
        self.__dict__.pop("finder", None)

    def check_sources(self) -> None:
        """Refuses a rebuild that would take the name of an item for the path of a file.

        Raises:
            ApiError: An item has no file; only the data that holds it could be embedded again.
        """
        for entry in self.gallery.entries():
            if entry.source is None and Path(entry.item).is_file():
                raise ApiError(
                    "conflict",
                    f"it is not known which file the item {entry.item[:80]!r} is: rebuild this gallery with "
                    "trine gallery rebuild --data",
                )

    def has_picture(self, entry: Entry) -> bool:
        """Whether there may be a picture to show of an item."""
        return bool(entry.source) and self.kind in ("images", None)

    def _of_picture(self, content: bytes, face: int | None) -> list[Asked]:
        seen = self.finder.find(self._decoder.decode(content))
        if not self.finder.faces:
            return [Asked(content=seen[0].pixels)]
        if face is None:
            return [Asked(content=each.pixels, seen=each) for each in seen]
        if face >= len(seen):
            raise InputError(f"face {face} is not on the picture: {len(seen)} were found, numbered from 0")
        return [Asked(content=seen[face].pixels, seen=seen[face])]

    def _check_kind(self, given: Kind, what: str) -> None:
        if self.kind not in (None, given):
            raise ApiError(
                "invalid_request",
                f"the encoder of the gallery {self.name} embeds {self.kind}, given {what}",
            )


def _members(gallery: Gallery) -> dict[int, list[str]]:
    """The items of each cluster, the largest first."""
    members: dict[int, list[str]] = {}
    for item, number in sorted(gallery.clusters().items()):
        members.setdefault(number, []).append(item)
    return dict(sorted(members.items(), key=lambda one: (-len(one[1]), one[0])))
