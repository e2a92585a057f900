"""What may be set about a gallery on a PostgreSQL server, with what holds where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UPGRADES: dict[int, str] = {}
"""From each older version of the tables to the next."""


@dataclass(frozen=True)
class PostgresSettings:
    """How long to wait, when there is an index, and which tables and server are expected.

    Attributes:
        wait: Seconds that a call waits for a lock that another process holds.
        reconnect: Seconds that a call waits for a connection, while a server starts again for one.
        connections: How many connections a process keeps to one gallery: as many threads are served at once.
        large: Up to so many items are measured one by one; from there on there is an index.
        price: How many items are measured in a row in the time that the index takes for one candidate.
        index: The definition of the index.
        version: The version of the tables.
        upgrades: From each older version of the tables to the next.
        pgvector: The first version of pgvector whose index keeps its recall under filters.
        extension: The name of pgvector on the server.
        commit: What ends a transaction that writes.
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
