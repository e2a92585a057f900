"""The store for teams that run PostgreSQL: a gallery in a database, searched by pgvector."""

from trine.gallery.postgres.address import SCHEMES, Address
from trine.gallery.postgres.store import PostgresStore

__all__ = ["SCHEMES", "Address", "PostgresStore"]
