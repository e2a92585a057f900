"""Labels of every type: what is missing is refused and named, and no label passes through a float."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from trine.data import PKSampler
from trine.errors import InputError
from trine.estimators import LMNN
from trine.evaluation import calibrate, clustering, identification, open_set, retrieval, verification
from trine.labels import checked, codes
from trine.mining import confusable_identities, mine_offline

ROWS = np.array([[0.0], [10.0], [20.0], [20.1], [10.1], [0.1]])
NAMES = ["ann", "bob", "cid", "cid", "bob", "ann"]
NUMBERS = [7, 2**53, 2**53 + 1, 2**53 + 1, 2**53, 7]


def with_gaps(values):
    """The same labels with gaps at 1 and 4, as lists, arrays and series hold them."""
    gappy = [None if at in (1, 4) else value for at, value in enumerate(values)]
    texts = isinstance(values[0], str)
    floats = [np.nan if value is None else value for value in gappy]
    yield "list of None", gappy
    yield "list of NaN", floats
    yield "tuple", tuple(gappy)
    yield "objects", np.array(gappy, dtype=object)
    yield "objects of NaN", np.array(floats, dtype=object)
    yield "pandas objects", pd.Series(gappy, dtype=object)
    yield "pandas", pd.Series(gappy)
    yield "pandas nullable", pd.Series(gappy, dtype="string" if texts else "Int64")
    yield "pandas categorical", pd.Series(gappy, dtype="category")
    yield "pandas NA", [pd.NA if value is None else value for value in gappy]
    yield "polars", pl.Series(gappy)
    yield "decimal", [Decimal("nan") if value is None else value for value in gappy]
    yield "NaT", [np.datetime64("NaT") if value is None else value for value in gappy]
    yield "pandas NaT", [pd.NaT if value is None else value for value in gappy]
    yield "masked", np.ma.masked_array(values, mask=[value is None for value in gappy])
    if texts:
        yield "blank", ["" if value is None else value for value in gappy]
        yield "spaces", [" \t" if value is None else value for value in gappy]
        yield "texts of NumPy", np.array(floats)
        yield "texts of pandas", pd.Series(floats).astype(str)
        yield "bytes", np.array([b"" if value is None else value.encode() for value in gappy])
    else:
        yield "floats", np.array(floats, dtype=np.float64)
        yield "tensor", torch.tensor(floats, dtype=torch.float64)


GAPPY = [*with_gaps(NAMES), *with_gaps(NUMBERS)]


@pytest.mark.parametrize(("kind", "labels"), GAPPY, ids=[kind for kind, _ in GAPPY])
def test_missing_labels_are_counted_and_named(kind, labels):
    with pytest.raises(
        InputError,
        match=r"^who must name every item, given .* at item 1, .* at item 4; expected an integer or a string "
        r"for each: fill in the missing 2 of 6, or remove these items$",
    ):
        checked(labels, items=6, name="who")


@pytest.mark.parametrize("values", [NAMES, NUMBERS])
def test_labels_without_gaps_are_numbered_alike_whatever_holds_them(values):
    texts = isinstance(values[0], str)
    forms = [
        *(values, tuple(values), np.array(values), np.array(values, dtype=object), pl.Series(values)),
        *(pd.Series(values), pd.Series(values, dtype="category"), np.ma.masked_array(values)),
        pd.Series(values, dtype="string" if texts else "Int64"),
        np.char.encode(np.array(values)) if texts else torch.tensor(values),
        [np.str_(value) if texts else np.int64(value) for value in values],
    ]
    for labels in forms:
        assert codes(labels).tolist() == [0, 1, 2, 2, 1, 0]


ENTRANCES = {
    "retrieval": lambda labels: retrieval(ROWS, labels),
    "verification": lambda labels: verification(ROWS, labels),
    "clustering": lambda labels: clustering(ROWS, labels, threshold=1.0),
    "calibrate": lambda labels: calibrate(ROWS, labels, far=0.1),
    "identification": lambda labels: identification(ROWS, labels, ROWS, NAMES),
    "gallery of open_set": lambda labels: open_set(ROWS, NAMES, ROWS, labels),
    "mine_offline": lambda labels: mine_offline(ROWS, labels),
    "confusable_identities": lambda labels: confusable_identities(ROWS, labels),
    "PKSampler": lambda labels: PKSampler(labels, identities=2, items=2),
    "LMNN": lambda labels: LMNN().fit(ROWS, labels),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", ["objects of NaN", "list of None", "pandas NA", "texts of NumPy"])
def test_every_entrance_refuses_a_missing_label(entrance, kind, as_in_production):
    with pytest.raises(InputError, match=r"given .* at item 1, .* at item 4; .*missing 2 of 6"):
        ENTRANCES[entrance](dict(with_gaps(NAMES))[kind])


def test_many_missing_labels_are_counted():
    with pytest.raises(InputError, match=r"None at item 0, None at item 1, None at item 2 and 1,997 more;"):
        codes([None] * 2000 + ["a"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "a"], "labels mix types"),
        ([1, 2.5], r"given 2\.5 at item 1; expected an integer or a string"),
        ([0.0, 1.0], "given float64; round floats to integers first"),
        ([["a"], ["b"]], r"given \['a'\] at item 0"),
        ([["a"], ["b", "c"]], r"given \['a'\] at item 0"),
        ([["a", "b"], ["c", "d"]], r"given \['a', 'b'\] at item 0"),
        (None, "must hold one label for each item, given a NoneType"),
        ({"a", "b"}, "must hold one label for each item, given a set"),
        (torch.tensor([1, 2], dtype=torch.bfloat16), "given float32; round floats to integers first"),
        (np.eye(2), r"must hold one label for each item, given \(2, 2\)"),
        (pd.DataFrame({"label": [1, 2]}), r"must hold one label for each item, given \(2, 1\)"),
        (np.array(["2024-01-01"], dtype="M8[ns]"), r"given datetime64\[ns\]; convert with \.astype\(str\)"),
        ([b"\xff", b"a"], r"must be UTF-8 where they are bytes, given b'\\xff' at item 0"),
        ([2**63, -1], r"signed 64-bit integers; give larger ones as strings"),
    ],
)
def test_what_is_no_label_is_refused(labels, message, as_in_production):
    with pytest.raises(InputError, match=message):
        codes(labels)


def test_bytes_are_the_texts_that_they_spell():
    texts, given = ["é", "é", "b", "b"], np.array(["é".encode(), "é".encode(), b"b", b"b"])
    report = retrieval(ROWS[:4], texts, references=ROWS[2:], reference_labels=given)
    assert report.names.tolist() == ["b", "é"]


def test_known_identities_do_not_fall_apart_where_all_are_named():
    labels = np.array([3, 1, 2, 2, 1, 3], dtype=object)
    assert retrieval(ROWS, labels).precision_at_1 == 1.0
    assert len(verification(ROWS, labels).genuine) == 3
