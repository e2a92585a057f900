"""The tables of a gallery in a PostgreSQL database, in a schema of their own, and how they come to be.

gallery      what the gallery is bound to, as text
notes        what was noted about it as a whole; names that begin with "trine:" are the store's own
identities   id, name
items        id, item, identity, embedding (a vector or halfvec), metadata (jsonb), source (a path), cluster,
             written (the state in which it was last enrolled)
staged       embeddings for another encoder, until they take the place of those in use; each is for an item
             as it was written then
state        one row: the version of these tables, the counter that every write advances, the largest
             number of a cluster, how often the gallery was bound to another encoder, and whether there is
             an index for the search
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.errors import GalleryError, require
from trine.gallery.errors import missing, newer
from trine.gallery.postgres.address import Address
from trine.gallery.postgres.settings import PostgresSettings
from trine.gallery.quantization import Dtype
from trine.gallery.store import Binding

if TYPE_CHECKING:
    from psycopg import Connection

LOCK = 0x74726E65
"""The advisory lock under which galleries of one database are created and brought up to date."""

LONGEST = 16_000
"""Numbers that a vector of pgvector may have."""

# An exclusion constraint over a hash, since names may be longer than an entry of a unique index.
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

# Statistics of these columns would keep samples of what was deleted, and no plan depends on them.
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

_FIND = """
SELECT to_regnamespace(%(schema)s) IS NOT NULL, to_regclass(%(schema)s || '.state') IS NOT NULL,
    current_setting('server_encoding'), (SELECT extversion FROM pg_extension WHERE extname = %(extension)s),
    EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = %(extension)s)
"""


def kind(dtype: Dtype) -> str:
    """Returns the pgvector type of a dtype; int8 takes float32, as pgvector has no bytes."""
    return "halfvec" if dtype == "float16" else "vector"


def column(binding: Binding) -> str:
    """Returns the type of the column of embeddings."""
    return f"{kind(binding.dtype)}({binding.dimension})"


def items_table(binding: Binding) -> str:
    """Returns the script that makes the table of items."""
    # A page holds 8 kB; what fits is read faster beside its row than from elsewhere.
    plain = ", ALTER embedding SET STORAGE PLAIN"
    fits = binding.dimension * (2 if binding.dtype == "float16" else 4) <= 7000
    return ITEMS.format(type=column(binding), plain=plain if fits else "")


def staged_table(binding: Binding) -> str:
    """Returns the script that makes the table of embeddings for another encoder."""
    return STAGED.format(type=column(binding))


def prepare(
    connection: Connection[Any], address: Address, binding: Binding | None, settings: PostgresSettings
) -> bool:
    """Brings a gallery to this version, or creates it where a binding is given, and says whether it did.

    Args:
        connection: A connection in autocommit mode.
        address: Which gallery.
        binding: What a new gallery is bound to; `None` creates nothing.
        settings: Which version of the tables and of pgvector is expected.

    Raises:
        GalleryError: There is none, a foreign schema in its place, one of a newer trine, or the server
            lacks what it takes.
    """
    there = _check(connection, address, binding, settings)
    if there and _version(connection, address, settings) == settings.version:
        return False
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        # Another process may have been first.
        if _check(connection, address, binding, settings):
            _upgrade(connection, address, settings)
        elif binding is not None:
            _create(connection, address, binding, settings.version)
            return True
    return False


def _check(
    connection: Connection[Any], address: Address, binding: Binding | None, settings: PostgresSettings
) -> bool:
    """Says whether the gallery is there, and refuses what could never become one."""
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
        raise GalleryError(f"{database} has the encoding {encoding}, which cannot hold every name: {hint}")
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
        hint = f"pgvector keeps up to {LONGEST} numbers; keep them in a file"
        raise GalleryError(f"{address.shown} cannot hold dimension {binding.dimension}: {hint}")
    errors = require("psycopg.errors", extra="pgvector")
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except errors.InsufficientPrivilege:
        wish = "install pgvector in its database: ask an administrator for: CREATE EXTENSION vector"
        raise GalleryError(f"the user of the gallery {address.shown} may not {wish}") from None
    try:
        connection.execute(f'CREATE SCHEMA "{address.schema}"'.encode())
    except errors.InsufficientPrivilege:
        wish = "create it: ask an administrator for: GRANT CREATE ON DATABASE"
        raise GalleryError(f"the user of the gallery {address.shown} may not {wish}") from None
    settle(connection, address.schema)
    tables = TABLES.format(items=items_table(binding), staged=staged_table(binding), version=version)
    connection.execute(tables.encode())
    for name, value in binding.to_texts().items():
        connection.execute("INSERT INTO gallery VALUES (%s, %s)", (name, value))


def settle(connection: Connection[Any], schema: str) -> None:
    """Has names on a connection mean the gallery's tables and pgvector's operators, wherever that lies."""
    connection.execute(
        "SELECT set_config('search_path', quote_ident(%s) || ', ' || quote_ident(nspname), false)"
        " FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'",
        (schema,),
    )
