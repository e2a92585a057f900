"""A gallery in a PostgreSQL database, searched by pgvector."""

from trine.gallery.postgres.address import SCHEMES, Address
from trine.gallery.postgres.store import PostgresStore

__all__ = ["SCHEMES", "Address", "PostgresStore"]
