"""Pictures that callers send, and those that a service shows: decoded within limits, kept only if asked."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trine.data.file_part import Box, box_of, file_of
from trine.data.image_decoding import decode, decode_stream, reason
from trine.errors import InputError, require
from trine.io import atomic_write, is_leftover, real_inside
from trine.shapes import UInt8

LARGEST_SIDE = 512
"""The longest side, in pixels, of a picture that a service shows."""

_CACHE = 32 << 20
_MARGIN = 0.2


class Decoder:
    """Decodes pictures that strangers send; at most a few at once, so that the memory stays bounded.

    Args:
        pixels: The most pixels of a picture.
        at_once: How many are decoded at once.
    """

    def __init__(self, *, pixels: int, at_once: int) -> None:
        self._pixels = pixels
        self._turns = threading.BoundedSemaphore(at_once)

    def decode(self, content: bytes) -> UInt8[np.ndarray, "h w c"]:
        """Decodes a picture.

        Args:
            content: The bytes of the file.

        Returns:
            Height × width × channels, upright.

        Raises:
            InputError: It is no picture, damaged, or too large.
        """
        with self._turns, tempfile.TemporaryFile() as file:
            # The decoder reads files, whose size it checks before anything else.
            file.write(content)
            file.seek(0)
            try:
                return decode_stream(file, max_pixels=self._pixels).pixels
            except Exception as error:
                raise InputError(f"the picture cannot be used: {reason(error)}") from error

    def thumbnail(self, path: Path, side: int, *, box: Box | None = None) -> bytes:
        """Makes a small JPEG of a picture, without what else its file holds.

        Args:
            path: The file.
            side: The longest side, in pixels.
            box: The part to show, with a margin around it: left, top, width and height, in pixels.

        Raises:
            DataError: The file cannot be read as a picture.
        """
        with self._turns:
            pixels = decode(path, max_pixels=self._pixels)
            return jpeg(pixels if box is None else _part(pixels, box), side=side)


def _part(pixels: UInt8[np.ndarray, "h w c"], box: Box) -> UInt8[np.ndarray, "h w c"]:
    left, top, width, height = box
    across, down = round(_MARGIN * width), round(_MARGIN * height)
    rows = slice(max(top - down, 0), max(top + height + down, 0))
    part = pixels[rows, max(left - across, 0) : max(left + width + across, 0)]
    return part if part.size else pixels


def jpeg(pixels: UInt8[np.ndarray, "h w c"], *, side: int, quality: int = 85) -> bytes:
    """Encodes a picture as a JPEG.

    Args:
        pixels: Height × width × channels.
        side: Its longest side afterwards, in pixels; a smaller picture is not enlarged.
        quality: The quality, up to 95.
    """
    image: Any = require("PIL.Image", extra="images")
    picture = image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class Pictures:
    """The pictures of one gallery: those kept by the service, and those whose files the gallery knows.

    A kept picture is a file named by digests of the item's name and of the content, so that no name of a
    caller becomes a path.

    Args:
        folder: Where pictures are kept; None keeps none.
        decoder: Decodes them.
    """

    def __init__(self, folder: Path | None, decoder: Decoder) -> None:
        self._folder = folder
        self._decoder = decoder
        self._cache: OrderedDict[tuple[str, str, int, int], bytes] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def keeps(self) -> bool:
        """Whether pictures are kept."""
        return self._folder is not None

    def keep(self, item: str, content: bytes) -> str | None:
        """Keeps the picture of an item that is about to be enrolled.

        Args:
            item: The item's name.
            content: The bytes of the file.

        Returns:
            The path of the file; None if pictures are not kept.

        Raises:
            OSError: It cannot be written.
        """
        if self._folder is None:
            return None
        path = self._folder / f"{_digest(item.encode())}-{_digest(content)}.picture"
        if not path.exists():
            atomic_write(path, content)
            path.chmod(0o600)
        return str(path.absolute())

    def drop(self, item: str, *, but: str | None = None) -> None:
        """Deletes the kept pictures of an item.

        Args:
            item: The item's name.
            but: The path of one that stays.
        """
        self.drop_all({item: but})

    def drop_all(self, items: Mapping[str, str | None]) -> None:
        """Deletes the kept pictures of several items; the folder is read once.

        Args:
            items: The items' names, each with the path of one that stays.
        """
        for item in items:
            self.forget_thumbnails(item)
        if self._folder is None or not items:
            return
        stays = {_digest(item.encode()): path for item, path in items.items()}
        for path in self._folder.iterdir():
            whose = path.name.partition("-")[0]
            if path.suffix == ".picture" and whose in stays and str(path.absolute()) != stays[whose]:
                path.unlink(missing_ok=True)

    def sweep(self, sources: Iterable[str | None]) -> int:
        """Deletes kept pictures that no item has, as after a kill or a change of the gallery elsewhere.

        Args:
            sources: The sources of all items.

        Returns:
            How many were deleted.
        """
        if self._folder is None:
            return 0
        # Listed first: a picture that is kept meanwhile is not in the list.
        found = [path for path in self._folder.iterdir() if path.suffix == ".picture" or is_leftover(path)]
        used = set(map(file_of, sources)) if found else set()
        orphans = [path for path in found if str(path.absolute()) not in used]
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)

    def thumbnail(
        self, item: str, source: str | None, side: int, *, origin: str | None = None
    ) -> bytes | None:
        """Returns a small JPEG of an item's picture; None if there is no file of it.

        A link is followed within the folder that the item came from: who may put a link there may not see
        all that the service can read.

        Args:
            item: The item's name.
            source: The file that the gallery knows for it.
            side: The longest side, in pixels.
            origin: The folder that the item came from; by default that of the file.

        Raises:
            DataError: The file is not a picture.
        """
        file = file_of(source)
        path = None
        if file:
            folder = origin if origin is not None and Path(file).is_relative_to(origin) else Path(file).parent
            path = real_inside(file, folder)
        try:
            if path is None or not path.is_file():
                return None
            stamp = path.stat().st_mtime_ns
        except OSError:
            return None
        key = (item, str(source), stamp, side)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        made = self._decoder.thumbnail(path, side, box=box_of(str(source)))
        with self._lock:
            if key not in self._cache:
                self._cache[key] = made
                self._cached += len(made)
            while self._cached > _CACHE:
                self._cached -= len(self._cache.popitem(last=False)[1])
        return made

    def forget_thumbnails(self, item: str | None = None) -> None:
        """Drops the thumbnails of an item, or all, from memory."""
        with self._lock:
            for key in [key for key in self._cache if item is None or key[0] == item]:
                self._cached -= len(self._cache.pop(key))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
