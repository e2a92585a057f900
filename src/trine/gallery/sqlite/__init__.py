"""A gallery in one SQLite file: the truth on the disk, an index of it in memory."""

from trine.gallery.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
