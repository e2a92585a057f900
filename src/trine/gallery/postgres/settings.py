"""Settings of a gallery on a PostgreSQL server, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UPGRADES: dict[int, str] = {}
"""Scripts that upgrade each older version of the tables to the next."""


@dataclass(frozen=True)
class PostgresSettings:
    """Timeouts, when to build an index, and the required versions.

    Attributes:
        wait: Seconds to wait for a lock that another process holds.
        reconnect: Seconds to wait for a connection, for example while the server restarts.
        connections: The number of connections of a process to one gallery, so of threads served at once.
        large: Up to this many items are scanned; galleries with more have an index.
        price: The number of items scanned in the time that the index takes per candidate.
        index: The definition of the index.
        version: The version of the tables.
        upgrades: Scripts that upgrade each older version of the tables to the next.
        pgvector: The first version of pgvector whose index keeps its recall under filters.
        extension: The name of pgvector on the server.
        commit: The statements that end a write transaction.
    """

    wait: float = 30.0
    reconnect: float = 10.0
    connections: int = 8
    large: int = 50_000
    price: int = 150
    index: str = "USING hnsw ({expression} {kind}_l2_ops) WITH (m = 16, ef_construction = 64)"
    version: int = 1
    upgrades: Mapping[int, str] = field(default_factory=lambda: UPGRADES)
    pgvector: tuple[int, int] = (0, 8)
    extension: str = "vector"
    commit: str = "UPDATE state SET changed = changed + 1; COMMIT"
