"""Generated tables, as files and in memory, and label columns: all that people have, right and wrong."""

import datetime
import gzip
import io
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
from hypothesis import strategies as st

ROWS = st.integers(0, 9)
NAMES = st.sampled_from(
    [
        "label",
        "y",
        "x",
        "class",
        "id",
        "name",
        "text",
        "path",
        "camera",
        "split",
        "size, cm",
        "größe",
        "a",
        "b",
        "",
    ]
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "ann", "007", "nan", "NA", "<NA>", "None", "1,5", "1.234,5", "a|b", 'say "x"', "é", "x.png"]
    ),
    st.text(max_size=6),
    st.text("ab,;|\t\r\n\"'#", max_size=6),
    st.from_regex(r"\A[+-]?[0-9]{1,22}(\.[0-9]{1,9})?(e[+-]?[0-9]{1,3})?\Z"),
    st.from_regex(r"\A[0-9]{1,3}([., ][0-9]{3}){0,2}([.,][0-9]{1,3})?\Z"),
)
MOMENTS = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31))
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-9, 9),
    st.floats(),
    st.sampled_from([2**53, 2**53 + 1, 1e-200, 1e39, 1e308, -0.0, 5e-324]),
)
SCALARS = st.one_of(
    st.none(),
    NUMBERS,
    TEXTS,
    st.booleans(),
    st.binary(max_size=5),
    st.decimals(allow_nan=True, allow_infinity=False, places=3, min_value=-1e9, max_value=1e9),
    MOMENTS,
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.integers(2**64, 2**70),
    st.sampled_from([pd.NA, pd.NaT, float("nan"), np.float32(0.1), np.int8(3), np.datetime64("NaT"), 1j]),
)
TYPES: list[tuple[Any, Any]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.int8(), st.integers(-9, 9)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.float16(), st.floats(width=16).map(np.float16)),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.dictionary(pa.int8(), pa.int64()), st.integers(-9, 9)),
    (pa.binary(), st.binary(max_size=80)),
    (pa.binary(4), st.binary(min_size=4, max_size=4)),
    (pa.decimal128(38, 4), st.decimals(-(10**20), 10**20, places=4)),
    (pa.date32(), st.dates()),
    (pa.time64("ns"), st.integers(0, 86_399_999_999_999)),
    (pa.time32("s"), st.times().map(lambda t: t.replace(microsecond=0, fold=0))),
    (pa.duration("ns"), st.integers(-(2**63) + 1, 2**63 - 1)),
    (pa.month_day_nano_interval(), st.just((1, 2, 3))),
    *((pa.timestamp(unit), st.integers(-(10**15), 10**15)) for unit in ("s", "ms", "us")),
    (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
    (pa.timestamp("us", "+02:00"), st.integers(-(10**15), 10**15)),
    (pa.list_(pa.float32()), st.lists(st.floats(width=32), max_size=3)),
    (pa.list_(pa.float64(), 2), st.lists(st.floats(), min_size=2, max_size=2)),
    (pa.list_(pa.string()), st.lists(TEXTS, max_size=2)),
    (pa.struct({"a": pa.int8()}), st.fixed_dictionaries({"a": st.integers(0, 9)})),
    (pa.map_(pa.string(), pa.int8()), st.just([("a", 1)])),
    (pa.null(), st.none()),
]
"""Types of Arrow with values for them."""


@dataclass(frozen=True)
class Drawn:
    """A generated table: a data frame or mapping, or the content of a file with its suffix."""

    table: Any = None
    content: bytes = b""
    suffix: str = ""


@st.composite
def labelled(draw: st.DrawFn, rows: int) -> dict[str, list[Any]]:
    """Often a column of labels and one of numbers, so that more than the label is looked at."""
    columns: dict[str, list[Any]] = {}
    if draw(st.integers(0, 4)):
        columns["label"] = draw(st.lists(st.sampled_from(["ann", "bob"]), min_size=rows, max_size=rows))
    if draw(st.integers(0, 4)):
        columns["n"] = draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows))
    return columns


@st.composite
def typed_tables(draw: st.DrawFn) -> pa.Table:
    """Tables of Arrow with columns of any type, often with a column of labels that repeat."""
    rows = draw(ROWS)
    columns = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)):
        kind, values = draw(st.sampled_from(TYPES))
        held = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[name] = pa.array(held, kind)
    return pa.table({name: pa.array(values) for name, values in draw(labelled(rows)).items()} | columns)


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """CSV files in any dialect: most are well formed, some are not."""
    mark = draw(st.sampled_from([",", ";", "\t", "|", ":"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    rows = draw(ROWS)
    columns = {name: list(map(str, values)) for name, values in draw(labelled(rows)).items()}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4)):
        cells = st.one_of(TEXTS, NUMBERS.map(str), st.dates().map(str))
        alike = draw(st.sampled_from([cells, TEXTS, NUMBERS.map(str), st.just("ann")]))
        columns[name] = draw(st.lists(alike, min_size=rows, max_size=rows))
    table = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    if draw(st.integers(0, 9)) == 0:
        table.append(draw(st.lists(TEXTS, max_size=7)))
    quote = draw(st.booleans())

    def written(cell: str) -> str:
        odd = any(letter in cell for letter in f'"\r\n{mark}')
        return '"' + cell.replace('"', '""') + '"' if quote or odd else cell

    lines = [mark.join(map(written, row)) for row in table]
    before = draw(st.sampled_from(["", "\n \n", f"sep={mark}\n", "# by a tool\n", "\ufeff"]))
    text = before + end.join(lines) + draw(st.sampled_from(["", end, end * 2]))
    encoding = draw(
        st.sampled_from(["utf-8", "utf-8", "utf-16", "utf-16-le", "latin-1", "cp1251", "utf-8-sig"])
    )
    content = text.encode(encoding, "replace")
    if draw(st.integers(0, 19)) == 0:
        content = draw(st.binary(max_size=40)) + content
    return content


@st.composite
def tables(draw: st.DrawFn) -> Drawn:
    """Tables of all kinds."""
    form = draw(
        st.sampled_from(["csv", "csv", "csv.gz", "parquet", "pandas", "polars", "arrow", "mapping", "rows"])
    )
    if form in ("csv", "csv.gz"):
        content = draw(csv_files())
        if form == "csv.gz":
            content = gzip.compress(content)
            if draw(st.integers(0, 9)) == 0:
                content = content[: len(content) // 2]
        return Drawn(content=content, suffix=draw(st.sampled_from([form, form.replace("csv", "tsv")])))
    if form in ("parquet", "arrow"):
        table = draw(typed_tables())
        if form == "arrow":
            return Drawn(table)
        file = io.BytesIO()
        pa.parquet.write_table(
            table.drop_columns([n for n in table.column_names if _unwritable(table, n)]), file
        )
        content = file.getvalue()
        if draw(st.integers(0, 19)) == 0:
            content = content[: draw(st.integers(0, len(content)))]
        return Drawn(content=content, suffix="parquet")
    rows = draw(ROWS)
    columns: dict[str, Any] = draw(labelled(rows))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    for name in names:
        values = (
            st.one_of(SCALARS, st.lists(st.floats(), max_size=2)) if form != "polars" else TEXTS | st.none()
        )
        alike = draw(
            st.sampled_from([values, NUMBERS, st.integers(0, 3), st.floats(), TEXTS, st.just("ann")])
        )
        columns[name] = draw(st.lists(alike, min_size=rows, max_size=rows))
    if form == "pandas":
        return Drawn(
            pd.DataFrame(
                {name: pd.Series(values, dtype=object) for name, values in columns.items()}
            ).infer_objects()
        )
    if form == "polars":
        return Drawn(
            pl.DataFrame({name: pl.Series(values, strict=False) for name, values in columns.items()})
        )
    if form == "rows":
        return Drawn([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    return Drawn(columns)


def _unwritable(table: pa.Table, name: str) -> bool:
    """Whether Parquet has no such type."""
    kind = table.schema.field(name).type
    return kind == pa.month_day_nano_interval() or (pa.types.is_duration(kind) and kind.unit == "s")


@st.composite
def written_tables(draw: st.DrawFn) -> tuple[bytes, dict[str, list[Any]]]:
    """Well-formed CSV files in any dialect, and the columns that they hold: numbers, texts, and "label"."""
    mark = draw(st.sampled_from([",", ";", "\t", "|"]))
    comma = mark != "," and draw(st.booleans())
    group = draw(st.sampled_from(["", " ", "'", *(["."] if comma else [])]))
    rows = draw(st.integers(2, 6))
    words = st.text("abcé ,;|\t\"'\n", min_size=1, max_size=6).map(lambda text: f"z{text}z")
    kinds = {
        "label": words,
        "size, cm": st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
        "wide": st.integers(-(2**63) + 1, 2**63 - 1),
        "größe": st.integers(-99, 99),
        "note": words,
    }
    columns: dict[str, list[Any]] = {
        name: draw(st.lists(values, min_size=rows, max_size=rows)) for name, values in kinds.items()
    }
    columns["size, cm"][:2] = [0.25, 1234.125]  # which tell a decimal mark from one of thousands
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"]
    encoding, end = draw(st.sampled_from(encodings)), draw(st.sampled_from(["\n", "\r\n"]))
    quote = draw(st.booleans())

    def cell(value: Any) -> str:
        if isinstance(value, float):
            marks = {",": group, ".": "," if comma else "."}
            value = "".join(marks.get(letter, letter) for letter in f"{value:,.3f}")
        text = str(value)
        odd = quote or any(letter in text for letter in f'"\r\n{mark}')
        return '"' + text.replace('"', '""') + '"' if odd else text

    before = draw(st.sampled_from(["", end, f"sep={mark}{end}", f"# made by a tool{end}", f"{end}  {end}"]))
    table = [list(columns), *zip(*columns.values(), strict=True)]
    text = before + "".join(mark.join(map(cell, row)) + end for row in table)
    return text.encode(encoding), columns


@st.composite
def label_columns(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    """Labels in any container, and what they are: None where one is missing."""
    texts = st.sampled_from(["ann", "bob", "é", "007", "7"])
    numbers = st.sampled_from([0, -1, 7, 2**53, 2**53 + 1, 2**62])
    values = draw(st.lists(draw(st.sampled_from([texts, numbers])), min_size=1, max_size=8))
    gaps = draw(st.booleans())
    truth = [None if gaps and draw(st.integers(0, 3)) == 0 else value for value in values]
    is_text = isinstance(values[0], str)
    blank = [
        None,
        float("nan"),
        pd.NA,
        pd.NaT,
        np.datetime64("NaT"),
        Decimal("nan"),
        *(["", "  ", "nan"] if is_text else []),
    ]
    given = [draw(st.sampled_from(blank)) if value is None else value for value in truth]
    forms = ["list", "tuple", "object", "pandas", "nullable", "category", "polars", "masked"]
    whole = [*forms, "array", "bytes" if is_text else "tensor"]
    form = draw(st.sampled_from(forms if None in truth else whole))
    return _held(form, given, truth, "string" if is_text else "Int64"), truth


def _held(form: str, given: list[Any], truth: list[Any], kind: str) -> Any:
    if form == "object":
        array = np.empty(len(given), dtype=object)
        array[:] = given
        return array
    if form == "masked":
        filled = [("" if kind == "string" else 0) if value is None else value for value in truth]
        return np.ma.masked_array(filled, mask=[value is None for value in truth])
    made = {
        "list": lambda: given,
        "tuple": lambda: tuple(given),
        "pandas": lambda: pd.Series(given, dtype=object),
        "nullable": lambda: pd.Series(truth, dtype=kind),
        "category": lambda: pd.Series(truth, dtype=object).astype("category"),
        "polars": lambda: pl.Series(truth),
        "array": lambda: np.array(given),
        "tensor": lambda: torch.tensor(given),
        "bytes": lambda: np.array([value.encode() for value in given]),
    }
    return made[form]()
