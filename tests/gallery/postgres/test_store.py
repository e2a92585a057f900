"""The store on a PostgreSQL server: its address, what its errors mean, its index, and lost connections."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from support import fork_server, gallery_processes
from support import postgres_server as server
from trine.errors import GalleryError, InputError
from trine.gallery import Binding, Entry, Filter, Gallery, Record, Scope
from trine.gallery.binding import open_store
from trine.gallery.index import scores_between

pytest.importorskip("psycopg", reason="needs psycopg: pip install 'trine[pgvector]'")

from trine.gallery.postgres import Address, PostgresStore, search
from trine.gallery.postgres.settings import PostgresSettings

BINDING = Binding(4, "by hand", "euclidean")


@pytest.fixture
def address():
    where = server.a_gallery("exact")
    yield where
    server.drop(where)


@pytest.fixture
def opened(address):
    gallery = PostgresStore(address, binding=BINDING)
    yield gallery
    gallery.close()


def records(count, dimension=4, *, seed=0, identities=10, scale=1.0):
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype("f4") * np.float32(scale)
    return [
        Record(f"id {i % identities}", f"item {i:05}", row, f'{{"year": {i % 50}}}')
        for i, row in enumerate(rows)
    ]


def test_an_address_shows_everything_but_the_password():
    text = "postgresql://ann:s3cr%40t@db.example.org:5433/vision?sslmode=require&gallery=people&search=exact"
    address = Address.parse(text)
    assert address.shown == "postgresql://ann@db.example.org:5433/vision?gallery=people"
    assert (address.schema, address.exact) == ("trine_people", True)
    assert "s3cr" not in repr(address)
    assert "sslmode=require" in address.connection
    assert "password='s3cr@t'" in address.connection or "password=s3cr@t" in address.connection
    assert Address.parse("postgres:///vision?password=s3cret").shown == "postgresql:///vision?gallery=gallery"
    assert Address.parse("postgresql://a@/v?host=/run/pg").shown.endswith("/v?host=/run/pg&gallery=gallery")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "postgresql://ann:s3cr/et@host/vision",
            "invalid gallery address: write postgresql://user:password@host",
        ),
        ("postgresql://ann:s3cr@et@host:x/vision", "invalid gallery address"),
        ("postgresql://ann:s3cret%ZZ@host/vision", "invalid gallery address"),
        (
            "postgresql://ann:s3cret@host/vision?galery=x",
            "unknown parameter 'galery': did you mean 'gallery'",
        ),
        ("postgresql://ann:s3cret@host/vision?gallery=a b", "1 to 57 letters, digits, - or _, given 'a b'"),
        ("postgresql://ann:s3cret@host/vision?search=exakt", "unknown search 'exakt'.*'exact'"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(text, match):
    with pytest.raises(InputError, match=match) as caught:
        Gallery.open(text)
    assert "s3cr" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_unknown_kind_of_address_is_refused():
    with pytest.raises(GalleryError, match=r"unknown scheme mysql://, expected a path, postgresql://"):
        Gallery.open("mysql://x/y")


def guest(name, *, database_name="postgres", may_create=False, password=None):
    """A user who is no superuser; with a password, the server asks for it."""
    if not server.run("SELECT 1 FROM pg_roles WHERE rolname = %s", name):
        server.run(f"CREATE ROLE {name} LOGIN PASSWORD '{password or 'x'}'")
    if may_create:
        server.run(f"GRANT CREATE ON DATABASE {database_name} TO {name}")
    uri = server.server().get_uri(database_name)
    return uri.replace("postgres:@", f"{name}:{password}@" if password else f"{name}@")


def ask_for_passwords_of(name):
    rules = server.server().pgdata / "pg_hba.conf"
    rule = f"local all {name} scram-sha-256\n"
    if not rules.read_text().startswith(rule):
        rules.write_text(rule + rules.read_text())
        server.run("SELECT pg_reload_conf()")


def test_what_is_wrong_at_the_door_is_said_in_one_sentence(tmp_path):
    uri = server.server().get_uri()
    server.run("CREATE EXTENSION IF NOT EXISTS vector")
    secret = guest("doorman", password="s3cret").replace("s3cret", "wr0ng")
    ask_for_passwords_of("doorman")
    for address, match in [
        (f"postgresql:///x?host={tmp_path}", "cannot be reached; check that it is running"),
        ("postgresql://ann:s3cret@127.0.0.1:9/x", r"//ann@127.0.0.1:9/x\?gallery=gallery cannot be reached"),
        ("postgresql://nobody.invalid/x?connect_timeout=5", "cannot be found by its host name"),
        (uri.replace("postgres:@", "stranger@"), "has no such user"),
        (uri.replace("/postgres?", "/nothing?"), "has no database of that name; create it with: createdb"),
        (secret, "does not accept the user or the password"),
        (f"{uri}&gallery=nowhere", "the gallery .* does not exist: enrol into it first"),
    ]:
        with pytest.raises(GalleryError, match=match) as caught:
            Gallery.open(address)
        assert "wr0ng" not in str(caught.value)
        assert "s3cret" not in str(caught.value)
    right = guest("doorman", password="s3cret", may_create=True)
    with Gallery.open(f"{right}&gallery=doorman", dimension=2, fingerprint="x") as gallery:
        assert "s3cret" not in f"{gallery!r} {gallery.address} {gallery._store._database.address!r}"
        assert "s3cret" not in repr(gallery._store._database._pool)
    server.run("DROP SCHEMA trine_doorman CASCADE")


@pytest.fixture
def empty_database():
    server.run("CREATE DATABASE bare")
    yield "bare"
    server.run("DROP DATABASE bare WITH (FORCE)")


def test_a_database_that_cannot_hold_a_gallery_says_what_it_lacks(empty_database):
    how = {"dimension": 2, "fingerprint": "x"}
    with pytest.raises(
        GalleryError, match=r"lacks the privilege: ask an administrator to run: CREATE EXTENSION vector"
    ):
        Gallery.open(guest("visitor", database_name="bare"), **how)
    server.run("CREATE EXTENSION vector", database="bare")
    with pytest.raises(
        GalleryError,
        match=r"lacks the privilege: ask an administrator to run: GRANT CREATE ON DATABASE .* TO ",
    ):
        Gallery.open(guest("visitor", database_name="bare"), **how)
    address = server.server().get_uri("bare")
    with pytest.raises(GalleryError, match="dimension 16001: pgvector stores up to 16000"):
        Gallery.open(address, dimension=16_001, fingerprint="x")
    server.run("CREATE SCHEMA trine_foreign", database="bare")
    with pytest.raises(GalleryError, match=r"the schema trine_foreign is not a trine gallery"):
        Gallery.open(f"{address}&gallery=foreign", **how)
    for settings, message in [
        (PostgresSettings(pgvector=(9, 0)), r"older than 9\.0: upgrade it with: ALTER EXTENSION"),
        (PostgresSettings(extension="no_vector"), "has no pgvector: install it there"),
    ]:
        with pytest.raises(GalleryError, match=message):
            PostgresStore(address, binding=BINDING, settings=settings)


def test_a_database_of_another_encoding_is_refused():
    server.run("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        with pytest.raises(GalleryError, match="has the encoding LATIN1, expected UTF8"):
            Gallery.open(server.server().get_uri("latin"), dimension=2, fingerprint="x")
    finally:
        server.run("DROP DATABASE latin")


def test_pgvector_may_lie_in_any_schema(empty_database):
    server.run("CREATE SCHEMA extensions", database="bare")
    server.run("CREATE EXTENSION vector SCHEMA extensions", database="bare")
    with Gallery.open(server.server().get_uri("bare"), dimension=2, fingerprint="x") as gallery:
        gallery.enrol("ann", "1", embedding=[1, 2])
        assert gallery.search(embedding=[1, 2])[0].score == 0


def test_a_gallery_of_a_newer_trine_is_refused(address, opened):
    server.run(f"UPDATE {server.schema_of(address)}.state SET version = 99")
    with pytest.raises(GalleryError, match=r"written by a newer trine .schema version 99, supported up to 1"):
        PostgresStore(address)


def test_a_binding_that_does_not_fit_the_embeddings_is_refused(address, opened):
    server.run(f"UPDATE {server.schema_of(address)}.gallery SET value = '3' WHERE name = 'dimension'")
    with pytest.raises(GalleryError, match=r"says dimension '3', the copy of it '4'.* not touched"):
        PostgresStore(address)
    assert PostgresStore.restore_binding(address).endswith("restored from its copy: dimension")
    PostgresStore(address).close()
    server.run(f"UPDATE {server.schema_of(address)}.gallery SET value = '3' WHERE name = 'dimension'")
    server.run(f"DELETE FROM {server.schema_of(address)}.notes")
    with pytest.raises(GalleryError, match="says float32 of 3 numbers, but its embeddings have another size"):
        PostgresStore(address)
    with pytest.raises(GalleryError, match="no sound copy"):
        PostgresStore.restore_binding(address)


def test_a_gallery_of_an_older_trine_is_brought_up_to_date(address, opened):
    newer = PostgresSettings(version=2, upgrades={1: "ALTER TABLE items ADD COLUMN news text"})
    PostgresStore(address, settings=newer).close()
    PostgresStore(address, settings=newer).close()
    assert server.run(f"SELECT version FROM {server.schema_of(address)}.state") == [(2,)]
    assert server.run(f"SELECT news FROM {server.schema_of(address)}.items") == []


def test_creators_that_start_together_make_one_gallery(address):
    gate, found = threading.Barrier(6), []

    def create(number):
        gate.wait()
        with Gallery.open(address, dimension=2, fingerprint="x") as gallery:
            gallery.enrol("ann", f"{number}", embedding=[number, 0])
            found.append(gallery)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    with Gallery.open(address) as gallery:
        assert gallery.identities() == {"ann": 6}


def test_a_reader_without_the_right_to_write_may_read(address, opened):
    opened.put(records(3))
    name = server.schema_of(address)
    uri = guest("reader")
    server.run(f"GRANT USAGE ON SCHEMA {name} TO reader")
    server.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO reader")
    reading = PostgresStore(f"{uri}&gallery={Address.parse(address).gallery}")
    assert len(reading.search(np.zeros((1, 4), dtype="f4"), k=9)[0]) == 3
    with pytest.raises(GalleryError, match="its user lacks the privilege; nothing of this call was written"):
        reading.put(records(4))
    assert len(opened) == 3
    reading.close()


def test_a_locked_gallery_is_waited_for_and_then_given_up(address, opened):
    import psycopg

    impatient = PostgresStore(address, settings=PostgresSettings(wait=0.2))
    with psycopg.connect(server.server().get_uri()) as other:
        other.execute(f"SELECT * FROM {server.schema_of(address)}.state FOR UPDATE")
        with pytest.raises(GalleryError, match=r"locked by another process for more than 0.2 s: nothing"):
            impatient.put(records(1))
        assert len(impatient) == 0
    assert impatient.put(records(1)).new == 1
    impatient.close()


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("53100", "the disk of its server is full; nothing of this call was written; free space"),
        ("57014", "longer than the server.s statement_timeout"),
        ("40P01", "nothing of this call was written; try again"),
        ("XX001", "may be damaged"),
        ("25006", "like a standby server"),
        ("P0001", "could not be used .no such luck.: nothing of this call was written"),
    ],
)
def test_what_goes_wrong_while_writing_is_said_and_changes_nothing(address, opened, code, match):
    opened.put(records(3))
    name = server.schema_of(address)
    server.run(
        f"CREATE FUNCTION {name}.fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no such luck' USING ERRCODE = '{code}'; END $$"
    )
    server.run(f"CREATE TRIGGER t BEFORE INSERT ON {name}.items EXECUTE FUNCTION {name}.fail()")
    with pytest.raises(GalleryError, match=match):
        opened.put(records(5, seed=1))
    assert opened.identities() == {"id 0": 1, "id 1": 1, "id 2": 1}
    np.testing.assert_array_equal(opened.get(["item 00001"])["item 00001"].embedding, records(3)[1].embedding)


def test_a_gallery_that_was_dropped_is_missed(address, opened):
    server.run(f"DROP TABLE {server.schema_of(address)}.items CASCADE")
    with pytest.raises(GalleryError, match="its tables were dropped from the database"):
        opened.put(records(1))
    with pytest.raises(GalleryError, match="its tables were dropped from the database"):
        len(opened)


def test_a_closed_gallery_says_so(opened):
    opened.close()
    opened.close()
    with pytest.raises(GalleryError, match="is closed: open it again"):
        len(opened)


def test_what_postgresql_cannot_keep_is_refused_or_not_found(opened):
    with pytest.raises(GalleryError, match="cannot store NUL characters; nothing of this call was written"):
        opened.put([Record("ann", "1", np.zeros(4, dtype="f4"), '{"x": "a\\u0000b"}')])
    opened.put([Record("ann", "1", np.zeros(4, dtype="f4"), '{"x": "a"}')])
    assert opened.get(["a\0b", "\udcff"]) == {}
    assert opened.remove(["a\0b"]) == 0
    assert opened.forget("a\0b") == 0
    probe = np.zeros((1, 4), dtype="f4")
    for where, found in [
        ({"x": "a\0"}, 0), ({"x\0": "a"}, 0), ({"x": ("a\0", None)}, 0), ({"x": (None, "a\0")}, 1),
        ({"x": ["a\0", "a"]}, 1),
    ]:  # fmt: skip
        assert len(opened.search(probe, k=9, scope=Scope(where=Filter.of(where)))[0]) == found, where
    assert len(opened.search(probe, k=9, scope=Scope(exclude=frozenset({"\0"})))[0]) == 1


def test_names_may_be_of_any_length(opened):
    letters = np.random.default_rng(0).integers(0x4E00, 0x9FFF, size=(2, 20_000))
    item, identity = ("".join(map(chr, row)) for row in letters)
    for _ in range(2):
        opened.put([Record(identity, item, np.ones(4, dtype="f4"))])
    assert opened.identities() == {identity: 1}
    assert list(opened.get([item])) == [item]


def test_numbers_beyond_any_float_are_filtered(opened):
    huge = 10**400
    opened.put([Record("ann", "1", np.zeros(4, dtype="f4"), f'{{"x": {huge}, "y": -{huge}, "z": 1e-320}}')])
    probe = np.zeros((1, 4), dtype="f4")
    for where, found in [
        ({"x": huge}, 1), ({"x": (1e308, None)}, 1), ({"y": (None, -1e308)}, 1), ({"y": huge}, 0),
        ({"z": 1e-320}, 1), ({"z": 0}, 0),
    ]:  # fmt: skip
        assert len(opened.search(probe, k=9, scope=Scope(where=Filter.of(where)))[0]) == found, where


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_searches_are_exact_where_float32_is_not(address, dtype, distance):
    binding = Binding(16, "x", distance, dtype=dtype)
    opened = open_store(address, binding=binding)
    # A class of radius 1e-3, duplicates, a zero row, and rows far beyond and far below the others.
    rng = np.random.default_rng(0)
    far = 1e15 if distance == "squared_euclidean" else 1e25
    rows = np.concatenate(
        [
            rng.standard_normal(16) + 1e-3 * rng.standard_normal((60, 16)),
            np.repeat(rng.standard_normal((1, 16)), 5, axis=0),
            np.zeros((1, 16)),
            rng.standard_normal((3, 16)) * (1e4 if dtype == "float16" else far),
            rng.standard_normal((3, 16)) * (1e-3 if dtype == "float16" else 1e-30),
        ]
    ).astype("f4")
    opened.put([Record("ann", f"{i:02}", row) for i, row in enumerate(rows)])
    kept = np.stack([found.embedding for found in opened.scan()])
    probes = np.concatenate([kept[[0, 7, 62, 65, 66, 70]], rng.standard_normal((3, 16)).astype("f4")])
    scores = scores_between(probes, kept, distance=distance)
    for k in (1, 5, 50, 99):
        for query, hits in enumerate(opened.search(probes, k=k)):
            order = sorted(range(len(kept)), key=lambda i, q=query: (scores[q][i], i))[:k]
            assert [(hit.item, hit.score) for hit in hits] == [(f"{i:02}", scores[query][i]) for i in order]
    opened.close()


SMALL = PostgresSettings(large=300, price=0)
"""Galleries of some hundred items count as large."""


def approximate(address, settings=SMALL, **how):
    return PostgresStore(address.replace("search=exact", "search=approximate"), settings=settings, **how)


@pytest.mark.parametrize(
    ("dimension", "dtype", "distance"),
    [
        (16, "float32", "euclidean"),
        (16, "float16", "squared_euclidean"),
        (16, "int8", "cosine"),
        (2100, "float32", "cosine"),
        (4100, "float32", "euclidean"),
    ],
)
def test_a_large_gallery_is_searched_by_an_index(address, dimension, dtype, distance):
    binding = Binding(dimension, "x", distance, dtype=dtype)
    opened, exact = approximate(address, binding=binding), PostgresStore(address, binding=binding)
    many = records(500 if dimension < 2000 else 320, dimension)
    opened.put(many[:250])
    opened.put(many[250:])
    name = server.schema_of(address)
    (indexed,) = server.run(f"SELECT indexed FROM {name}.state")
    assert indexed == (dimension <= 4000,)
    if indexed[0]:
        rows = search.index_expression(binding)
        order = f"{rows} <-> (SELECT {rows} FROM items LIMIT 1)"

        def plan(session):
            session.run("SET LOCAL enable_seqscan = off")
            return str(session.run(f"EXPLAIN SELECT item FROM items ORDER BY {order} LIMIT 5").fetchall())

        assert "Index Scan using items_" in opened._database.read(plan)
    probes = np.stack([record.embedding for record in records(8, dimension, seed=1)])
    for scope in (
        Scope(),
        Scope(where=Filter.of({"year": 7})),
        Scope(where=Filter.of({"year": (0, 30)}), without=frozenset({"id 3"})),
        Scope(only=frozenset({"id 3"})),
        Scope(exclude=frozenset({"item 00001"})),
    ):
        for k in (1, 10, 450):
            found, wanted = (
                [hit for hits in one.search(probes, k=k, scope=scope) for hit in hits]
                for one in (opened, exact)
            )
            assert len(found) == len(wanted)
            scores = {(hit.item, hit.score) for hit in wanted}
            assert sum((hit.item, hit.score) in scores for hit in found) >= 0.95 * len(wanted)
    assert opened.check() == []
    assert opened.repair() == []
    opened.close()
    exact.close()


def test_a_filter_that_few_items_pass_is_answered_exactly(address, monkeypatch):
    stores = [approximate(address, replace(SMALL, price=price), binding=BINDING) for price in (0, 1)]
    stores[0].put(records(400))
    asked = []
    approximately = search._Query.approximately
    monkeypatch.setattr(
        search._Query,
        "approximately",
        lambda self, *given, **how: asked.append(self._share) or approximately(self, *given, **how),
    )
    probe = np.zeros((1, 4), dtype="f4")
    half, one = Filter.of({"year": (0, 24)}), Filter.of({"year": 7})
    for price, where, expected in [
        (0, half, [0.5]), (0, one, [0.02]), (0, Filter.of({"year": 99}), []), (1, half, [0.5]), (1, one, []),
    ]:  # fmt: skip
        asked.clear()
        found = stores[price].search(probe, k=5, scope=Scope(where=where))[0]
        assert asked == pytest.approx(expected), (price, where)
        assert len(found) == (5 if "99" not in str(where) else 0)
    for opened in stores:
        opened.close()


def test_an_index_that_is_missing_or_half_built_is_found_and_built(address):
    exact = PostgresStore(address, binding=BINDING)
    exact.put(records(700))
    assert exact.check() == []
    assert exact.repair() == []
    opened = approximate(address)
    missing = "the search index is missing, so every search is slow"
    assert opened.check() == [missing]
    unable = approximate(address, replace(SMALL, index="USING hnsw ({expression} no_{kind}_ops)"))
    with pytest.raises(GalleryError, match="could not be built: see the server's log"):
        unable.repair()
    unable.close()
    assert opened.repair() == ["the search index was built"]
    assert opened.check() == opened.repair() == []
    name = server.schema_of(address)
    server.run(
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}.items_embedding_idx'::regclass"
    )
    assert opened.check() == ["the search index is missing or incomplete, so every search is slow"]
    assert len(opened.search(np.zeros((1, 4), dtype="f4"), k=5)[0]) == 5
    assert opened.repair() == ["the search index was built"]
    exact.close()
    opened.close()


def test_an_index_survives_a_switch_to_another_encoder(address):
    opened = approximate(address, binding=BINDING)
    opened.put(records(400))
    other = Binding(3, "another", "cosine", dtype="float16")
    opened.stage(other, [
        Record(r.identity, r.item, r.embedding[:3]) for r in list(opened.unstaged(other))
    ])  # fmt: skip
    assert opened.switch(other)
    assert opened.check() == []
    assert opened._database.read(lambda session: session.indexed)
    assert len(opened.search(np.ones((1, 3), dtype="f4"), k=5)[0]) == 5
    opened.put(records(1, 3, seed=5))
    opened.close()


@pytest.mark.parametrize("removed_before", [False, True])
def test_what_was_forgotten_is_in_the_tables_until_they_are_written_anew(address, opened, removed_before):
    import psycopg

    secret = Record("Rumpelstiltskin", "the only name", np.full(4, 77.5, dtype="f4"))
    opened.put([*records(50), secret])

    def traces():
        server.run("CHECKPOINT")
        known = nodes()
        folder = server.server().pgdata / "base"
        marks = (b"Rumpelstiltskin", b"the only name", secret.embedding.tobytes())
        return {
            mark
            for file in folder.rglob("*")
            if file.is_file() and file.name.isdigit() and int(file.name) in known
            for mark in marks
            if mark in file.read_bytes()
        }

    def nodes():
        rows = server.run(
            "SELECT pg_relation_filenode(oid) FROM pg_class WHERE relnamespace = %s::regnamespace"
            " AND relkind IN ('r', 'i')", server.schema_of(address),
        )  # fmt: skip
        return {node for (node,) in rows}

    assert len(traces()) == 3
    with psycopg.connect(server.server().get_uri()) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")
        if removed_before:
            opened.remove([secret.item])
        assert opened.forget("Rumpelstiltskin") == (not removed_before)
        assert len(traces()) == 3
        with pytest.raises(
            GalleryError, match=r"traces of them may remain .* another transaction is still open"
        ):
            opened.repair()
    assert opened.repair()[0].startswith("traces of forgotten items were wiped from the tables")
    assert traces() == set()
    assert opened.repair() == []
    assert opened.notes() == {}
    assert len(opened) == 50


def test_only_the_owner_of_the_tables_writes_them_anew(address, opened):
    opened.put(records(5))
    name, uri = server.schema_of(address), guest("helper")
    server.run(f"GRANT USAGE ON SCHEMA {name} TO helper")
    server.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO helper")
    helping = PostgresStore(f"{uri}&gallery={Address.parse(address).gallery}")
    assert helping.forget("id 1") == 1
    with pytest.raises(GalleryError, match=r"traces of them may remain .* repair the gallery as the owner"):
        helping.repair()
    helping.close()
    assert len(opened.repair()) == 1


def test_check_finds_what_is_wrong(address, opened):
    opened.put(records(3))
    server.run(f"INSERT INTO {server.schema_of(address)}.identities (name) VALUES ('nobody')")
    assert opened.check() == ["the identity 'nobody' has no items"]
    assert opened.repair() == ["identities without items were deleted: 1"]
    assert opened.check() == []


DAMAGE = {
    "a missing identity": (
        "ALTER TABLE {s}.items DROP CONSTRAINT items_identity_fkey; UPDATE {s}.items SET identity = 999"
        " WHERE item = 'item 00001'",
        ["the item 'item 00001' belongs to a missing identity", "the identity 'id 1' has no items"],
    ),
    "another dimension": (
        "ALTER TABLE {s}.items ALTER embedding TYPE vector; UPDATE {s}.items SET embedding = '[1,2]'"
        " WHERE item = 'item 00001'",
        ["the column 'embedding' of the table items is vector, expected vector(4)"],
    ),
    "another type": (
        "ALTER TABLE {s}.items ALTER source TYPE varchar(99)",
        ["the column 'source' of the table items is character varying(99), expected text"],
    ),
    "no column": (
        "ALTER TABLE {s}.items DROP COLUMN source",
        ["the table items has no column 'source': restore it from a backup"],
    ),
    "no object": (
        "ALTER TABLE {s}.items DROP CONSTRAINT items_metadata_check; UPDATE {s}.items SET metadata = '[1]'"
        " WHERE item = 'item 00001'",
        ["the item 'item 00001' has metadata that is not a JSON object"],
    ),
    "an item twice": (
        "ALTER TABLE {s}.items DROP CONSTRAINT items_item_excl; INSERT INTO {s}.items (item, identity,"
        " embedding, metadata, written) SELECT item, identity, embedding, metadata, written FROM {s}.items"
        " WHERE item = 'item 00001'",
        ["the item 'item 00001' is there twice"],
    ),
    "an orphan": (
        "ALTER TABLE {s}.staged DROP CONSTRAINT staged_id_fkey; INSERT INTO {s}.staged"
        " VALUES (99, '[1,2,3,4]', 1)",
        ["1 staged embeddings belong to missing items"],
    ),
    "a trigger": (
        "CREATE TRIGGER t BEFORE UPDATE ON {s}.items FOR EACH ROW EXECUTE FUNCTION"
        " suppress_redundant_updates_trigger()",
        ["the table items has the trigger 't', not trine's"],
    ),
    "the copy of the binding": (
        "UPDATE {s}.notes SET value = 'x' WHERE name = 'trine:binding'",
        ["the copy of what the gallery is bound to is damaged"],
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_check_sees_what_the_tables_cannot_hold(address, opened, what):
    opened.put(records(3))
    before = server.run(f"SELECT count(*) FROM {server.schema_of(address)}.items")
    for statement in DAMAGE[what][0].split("; "):
        server.run(statement.format(s=server.schema_of(address)))
    assert opened.check() == DAMAGE[what][1]
    opened.repair()
    assert server.run(f"SELECT count(*) FROM {server.schema_of(address)}.items") >= before


def test_an_unknown_dtype_or_a_missing_table_is_said_when_opening(address, opened):
    schema = server.schema_of(address)
    server.run(f"DELETE FROM {schema}.notes")
    server.run(f"UPDATE {schema}.gallery SET value = 'float33' WHERE name = 'dtype'")
    with pytest.raises(GalleryError, match="unknown dtype 'float33'"):
        PostgresStore(address)
    server.run(f"UPDATE {schema}.gallery SET value = 'float32' WHERE name = 'dtype'")
    server.run(f"ALTER TABLE {schema}.state DROP COLUMN indexed")
    with pytest.raises(GalleryError, match="is damaged: one of its columns was dropped"):
        PostgresStore(address)


def test_a_server_that_does_not_keep_its_promise_is_found_out(opened):
    server.run("ALTER SYSTEM SET fsync = off")
    server.run("ALTER SYSTEM SET synchronous_commit = off")
    try:
        server.run("SELECT pg_reload_conf()")
        for _ in range(100):
            if opened.check():
                break
        (problem,) = opened.check()
        assert (
            problem == "the server runs with fsync = off: a power cut may damage or lose acknowledged writes"
        )
        fresh = PostgresStore(opened._address.connection and a_uri(opened))
        commit = fresh._database.read(lambda session: session.run("SHOW synchronous_commit").fetchall())
        assert commit == [("on",)]
        fresh.close()
    finally:
        server.run("ALTER SYSTEM RESET ALL")
        server.run("SELECT pg_reload_conf()")


def a_uri(opened):
    return f"{server.server().get_uri()}&gallery={opened._address.gallery}"


def end_connections():
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trine'")


def test_a_lost_connection_is_made_anew(opened):
    opened.put(records(3))
    for count in (3, 4, 5):
        end_connections()
        assert len(opened) == count
        end_connections()
        assert opened.put(records(count + 1)).new == 1


def broken_once(calls):
    def body(session):
        calls.append(session.stamp)
        if len(calls) == 1:
            session.run("SELECT pg_terminate_backend(pg_backend_pid())")
        return "done"

    return body


def test_what_is_read_is_read_again_and_what_is_written_is_not(opened):
    calls = []
    assert opened._database.read(broken_once(calls)) == "done"
    assert len(calls) == 2
    calls = []
    with pytest.raises(GalleryError, match="cannot be reached"):
        opened._database.write(broken_once(calls))
    assert len(calls) == 1


def test_a_connection_lost_while_a_write_is_confirmed_leaves_it_open_what_was_written(address, opened):
    settings = PostgresSettings(commit="SELECT pg_terminate_backend(pg_backend_pid())")
    breaking = PostgresStore(address, settings=settings)
    with pytest.raises(GalleryError, match="broke before the last write was confirmed: it may or may not"):
        breaking.put(records(1))
    breaking.close()
    assert len(opened) == 0
    assert opened.put(records(1)).new == 1


def test_more_threads_than_connections_take_turns(opened):
    opened.put(records(20))
    found = []

    def ask():
        found.extend(len(opened.search(np.zeros((1, 4), dtype="f4"), k=9)[0]) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [9] * 100


def test_two_galleries_of_one_database_know_nothing_of_each_other():
    addresses = [server.a_gallery() for _ in range(2)]
    galleries = [Gallery.open(address, dimension=2, fingerprint="x") for address in addresses]
    galleries[0].enrol_many([Entry("ann", "1", [0, 1]), Entry("bob", "2", [1, 1])])
    assert [len(gallery) for gallery in galleries] == [2, 0]
    for gallery, address in zip(galleries, addresses, strict=True):
        gallery.close()
        server.drop(address)


def test_processes_read_and_write_at_once(address):
    count = 12
    assert (
        gallery_processes.read_and_write_at_once(address, fork_server.processes(), count=count) == [count] * 2
    )
    with Gallery.open(address) as gallery:
        assert {name: gallery.get(name).metadata for name in "xy"} == {n: {"value": count} for n in "xy"}


def test_a_gallery_grows_from_a_file_to_a_server_and_back(address, tmp_path):
    rows = np.random.default_rng(0).standard_normal((300, 4)).astype("f4")
    entries = [
        Entry(f"id {i % 30}", f"item {i:03}", row, metadata={"n": i, "é": [1.5, None]})
        for i, row in enumerate(rows)
    ]
    with (
        Gallery.open(tmp_path / "a.db", dimension=4, fingerprint="x", threshold=1.0) as first,
        Gallery.open(tmp_path / "b.db", dimension=4, fingerprint="x", threshold=1.0) as last,
    ):
        first.enrol_many(entries)
        first.cluster(threshold=1.0)
        assert len(first.copy_to(address)) == 300
        with Gallery.open(address) as server:
            assert server.check() == []
            server.copy_to(last.address)
            galleries = (first, server, last)
            for how in (
                {}, {"where": {"n": (10, 200)}}, {"exclude": ["item 003"]}, {"offset": 5},
            ):  # fmt: skip
                found = [gallery.search(embedding=rows[7], k=20, **how) for gallery in galleries]
                assert found[0] == found[1] == found[2]
            assert len({str(gallery.identify(embedding=rows[3])) for gallery in galleries}) == 1
            assert len({str(gallery.stats().items) for gallery in galleries}) == 1
            clusters = [gallery._store.clusters() for gallery in galleries]
            assert clusters[0] == clusters[1] == clusters[2]
            assert len(clusters[0]) == 300
