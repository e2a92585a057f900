"""The tables of a gallery in a PostgreSQL database, in their own schema, and their creation.

gallery      the binding, as text
notes        notes about the whole gallery; names that start with "trine:" are internal
identities   id, name
items        id, item, identity, embedding (a vector or halfvec), metadata (jsonb), source (a path
             or JSON), cluster, written (the revision in which it was last enrolled)
staged       embeddings for another encoder, until they replace those in use; each belongs to the version
             of its item in `written`
state        one row: the version of these tables, the revision (advanced by every write), the largest
             cluster number, the number of rebuilds with another encoder, and whether there is a search
             index
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.errors import GalleryError, require
from trine.gallery.errors import missing, newer
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.settings import PostgresSettings
from trine.gallery.quantization import Dtype
from trine.gallery.sql_session import BOUND
from trine.gallery.store import Binding, sealed

if TYPE_CHECKING:
    from psycopg import Connection

LOCK = 0x74726E65
"""The advisory lock for creating and upgrading galleries in a database."""

LONGEST = 16_000
"""The largest dimension of a pgvector vector."""

# An exclusion constraint over a hash, because names may exceed the entry size of a unique index.
TABLES = """
CREATE TABLE gallery (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE notes (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE identities (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    EXCLUDE USING hash (name WITH =)
);
{items}
{staged}
CREATE TABLE state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    changed bigint NOT NULL DEFAULT 0,
    clusters bigint NOT NULL DEFAULT 0,
    bound bigint NOT NULL DEFAULT 0,
    indexed boolean NOT NULL DEFAULT false
);
INSERT INTO state (version) VALUES ({version});
"""

# Statistics of these columns would keep samples of deleted data, and no query plan needs them.
ITEMS = """
CREATE TABLE items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text COLLATE "C" NOT NULL,
    identity bigint NOT NULL REFERENCES identities (id),
    embedding {type} NOT NULL,
    metadata jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    source text,
    cluster bigint,
    written bigint NOT NULL,
    EXCLUDE USING hash (item WITH =)
);
CREATE INDEX ON items (identity);
ALTER TABLE items ALTER embedding SET STATISTICS 0, ALTER metadata SET STATISTICS 0,
    ALTER source SET STATISTICS 0{plain};
"""

STAGED = """
CREATE TABLE staged (
    id bigint PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    embedding {type} NOT NULL,
    written bigint NOT NULL
);
ALTER TABLE staged ALTER embedding SET STATISTICS 0;
"""

COLUMNS = {
    "gallery": "name text, value text",
    "notes": "name text, value text",
    "identities": "id bigint, name text",
    "items": "id bigint, item text, identity bigint, embedding {type}, metadata jsonb, source text,"
    " cluster bigint, written bigint",
    "staged": "id bigint, embedding *, written bigint",
    "state": "one boolean, version integer, changed bigint, clusters bigint, bound bigint, indexed boolean",
}
"""The columns of each table and their types; that of staged embeddings is that of another encoder."""

_FIND = """
SELECT to_regnamespace(%(schema)s) IS NOT NULL, to_regclass(%(schema)s || '.state') IS NOT NULL,
    current_setting('server_encoding'), (SELECT extversion FROM pg_extension WHERE extname = %(extension)s),
    EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = %(extension)s)
"""


def kind(dtype: Dtype) -> str:
    """Returns the pgvector type of a dtype; int8 uses float32, because pgvector has no byte type."""
    return "halfvec" if dtype == "float16" else "vector"


def column(binding: Binding) -> str:
    """Returns the type of the embedding column."""
    return f"{kind(binding.dtype)}({binding.dimension})"


def items_table(binding: Binding) -> str:
    """Returns the script that creates the items table."""
    # A page holds 8 kB; embeddings that fit are read faster inline than from TOAST.
    plain = ", ALTER embedding SET STORAGE PLAIN"
    fits = binding.dimension * (2 if binding.dtype == "float16" else 4) <= 7000
    return ITEMS.format(type=column(binding), plain=plain if fits else "")


def staged_table(binding: Binding) -> str:
    """Returns the script that creates the table of staged embeddings."""
    return STAGED.format(type=column(binding))


def prepare(
    connection: Connection[Any], address: Address, binding: Binding | None, settings: PostgresSettings
) -> bool:
    """Upgrades a gallery, or creates a missing one if a binding is given; returns whether it created it.

    Args:
        connection: A connection in autocommit mode.
        address: The gallery.
        binding: What a new gallery is bound to; `None` creates nothing.
        settings: The required versions of the tables and of pgvector.

    Raises:
        GalleryError: The gallery is missing, not a trine gallery, or of a newer trine; or the server does not
            meet the requirements.
    """
    there = _check(connection, address, binding, settings)
    if there and _version(connection, address, settings) == settings.version:
        return False
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        # Another process may have created or upgraded it first.
        if _check(connection, address, binding, settings):
            _upgrade(connection, address, settings)
        elif binding is not None:
            _create(connection, address, binding, settings.version)
            return True
    return False


def _check(
    connection: Connection[Any], address: Address, binding: Binding | None, settings: PostgresSettings
) -> bool:
    """Returns whether the gallery exists; raises an error if it cannot be created."""
    row = connection.execute(
        _FIND, {"schema": f'"{address.schema}"', "extension": settings.extension}
    ).fetchone()
    schema, state, encoding, version, available = row or (False, False, "UTF8", None, False)
    database = f"the database of the gallery {address.shown}"
    if not state and binding is None:
        raise missing(address.shown)
    if schema and not state:
        raise GalleryError(f"the schema {address.schema} is not a trine gallery: choose another ?gallery=")
    if encoding != "UTF8":
        hint = "create one with: createdb -E UTF8 -T template0"
        raise GalleryError(f"{database} has the encoding {encoding}, expected UTF8: {hint}")
    if version is None and not available:
        raise GalleryError(f"{database} has no pgvector: install it there (Debian: postgresql-18-pgvector)")
    if version is not None and tuple(int(part) for part in version.split(".")[:2]) < settings.pgvector:
        older = f"pgvector {version}, which is older than {'.'.join(map(str, settings.pgvector))}"
        raise GalleryError(f"{database} has {older}: upgrade it with: ALTER EXTENSION vector UPDATE")
    return bool(state)


def _version(connection: Connection[Any], address: Address, settings: PostgresSettings) -> int:
    row = connection.execute(f'SELECT version FROM "{address.schema}".state'.encode()).fetchone()
    version = int(row[0]) if row else 0
    if version > settings.version:
        raise newer(address.shown, version, settings.version)
    return version


def _upgrade(connection: Connection[Any], address: Address, settings: PostgresSettings) -> None:
    for version in range(_version(connection, address, settings), settings.version):
        settle(connection, address.schema)
        connection.execute(settings.upgrades[version].encode())
        connection.execute("UPDATE state SET version = %s", (version + 1,))


def _create(connection: Connection[Any], address: Address, binding: Binding, version: int) -> None:
    if binding.dimension > LONGEST:
        hint = f"pgvector stores up to {LONGEST} numbers; use a file instead"
        raise GalleryError(f"{address.shown} cannot hold dimension {binding.dimension}: {hint}")
    errors = require("psycopg.errors", extra="pgvector")
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except errors.InsufficientPrivilege:
        raise _denied(address, "CREATE EXTENSION vector") from None
    try:
        connection.execute(f'CREATE SCHEMA "{address.schema}"'.encode())
    except errors.InsufficientPrivilege:
        info = connection.info
        raise _denied(address, f"GRANT CREATE ON DATABASE {info.dbname} TO {info.user}") from None
    settle(connection, address.schema)
    tables = TABLES.format(items=items_table(binding), staged=staged_table(binding), version=version)
    connection.execute(tables.encode())
    texts = binding.to_texts()
    for name, value in texts.items():
        connection.execute("INSERT INTO gallery VALUES (%s, %s)", (name, value))
    connection.execute("INSERT INTO notes VALUES (%s, %s)", (BOUND, sealed(texts)))


def _denied(address: Address, statement: str) -> GalleryError:
    hint = f"ask an administrator to run: {statement}"
    return GalleryError(
        f"the gallery {address.shown} cannot be created, as the database user lacks the privilege: {hint}"
    )


def settle(connection: Connection[Any], schema: str) -> None:
    """Sets the search path to the gallery's schema and to that of pgvector."""
    connection.execute(
        "SELECT set_config('search_path', quote_ident(%s) || ', ' || quote_ident(nspname), false)"
        " FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'",
        (schema,),
    )
