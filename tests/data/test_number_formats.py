"""Numbers of CSV files: every format against Python's own, and what is not decided is left alone."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data.number_formats import plain_numbers, read_numbers


def read(separator=";", **columns):
    given = {name: pa.chunked_array([pa.array(cells)]) for name, cells in columns.items()}
    found, notes = read_numbers(given, separator=separator)
    return {name: column.to_pylist() for name, column in found.items()}, notes


def test_plain_numbers_keep_their_type_and_their_digits():
    found, notes = read(
        whole=["1", " 2 ", "NA"],
        wide=["9007199254740993", "-9223372036854775808", ""],
        hash=["18446744073709551615", "1", "2"],
        share=["1e39", "1e-200", "NULL"],
        flags=["true", "False", ""],
        codes=["007", "1", "2"],
        signed=["+1", "-2", "3"],
        hexadecimal=["0x1F", "0x01", "0x02"],
        empty=["", "", ""],
    )
    assert notes == ()
    assert found == {
        "whole": [1, 2, None],
        "wide": [2**53 + 1, -(2**63), None],
        "hash": [2**64 - 1, 1, 2],
        "share": [1e39, 1e-200, None],
        "flags": [True, False, None],
        "codes": [7, 1, 2],
        "signed": [1, -2, 3],
        "hexadecimal": [31, 1, 2],
        "empty": [None, None, None],
    }


@pytest.mark.parametrize(
    "cells", [["a", "1"], ["2024-01-01", "2024-01-02"], ["1.2.3", "4"], ["-", "1"], ["e5", "1"]]
)
def test_texts_are_no_numbers(cells):
    assert read(a=cells) == ({}, ())


def test_whole_numbers_of_more_than_64_bits_are_codes():
    assert plain_numbers(pa.chunked_array([["18446744073709551616", "1"]])) is None
    assert read(a=["-9223372036854775809", "1"]) == ({}, ())


@pytest.mark.parametrize(
    ("separator", "columns", "expected"),
    [
        (";", {"a": ["1,5", "2,25"]}, {"a": [1.5, 2.25]}),
        (";", {"a": ["1.234,5", "12"]}, {"a": [1234.5, 12.0]}),
        (",", {"a": ["1,234.5", "12"]}, {"a": [1234.5, 12.0]}),
        ("\t", {"a": ["1 234,5", "12\u00a0345"]}, {"a": [1234.5, 12345.0]}),
        ("\t", {"a": ["12'345.5", "1"]}, {"a": [12345.5, 1.0]}),
        ("\t", {"a": ["1 234", "12 345"]}, {"a": [1234, 12345]}),
        (";", {"a": ["1,234", "2,500"]}, {"a": [1.234, 2.5]}),
        (",", {"a": ["1,234", "2,500"]}, {"a": [1234, 2500]}),
        ("|", {"a": ["1,234", "2,500"], "b": ["0,5", "1"]}, {"a": [1.234, 2.5], "b": [0.5, 1.0]}),
        ("|", {"a": ["1,234", "2,500"], "b": ["0.5", "1"]}, {"a": [1234, 2500], "b": [0.5, 1.0]}),
        (";", {"a": ["1.234", "12"], "b": ["0,5", "1"]}, {"a": [1234, 12], "b": [0.5, 1.0]}),
        (";", {"a": ["1.5", "12"], "b": ["0,5", "1"]}, {"a": [1.5, 12.0], "b": [0.5, 1.0]}),
        (";", {"a": [",5", "-1,5e3"]}, {"a": [0.5, -1500.0]}),
    ],
)
def test_commas_and_groups_of_thousands(separator, columns, expected):
    assert read(separator, **columns)[0] == expected


def test_the_user_is_told_how_numbers_were_read():
    assert read(a=["1,5"], b=["1.234"], c=["1"])[1] == (
        "numbers with a decimal comma: a",
        "numbers in groups of thousands: b",
    )
    found, notes = read("\t", a=["1,234", "2,500"])
    assert (found, notes) == ({}, ("not read as numbers, since 1,234 may be 1.234 or 1234: a",))


@given(
    numbers=st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 3)), min_size=1, max_size=8),
    comma=st.booleans(),
    group=st.sampled_from(["", " ", "'", "\u202f", "other"]),
)
def test_written_in_any_format_they_are_the_same_numbers(numbers, comma, group):
    group = {True: ".", False: ","}[comma] if group == "other" else group
    written = [f"{number:,.3f}" for number in [*numbers, 0.25, 1234.25]]
    marks = {",": group, ".": "," if comma else "."}
    cells = ["".join(marks.get(letter, letter) for letter in text) for text in written]
    found, _ = read("\t", a=cells, b=["0,5" if comma else "0.5"] * len(cells))
    assert found["a"] == [*numbers, 0.25, 1234.25]
