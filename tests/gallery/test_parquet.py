"""Tables and copies: what comes back is what went out, and what was interrupted is finished."""

import contextlib
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from support.gallery_stores import STORES
from trine.errors import DataError, GalleryError
from trine.gallery import Enrolment, Entry, Gallery

OPENING = {"dimension": 4, "fingerprint": "by hand", "distance": "cosine", "threshold": 0.5}


def fill(gallery, count=50):
    rng = np.random.default_rng(0)
    gallery.enrol_many(
        Entry(
            f"Zoë {i % 5}",
            f"日本/{i}",
            rng.standard_normal(4),
            metadata={"n": i, "nested": [{"x": None}]},
            source=f"/photos/{i}" if i % 2 else None,
        )
        for i in range(count)
    )


def everything(gallery):
    return {r.item: (r.identity, r.metadata, r.source, r.embedding.tobytes()) for r in gallery._store.scan()}


@pytest.fixture
def address():
    with STORES["postgres"]() as found:
        yield found


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(tmp_path / "g.db", **OPENING) as opened:
        fill(opened)
        yield opened


def test_a_table_holds_everything_and_gives_it_back(gallery, tmp_path):
    path = tmp_path / "g.parquet"
    assert gallery.export_parquet(path, chunk=7) == 50
    table = parquet.read_table(path)
    assert table.column_names == ["item", "identity", "embedding", "metadata", "source"]
    rows = table.to_pylist()
    assert {row["item"] for row in rows} == set(everything(gallery))
    for row in rows:
        entry = gallery.get(row["item"])
        assert (row["identity"], json.loads(row["metadata"])) == (entry.identity, entry.metadata)
        np.testing.assert_array_equal(np.float32(row["embedding"]), entry.embedding)
    with Gallery.open(tmp_path / "other.db", **OPENING) as other:
        seen = []
        assert other.import_parquet(path, chunk=20, progress=seen.append) == Enrolment(new=50)
        assert seen == [20, 40, 50]
        assert everything(other) == everything(gallery)
        assert other.import_parquet(path) == Enrolment(unchanged=50)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".parquet") == ["g.parquet"]


def test_an_empty_gallery_is_a_table_too(tmp_path):
    with Gallery.open(tmp_path / "g.db", **OPENING) as gallery:
        assert gallery.export_parquet(tmp_path / "g.parquet") == 0
        assert len(gallery.import_parquet(tmp_path / "g.parquet")) == 0


def test_tables_of_another_encoder_or_make_are_refused(gallery, tmp_path):
    path = tmp_path / "g.parquet"
    gallery.export_parquet(path)
    for other, message in [
        (
            {"fingerprint": "another"},
            "of the encoder 'another', given the encoder 'by hand'",
        ),
        ({"dimension": 5}, "holds embeddings of dimension 5, given 4"),
        ({"distance": "euclidean"}, "uses the distance euclidean, given cosine"),
    ]:
        with Gallery.open(tmp_path / f"{next(iter(other))}.db", **(OPENING | other)) as different:
            with pytest.raises(GalleryError, match=message):
                different.import_parquet(path)
            assert len(different) == 0
    table = parquet.read_table(path)
    for changed, message in [
        (
            table.replace_schema_metadata({}),
            "does not name the encoder of its embeddings: export it",
        ),
        (table.drop_columns(["identity"]), "has no column 'identity': expected item, identity, embedding"),
        (
            table.set_column(3, "metadata", pa.array(["[1]"] * 50)),
            "has unreadable metadata for the item '日本/0'",
        ),
    ]:
        parquet.write_table(changed, path)
        with pytest.raises(DataError, match=message):
            gallery.import_parquet(path)
    path.write_text("no table")
    with pytest.raises(DataError, match=r"g\.parquet is not a Parquet table"):
        gallery.import_parquet(path)
    with pytest.raises(DataError, match=r"nowhere\.parquet cannot be read"):
        gallery.import_parquet(tmp_path / "nowhere.parquet")
    with pytest.raises(DataError, match="cannot be written: the folder"):
        gallery.export_parquet(tmp_path / "nowhere" / "g.parquet")


def test_an_export_that_fails_leaves_the_table_that_was_there(gallery, tmp_path, monkeypatch):
    path = tmp_path / "g.parquet"
    gallery.export_parquet(path)
    before = path.read_bytes()
    gallery.enrol("new", "new", embedding=np.ones(4))

    def cut_short():
        yield from list(scan())[:3]
        raise KeyboardInterrupt

    scan = gallery._store.scan
    monkeypatch.setattr(gallery._store, "scan", cut_short)
    with pytest.raises(KeyboardInterrupt):
        gallery.export_parquet(path, chunk=2)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob("*unfinished")] == []


@pytest.mark.parametrize("place", STORES.values(), ids=STORES)
def test_a_copy_holds_everything(gallery, place):
    gallery.cluster(threshold=0.2)
    with place() as address:
        seen = []
        assert gallery.copy_to(address, chunk=30, progress=seen.append) == Enrolment(new=50)
        assert seen == [30, 50]
        with Gallery.open(address) as other:
            assert other.binding == gallery.binding
            assert everything(other) == everything(gallery)
            assert other.cluster().of == gallery.cluster().of
            assert other.cluster().threshold == 0.2
            gallery.enrol("new", "new", embedding=np.ones(4))
            assert gallery.copy_to(address) == Enrolment(new=1, unchanged=50)
            (fresh,) = other._store.new_clusters(1)
            assert fresh > max(other.cluster().of.values())


@pytest.mark.parametrize("place", STORES.values(), ids=STORES)
def test_a_copy_that_was_cut_short_is_finished_by_another(gallery, place):
    class CutShortError(Exception):
        pass

    def after_some(count):
        if count >= 20:
            raise CutShortError

    with place() as address:
        with pytest.raises(CutShortError):
            gallery.copy_to(address, chunk=10, progress=after_some)
        with Gallery.open(address) as other:
            assert len(other) == 20
            assert gallery.copy_to(address) == Enrolment(new=30, unchanged=20)
            assert everything(other) == everything(gallery)


@pytest.mark.parametrize("place", STORES.values(), ids=STORES)
def test_a_copy_in_a_compact_dtype_says_what_it_keeps(gallery, place):
    fill(gallery, 300)
    with place() as address:
        gallery.copy_to(address, dtype="int8")
        with pytest.raises(GalleryError, match="stores embeddings as int8, given float32"):
            gallery.copy_to(address, dtype="float32")
        with Gallery.open(address) as other, place() as third:
            kept = other.stats().recall
            assert kept.items == 300
            assert 0.5 < kept.recall < 1
            other.copy_to(third)
            with Gallery.open(third) as again:
                assert again.stats().recall == kept  # measured where full precision was at hand
                assert everything(again) == everything(other)


def test_a_copy_into_a_gallery_of_another_encoder_is_refused(gallery, tmp_path):
    Gallery.open(tmp_path / "other.db", **(OPENING | {"fingerprint": "another"})).close()
    with pytest.raises(GalleryError, match="holds embeddings of the encoder 'another', given"):
        gallery.copy_to(tmp_path / "other.db")


def test_a_gallery_is_made_as_a_table_says(gallery, tmp_path):
    table = tmp_path / "people.parquet"
    gallery.export_parquet(table)
    with Gallery.open_for_table(table, tmp_path / "again.db") as again:
        assert len(again) == 0
        assert again.binding == gallery.binding
        again.import_parquet(table)
        assert everything(again) == everything(gallery)
    Gallery.open(tmp_path / "other.db", dimension=4, fingerprint="another").close()
    with pytest.raises(GalleryError, match="holds embeddings of the encoder 'another'"):
        Gallery.open_for_table(table, tmp_path / "other.db")


def test_a_table_whose_binding_cannot_be_read_makes_no_gallery(gallery, tmp_path):
    gallery.export_parquet(tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    bound = json.loads(table.schema.metadata[b"trine"])
    damaged = json.dumps(bound | {"distance": "euclidean"})
    del bound["digest"]
    unknown = json.dumps(bound | {"dtype": "float8"})  # as a newer trine might write
    for wrong, why in (
        ("[]", ""), ("{", ""), (damaged, "it is damaged"),
        ('{"dimension": "two"}', ""), (unknown, "unknown dtype 'float8'"),
        (json.dumps(bound | {"distance": "hamming"}), "unknown distance 'hamming'"),
        (json.dumps(bound | {"dimension": "0"}), "dimension must be at least 1, given 0"),
    ):  # fmt: skip
        parquet.write_table(table.replace_schema_metadata({"trine": wrong}), tmp_path / "wrong.parquet")
        with pytest.raises(DataError, match=rf"has an unreadable binding \(.*{why}"):
            Gallery.open_for_table(tmp_path / "wrong.parquet", tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


NOT_STORABLE = {
    "not finite": ("embedding", [float("nan")] * 4, r"'日本/49' is not finite"),
    "no embedding": ("embedding", None, r"no embedding for the item '日本/49'"),
    "an empty name": ("item", "", "item must be a non-empty string"),
    "no name": ("item", None, "item must be a non-empty string"),
    "NUL": ("identity", "a\0b", "contains a NUL character"),
    "the name of another": ("item", "日本/3", "names the item '日本/3' twice"),
    "metadata": ("metadata", "[1]", "unreadable metadata"),
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("what", NOT_STORABLE)
def test_a_table_with_one_bad_row_imports_nothing(gallery, tmp_path, what, new):
    """The bad row is the last, so that an import row by row would have written all others."""
    column, value, match = NOT_STORABLE[what]
    gallery.export_parquet(tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    rows = table.to_pylist()
    rows[-1][column] = value
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), tmp_path / "t.parquet")
    path = tmp_path / "new.db"
    if new:
        with pytest.raises(DataError, match=match):
            Gallery.open_for_table(tmp_path / "t.parquet", path)
        assert not path.exists()
        return
    with Gallery.open(path, **OPENING) as other:
        other.enrol("ann", "日本/0", embedding=np.ones(4))
        before = everything(other)
        with pytest.raises(DataError, match=match):
            other.import_parquet(tmp_path / "t.parquet", chunk=10)
        assert everything(other) == before


def test_what_a_float16_or_a_server_cannot_store_imports_nothing(gallery, tmp_path, address):
    gallery.enrol("large", "large", embedding=[70_000, 0, 0, 0])
    gallery.export_parquet(tmp_path / "large.parquet")
    gallery.remove("large")
    gallery.enrol("nul", "nul", embedding=np.ones(4), metadata={"text": "a\0b"})
    gallery.export_parquet(tmp_path / "nul.parquet")
    with Gallery.open(tmp_path / "half.db", **OPENING, dtype="float16") as other:
        with pytest.raises(DataError, match="'large' exceeds 65504, the largest float16"):
            other.import_parquet(tmp_path / "large.parquet", chunk=10)
        assert len(other) == 0
    with Gallery.open(address, **OPENING) as other:
        with pytest.raises(DataError, match="cannot store NUL characters"):
            other.import_parquet(tmp_path / "nul.parquet", chunk=10)
        assert len(other) == 0


@pytest.mark.parametrize("at", [0.3, 0.6])
def test_a_damaged_table_imports_nothing(gallery, tmp_path, at):
    table = tmp_path / "t.parquet"
    gallery.export_parquet(table, chunk=10)
    content = bytearray(table.read_bytes())
    middle = int(len(content) * at)
    content[middle : middle + 40] = bytes(40)
    table.write_bytes(content)
    with Gallery.open(tmp_path / "new.db", **OPENING) as other:
        with contextlib.suppress(DataError):
            other.import_parquet(table, chunk=10)
        assert len(other) in (0, 50)


def test_items_are_read_one_after_another(gallery):
    found = {entry.item: (entry.identity, entry.source) for entry in gallery.entries()}
    assert found == {item: (whose, source) for item, (whose, _, source, _) in everything(gallery).items()}
    assert {entry.item for entry in gallery.entries("Zoë 3")} == {f"日本/{i}" for i in range(3, 50, 5)}
    with pytest.raises(GalleryError, match=r"identity 'Zoé 3' is not in the gallery .*: did you mean 'Zoë"):
        gallery.entries("Zoé 3")


@pytest.mark.parametrize("at", [4, 40, 150])
def test_a_damaged_table_is_one_sentence(gallery, tmp_path, at):
    path = tmp_path / "people.parquet"
    gallery.export_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:at] + b"\xff" * 30 + content[at + 30 :])
    with pytest.raises(DataError, match=r"people.parquet (is damaged|has)"):
        Gallery.open_for_table(path, tmp_path / "new.db").import_parquet(path)
