"""A gallery in one SQLite file, searched through an in-memory index."""

from trine.gallery.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
