"""How records are written into the tables on a server, and read from their rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trine.errors import require
from trine.gallery.entries import Enrolment, Record, metadata_text
from trine.gallery.errors import unreadable
from trine.gallery.postgres.database import Session
from trine.gallery.postgres.search import numbers
from trine.gallery.quantization import pack, unpack
from trine.gallery.sql_store import counted
from trine.gallery.store import Binding


def vectors(records: Sequence[Record], bound: Binding) -> list[Any]:
    """Returns the embeddings of records as pgvector keeps them."""
    pgvector = require("pgvector", extra="pgvector")
    rows = np.stack([record.embedding for record in records])
    if bound.dtype != "float32":
        packed = pack(rows, dtype=bound.dtype, names=[record.item for record in records])
        rows = unpack(packed, dtype=bound.dtype, dimension=bound.dimension)
    vector = pgvector.HalfVector if bound.dtype == "float16" else pgvector.Vector
    return [vector(row) for row in rows]


def put(
    session: Session,
    latest: Mapping[str, Record],
    embeddings: Sequence[Any],
    drop_empty: Callable[[Session, set[int]], None],
) -> Enrolment:
    """Writes records by the names of their items, which are all different."""
    jsonb = require("psycopg.types.json", extra="pgvector").Jsonb
    before = dict(
        session.run("SELECT item, identity FROM items WHERE item = ANY(%s)", (list(latest),)).fetchall()
    )
    ids = identities(session, sorted({record.identity for record in latest.values()}))
    rows = [
        (r.item, ids[r.identity], vector, jsonb(r.metadata), r.source, session.stamp)
        for r, vector in zip(latest.values(), embeddings, strict=True)
    ]
    fresh = [row for row in rows if row[0] not in before]
    if fresh:
        columns = "item, identity, embedding, metadata, source, written"
        with (
            session.connection.cursor() as cursor,
            cursor.copy(f"COPY items ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy,
        ):
            kind = type(embeddings[0]).__name__.lower().replace("halfvector", "halfvec")
            copy.set_types(["text", "int8", kind, "jsonb", "text", "int8"])
            for row in fresh:
                copy.write_row(row)
        session.changed += len(fresh)
    # Text, since jsonb takes 1 and 1.0 for equal.
    changed = session.many(
        "UPDATE items SET identity = given.identity, embedding = given.embedding,"
        " metadata = given.metadata, source = given.source, written = given.written,"
        " cluster = CASE WHEN items.embedding = given.embedding THEN cluster END"
        " FROM (SELECT %s::text, %s::bigint, %s, %s::jsonb, %s::text, %s::bigint)"
        " AS given (item, identity, embedding, metadata, source, written)"
        " WHERE items.item = given.item AND (items.identity <> given.identity"
        " OR items.embedding <> given.embedding OR items.metadata::text <> given.metadata::text"
        " OR items.source IS DISTINCT FROM given.source)",
        [row for row in rows if row[0] in before],
    )
    drop_empty(session, set(before.values()) - set(ids.values()))
    return counted(latest, before, len(fresh) + changed)


def identities(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Returns the ids of identities by their names; those that are missing are made."""
    query = "SELECT name, id FROM identities WHERE name = ANY(%s)"
    known = dict(session.run(query, (list(names),)).fetchall())
    missing = [name for name in names if name not in known]
    if missing:
        made = session.run(
            "INSERT INTO identities (name) SELECT unnest(%s::text[]) RETURNING name, id", (missing,)
        )
        known |= dict(made.fetchall())
    return known


def records(rows: Sequence[tuple[Any, ...]], bound: Binding, shown: str) -> list[Record]:
    """Returns records of rows that begin with identity, item, embedding, metadata, source.

    Raises:
        GalleryError: An embedding has another length.
    """
    try:
        embeddings = numbers([row[2] for row in rows], dtype=bound.dtype, dimension=bound.dimension)
    except ValueError as error:
        raise unreadable(shown, error) from error
    return [
        Record(row[0], row[1], embedding, _metadata(row[3], row[1]), row[4])
        for row, embedding in zip(rows, embeddings, strict=True)
    ]


def _metadata(text: str, item: str) -> str:
    """The metadata with its keys in trine's order; jsonb has one of its own."""
    return text if text == "{}" else metadata_text(json.loads(text), item)
