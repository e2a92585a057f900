"""Compact forms: how many bytes, how near, and what of the nearest items they keep."""

import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from support.gallery_stores import sqlite
from trine.errors import GalleryError, InputError
from trine.gallery import Entry, Gallery, QuantizationRecall
from trine.gallery.quantization import lengths, pack, rounded, unpack

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)
ROWS = arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(1, 9)), elements=FLOATS)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(rows=ROWS)
def test_a_byte_a_number_moves_none_by_more_than_half_a_step(rows):
    packed = pack(rows, dtype="int8")
    dimension = rows.shape[1]
    assert {len(row) for row in packed} <= set(lengths("int8", dimension))
    back = unpack(packed, dtype="int8", dimension=dimension)
    for row, kept in zip(rows.astype(float), back.astype(float), strict=True):
        largest = max(abs(row))
        # A row of length 1 comes back with length 1, which moves it a little more.
        slack = 2e-3 * largest if abs(np.linalg.norm(row) - 1) <= 1e-3 else 1e-6 * largest
        slack += np.sqrt(dimension) * largest / 254 if abs(np.linalg.norm(row) - 1) <= 1e-3 else 0
        assert (abs(kept - row) <= largest / 254 + slack).all()


@given(rows=ROWS, dtype=st.sampled_from(["float32", "int8"]))
def test_what_was_rounded_once_stays_as_it_is(rows, dtype):
    once = rounded(rows, dtype=dtype)
    np.testing.assert_array_equal(rounded(once, dtype=dtype), once)
    if dtype == "float32":
        np.testing.assert_array_equal(once, rows)


def test_rows_of_length_one_take_a_byte_a_number():
    rows = unit(np.random.default_rng(0).standard_normal((50, 128)))
    packed = pack(rows, dtype="int8")
    assert {len(row) for row in packed} == {128}
    back = unpack(packed, dtype="int8", dimension=128)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    assert ((back - rows) ** 2).sum(1).max() < 2e-4
    assert {len(row) for row in pack(3 * rows, dtype="int8")} == {132}
    assert {len(row) for row in pack(rows, dtype="float16")} == {256}
    zero = np.zeros((1, 128), dtype=np.float32)
    np.testing.assert_array_equal(rounded(zero, dtype="int8"), zero)


def test_float16_holds_what_numpy_holds():
    rows = np.random.default_rng(0).standard_normal((9, 5)).astype("f4")
    np.testing.assert_array_equal(rounded(rows, dtype="float16"), rows.astype(np.float16).astype(np.float32))


def test_a_number_too_large_for_float16_is_refused():
    with sqlite() as path, Gallery.open(path, dimension=1, fingerprint="x", dtype="float16") as gallery:
        gallery.enrol("ann", "fits", embedding=[65504.0])
        with pytest.raises(GalleryError, match=r"of 'large' exceeds 65504, .* dtype='float32'"):
            gallery.enrol("ann", "large", embedding=[70000.0])
        assert len(gallery) == 1
    with pytest.raises(GalleryError, match="row 1 exceeds 65504"):
        pack(np.array([[0.0], [1e9]], dtype="f4"), dtype="float16")


def crowd(count, *, dimension=128, seed=0):
    """Rows of length 1 in tight groups of ten, as an encoder's are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count // 10, dimension)).repeat(10, axis=0)
    return unit(centres + 0.6 * rng.standard_normal(centres.shape))


@pytest.mark.parametrize(("dtype", "least", "width"), [("float16", 0.995, 256), ("int8", 0.93, 128)])
def test_what_a_form_keeps_is_measured_and_stated(dtype, least, width):
    rows = crowd(1500)
    with sqlite() as path:
        with Gallery.open(path, dimension=128, fingerprint="x", dtype=dtype) as gallery:
            assert gallery.stats().recall is None
            gallery.enrol_many(Entry("few", f"few {i}", rows[i]) for i in range(50))
            assert gallery.stats().recall is None
            gallery.enrol_many(Entry("someone", f"{i:04}", row) for i, row in enumerate(rows))
            kept = gallery.stats().recall
            distances = np.linalg.norm(rows[:, None].astype("f4") - rows[None, :200], axis=2).T
            kept_rows = rounded(rows, dtype=dtype)
            compact = np.linalg.norm(rows[:200, None] - kept_rows[None], axis=2)
            shares = []
            for i in range(200):
                distances[i, i] = compact[i, i] = np.inf
                shares.append(len(set(np.argsort(distances[i])[:10]) & set(np.argsort(compact[i])[:10])) / 10)
            assert (kept.at, kept.items) == (10, 1500)
            assert least < kept.recall < 1
            assert kept.recall == pytest.approx(np.mean(shares), abs=0.02)
            assert str(kept) in str(gallery.stats())
            gallery.enrol_many(Entry("late", f"late {i}", rows[i]) for i in range(200))
            assert gallery.stats().recall == kept  # the larger sample stands
        with sqlite3.connect(path) as connection:
            sizes = connection.execute("SELECT DISTINCT length(embedding) FROM items").fetchall()
        connection.close()
        assert sizes == [(width,)]
        with Gallery.open(path) as gallery:
            assert gallery.binding.dtype == dtype
            assert isinstance(gallery.stats().recall, QuantizationRecall)


@pytest.mark.usefixtures("as_in_production")
def test_a_dtype_is_for_good():
    with sqlite() as path:
        Gallery.open(path, dimension=2, fingerprint="x", dtype="int8").close()
        with pytest.raises(GalleryError, match="embeddings as int8, given float32: omit dtype="):
            Gallery.open(path, dimension=2, fingerprint="x", dtype="float32")
        with pytest.raises(InputError, match="unknown dtype 'int4': did you mean 'int8'"):
            Gallery.open(path, dimension=2, fingerprint="x", dtype="int4")
