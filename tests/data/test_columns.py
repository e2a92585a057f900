"""Columns of every type of Arrow: their texts, numbers, times, lists and plain values."""

import datetime
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from trine.data.columns import Columns
from trine.data.table import is_missing
from trine.errors import DataError

MOMENT = datetime.datetime(2024, 5, 31, 12, 0, 0, 250_000)


def one(values, kind=None):
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return Columns("t", {"c": pa.chunked_array([array])}, rows=len(array))


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        (["a ", None], None, ["a", ""]),
        (["a", "b"], pa.large_string(), ["a", "b"]),
        (["a", "b"], pa.string_view(), ["a", "b"]),
        (["a", None], pa.dictionary(pa.int8(), pa.string()), ["a", ""]),
        ([b"ann", "é".encode()], pa.binary(), ["ann", "é"]),
        ([b"ann", b"bob"], pa.binary(3), ["ann", "bob"]),
        ([b"\xff\x00", None], pa.large_binary(), ["ff00", ""]),
        ([1, None], pa.int64(), ["1", ""]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([1.0, 0.5, None, float("nan")], None, ["1", "0.5", "", ""]),
        ([0.1], pa.float32(), ["0.1"]),
        ([True, False], None, ["True", "False"]),
        ([Decimal("1.5"), Decimal("12345678901234567890.5")], None, ["1.5", "12345678901234567890.5"]),
        ([datetime.date(2024, 5, 31)], None, ["2024-05-31"]),
        (
            [datetime.time(12, 0), datetime.time(12, 0, 1, 500_000)],
            None,
            ["12:00:00.000000", "12:00:01.500000"],
        ),
        ([MOMENT.replace(microsecond=0)], pa.timestamp("ns"), ["2024-05-31T12:00:00"]),
        ([MOMENT], pa.timestamp("ms"), ["2024-05-31T12:00:00.250"]),
        ([1700000000000000001, None], pa.timestamp("ns"), ["2023-11-14T22:13:20.000000001", ""]),
        ([MOMENT.replace(microsecond=0)], pa.timestamp("s", "+02:00"), ["2024-05-31T12:00:00Z"]),
        ([datetime.timedelta(days=1, milliseconds=500), None], pa.duration("ms"), ["86400.5", ""]),
        ([90], pa.duration("s"), ["90"]),
        ([["a"], ["b"]], None, ["a", "b"]),
        ([None, None], pa.null(), ["", ""]),
    ],
)
def test_texts(values, kind, texts):
    assert one(values, kind).texts("c") == texts


def test_texts_of_other_encodings():
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
    assert one(runs).texts("c") == ["a", "a", "b"]
    known = uuid.UUID(int=7)
    assert one(pa.array([known.bytes], pa.uuid())).texts("c") == [str(known)]


@pytest.mark.parametrize("values", [[["a", "b"], ["c"]], [{"a": 1}], [["a"], None]])
def test_lists_are_no_texts(values):
    with pytest.raises(
        DataError, match=r"t: the column 'c' holds lists or mappings, expected one text or num"
    ):
        one(values).texts("c")


def test_long_bytes_are_no_texts():
    with pytest.raises(
        DataError, match=r"t: the column 'c' holds 65 bytes that are not text in UTF-8: leave it"
    ):
        one([b"\xff" * 65]).texts("c")
    assert one([b"\xff" * 64]).texts("c") == ["ff" * 64]


def test_labels_that_spell_a_missing_value_are_missing():
    table = one(["ann", "nan", "NaT", "<NA>", "NA", "None", None, " "])
    assert table.labels("c") == ["ann", "", "", "", "NA", "None", "", ""]
    with pytest.raises(DataError, match=r"t, row 2 has no c: fill it in, or remove the row"):
        table.filled("c")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2], pa.int8(), [1.0, 2.0]),
        ([1, None], pa.int64(), [1.0, np.nan]),
        ([2**53, 1], pa.int64(), [2.0**53, 1.0]),
        ([0.5, None], pa.float16(), [0.5, np.nan]),
        ([True, None], None, [1.0, np.nan]),
        ([Decimal("0.25"), None], None, [0.25, np.nan]),
        ([None, None], pa.null(), [np.nan, np.nan]),
        (["1", "2"], None, None),
        ([1, 2], pa.timestamp("ns"), None),
        ([1, 2], pa.duration("s"), None),
        ([1, 2], pa.dictionary(pa.int8(), pa.int64()), None),
        ([["a"]], None, None),
    ],
)
def test_numbers(values, kind, expected):
    found = one(values, kind).numbers("c")
    if expected is None:
        assert found is None
    else:
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**53 + 1, -1], pa.int64()),
        ([2**64 - 1, 0], pa.uint64()),
        ([Decimal(2**53 + 1), Decimal(1)], pa.decimal128(20, 0)),
    ],
)
def test_whole_numbers_that_float64_does_not_hold_stay_whole(values, kind):
    found = one(values, kind).numbers("c")
    assert found.dtype.kind in "iu"
    assert found.tolist() == values
    beside_a_gap = one([*values, None], kind).numbers("c")
    assert beside_a_gap.tolist()[:-1] == values
    assert is_missing(beside_a_gap).tolist() == [False] * len(values) + [True]


def test_times_sort_in_their_order_whatever_their_unit():
    for kind in (pa.timestamp("ns"), pa.timestamp("s"), pa.duration("us"), pa.time64("ns"), pa.date64()):
        ticks = (
            [86_400_000 * 10**9 + 86_400_000, 86_400_000 * 10**9]
            if kind == pa.timestamp("ns")
            else [86_400_000, 0]
        )
        times = one(pa.array(ticks, pa.int64()).cast(kind)).times("c")
        assert times[0] > times[1]
    assert one([1700000000000000001, 1700000000000000000], pa.timestamp("ns")).times("c").tolist() == [
        1700000000000000001,
        1700000000000000000,
    ]
    assert one([5, 4]).times("c").tolist() == [5.0, 4.0]
    assert one(["2024"]).times("c") is None


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()), [[1, 2], [3, 4]]),
        ([[1, 2], None], pa.list_(pa.int64(), 2), [[1, 2], [np.nan, np.nan]]),
        ([[1, None], None, [3, 4]], pa.large_list(pa.int8()), [[1, np.nan], [np.nan, np.nan], [3, 4]]),
        ([[1], [2, 3]], None, None),
        ([["a"]], None, None),
        ([[]], pa.list_(pa.int8()), None),
        ([None], pa.list_(pa.int8()), None),
        ([1.0], None, None),
    ],
)
def test_lists_of_numbers_are_rows(values, kind, expected):
    found = one(values, kind).vectors("c")
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 2**60], pa.int64(), [1, None, 2**60]),
        ([0.5, float("nan")], None, [0.5, None]),
        (["007", ""], None, ["007", None]),
        ([True], None, [True]),
        (
            [Decimal("1.5"), Decimal("2"), Decimal("0.12345678901234567890")],
            None,
            [1.5, 2, "0.12345678901234567890"],
        ),
        ([datetime.date(2024, 5, 31), None], None, ["2024-05-31", None]),
        ([datetime.timedelta(seconds=90), datetime.timedelta(milliseconds=500)], None, [90, 0.5]),
        ([["a", "b"], None], None, [["a", "b"], None]),
        (
            [{"a": datetime.date(2024, 5, 31), "b": b"x", "c": Decimal("0.5")}],
            None,
            [{"a": "2024-05-31", "b": "x", "c": 0.5}],
        ),
    ],
)
def test_values_are_those_that_json_knows(values, kind, expected):
    found = one(values, kind).values("c")
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_values_that_json_does_not_know_are_named():
    with pytest.raises(DataError, match=r"t, row 1: the c cannot be stored .*: leave the column out"):
        one([[float("nan")]]).values("c")


def test_numbers_of_a_csv_file_that_begin_with_zeros_are_codes_and_not_features():
    columns = {"code": pa.chunked_array([["007", "12"]]), "year": pa.chunked_array([["2024", "0"]])}
    table = Columns("t.csv", columns, rows=2, written=columns)
    assert table.values("code") == ["007", "12"]
    assert table.values("year") == [2024, 0]
    assert table.numbers("code").tolist() == [7.0, 12.0]


def test_several_texts_in_a_cell():
    assert one(["Comedy|Drama", "", "War"]).several("c", "|") == [["Comedy", "Drama"], [], ["War"]]
    assert one([["Comedy", "Drama"], None, ["War", None]]).several("c", "|") == [
        ["Comedy", "Drama"],
        [],
        ["War"],
    ]
