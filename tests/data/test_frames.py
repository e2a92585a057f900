"""Tables in memory, of pandas, polars and plain Python, are one table; what is none gets a sentence."""

import datetime
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from trine import Gallery
from trine.data import (
    LoadPolicy,
    Vectors,
    has_identities,
    load,
    read_interactions,
    read_metadata,
    read_pairs,
    read_triplets,
    source_kind,
    split,
)
from trine.data.content import content_digests
from trine.data.frames import arrow_column
from trine.encoders import EncoderRecipe, build_encoder
from trine.encoders.tabular import learn_table, prepare_rows
from trine.errors import DataError, InputError
from trine.evaluation import retrieval
from trine.labels import codes

COLUMNS = {
    "kind": ["ann", "bob", "ann", "bob"],
    "size": [1.5, 2.5, 3.5, 4.5],
    "code": [2**53 + 1, 2**53 + 2, 7, 8],
    "note": ["a", "b", "c", None],
    "id": ["r1", "r2", "r3", "r4"],
}
ROWS = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
FRAMES = {
    "mapping": COLUMNS,
    "arrays": {name: np.array(values) if name == "size" else values for name, values in COLUMNS.items()},
    "tensors": COLUMNS | {"size": torch.tensor(COLUMNS["size"]), "code": torch.tensor(COLUMNS["code"])},
    "rows": ROWS,
    "pandas": pd.DataFrame(COLUMNS),
    "nullable": pd.DataFrame(COLUMNS).convert_dtypes(),
    "index": pd.DataFrame(COLUMNS).set_index("id"),
    "to_dict": pd.DataFrame(COLUMNS).to_dict(),
    "polars": pl.DataFrame(COLUMNS),
    "lazy": pl.DataFrame(COLUMNS).lazy(),
    "arrow": pa.table(COLUMNS),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_all_tables_in_memory_are_one_table(kind):
    frame = FRAMES[kind]
    assert (source_kind(frame), has_identities(frame), has_identities(frame, label="kind")) == (
        "table",
        False,
        True,
    )
    data, report = load(frame, label="kind")
    assert data.identities == ("ann", "bob")
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert data.names == ("r1", "r2", "r3", "r4")
    assert data.items.features == ("size", "code")
    assert data.items.columns["code"].tolist() == COLUMNS["code"]
    assert data.items[3] == {"size": 4.5, "code": 8, "note": "", "id": "r4"}
    assert report.label == "column 'kind'"
    assert str(report).startswith(f"{report.source}: 4 rows of 2 identities in column 'kind', 2 each")


OBJECTS = {
    "times": ([datetime.time(1, 2)] * 2, ["01:02:00", "01:02:00"]),
    "durations": ([datetime.timedelta(seconds=5)] * 2, ["5", "5"]),
    "mixed": ([1, "a"], ["1", "a"]),
    "bytes": ([b"x", "é".encode()], ["x", "é"]),
    "uuids": ([uuid.UUID(int=1), None], [str(uuid.UUID(int=1)), ""]),
    "large": ([2**70, 1], [str(2**70), "1"]),
    "complex": ([1j, 2j], ["1j", "2j"]),
    "surrogates": (["\ud800", "a"], ["\\ud800", "a"]),
    "categories": (pd.Categorical(["u", None]), ["u", ""]),
    "numbers as categories": (pd.Categorical([2, 1]), ["2", "1"]),
    "moments": (pd.to_datetime(["2024-05-31", None]), ["2024-05-31T00:00:00", ""]),
    "periods": (pd.period_range("2024-05", periods=2, freq="M"), ["2024-05", "2024-06"]),
    "intervals": (pd.interval_range(0, 2), ["(0, 1]", "(1, 2]"]),
    "missing": ([pd.NA, pd.NaT], ["", ""]),
    "objects of polars": (pl.Series([uuid.UUID(int=1), None], dtype=pl.Object), [str(uuid.UUID(int=1)), ""]),
    "polars": (pl.Series(["u", None], dtype=pl.Categorical), ["u", ""]),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_is_no_number_is_kept_as_text_and_learned_from_only_if_asked(kind):
    values, texts = OBJECTS[kind]
    frame = {"label": ["x", "y"], "a": [1, 2], "c": values}
    if kind in ("moments", "missing", "categories"):
        frame = pd.DataFrame(frame)
    assert load(frame)[0].items.features == ("a",)
    known = LoadPolicy(missing="keep")
    chosen, _ = load(frame, categories=["c"], policy=known)
    assert chosen.items.features == ("a", "c")
    assert chosen.items.columns["c"].tolist() == texts


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (np.arange(4.0).reshape(2, 2), [[0, 1], [2, 3]]),
        ([[0.0, 1.0], [2.0, 3.0]], [[0, 1], [2, 3]]),
        ([np.array([0.0, 1.0]), np.array([2.0, 3.0])], [[0, 1], [2, 3]]),
        (pl.Series([[0.0, 1.0], [2.0, 3.0]], dtype=pl.Array(pl.Float32, 2)), [[0, 1], [2, 3]]),
        (torch.arange(4).reshape(2, 2).to(torch.bfloat16), [[0, 1], [2, 3]]),
    ],
)
def test_lists_of_numbers_become_a_feature_for_each_place(values, rows):
    data, _ = load({"label": ["x", "y"], "e": values})
    assert data.items.features == ("e[0]", "e[1]")
    assert data.items.rows.tolist() == rows


def test_texts_and_pictures_in_frames(tmp_path):
    from PIL import Image

    Image.new("L", (2, 2), 7).save(tmp_path / "a.png")
    data, _ = load(pd.DataFrame({"path": [tmp_path / "a.png"], "label": ["x"]}))
    assert data.kind == "images"
    texts, _ = load(pd.Series(["where is it?", "top up"]), labelled=False)
    assert texts.items.texts == ("where is it?", "top up")
    assert load({"sentence": ["a", "b"], "label": [1, 2]})[0].kind == "texts"


def test_features_and_labels_may_be_apart():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    for labels in (pd.Series(["x", "y"], index=[7, 8]), ["x", "y"], np.array(["x", "y"])):
        data, _ = load((frame, labels))
        assert (data.identities, data.items.features) == (("x", "y"), ("a", "b"))
    with pytest.raises(DataError, match=r"1 row without an identity: row 2;"):
        load((frame, ["x", None]))
    with pytest.raises(DataError, match=r"column 'label' has 3 values and column 'a' has 2"):
        load((frame, ["x", "y", "z"]))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            {"label": ["a"], "x": [1, 2]},
            "column 'x' has 2 values and column 'label' has 1: expected columns of eq",
        ),
        ({"label": {1, 2}}, "the column 'label' is a set, expected a list, an array or a series"),
        (pd.DataFrame(), "the DataFrame has no columns, expected at least one"),
        (pd.DataFrame({"label": [], "x": []}), "the DataFrame has no rows below its header"),
        (pd.DataFrame({"x": [1, 2]}), "the DataFrame has no column named label, .* its columns are x"),
        (pd.DataFrame([[1, 2]], columns=["label", "label"]), "the DataFrame has two columns named 'label'"),
        ({"label": ["a", None], "x": [1, 2]}, "1 row without an identity: row 2; .* unlabelled='skip'"),
        ({"label": [float("nan"), 1], "x": [1, 2]}, "1 row without an identity: row 1;"),
        (pd.DataFrame({"label": ["a", pd.NA], "x": [1, 2]}), "1 row without an identity: row 2;"),
        ({"label": ["a", "b"], "x": [object(), object()]}, "neither a path column .* nor columns of numbers"),
        (
            {"label": [object(), object()], "x": [1, 2]},
            "the column 'label' holds a object in row 1, expected a num",
        ),
        ({"label": [1, 2], "x": np.zeros((2, 2, 2))}, "neither a path column"),
        (
            {"label": [[1, "a"], [2, "b"]], "x": [1, 2]},
            "the column 'label' holds a list in row 1, expected a number",
        ),
    ],
)
def test_frames_that_cannot_be_used_get_a_sentence(frame, message):
    with pytest.raises(DataError, match=message):
        load(frame)


def test_an_encoder_finds_the_columns_of_a_frame():
    frame = pd.DataFrame(COLUMNS)
    data, _ = load(frame, label="kind")
    encoder = build_encoder(data.items, recipe=EncoderRecipe(dimension=2))
    rows = encoder.embed(data)
    shuffled = frame[["note", "code", "kind", "size"]]
    for same in (shuffled, pl.DataFrame(COLUMNS), COLUMNS, shuffled.to_dict("records"), pa.table(COLUMNS)):
        np.testing.assert_array_equal(encoder.embed(same), rows)
    for row in (shuffled.iloc[1], ROWS[1], shuffled.iloc[[1]], [shuffled.iloc[1]], [shuffled.iloc[[1]]]):
        np.testing.assert_allclose(encoder.embed(row), rows[1:2], atol=1e-6)
    with pytest.raises(
        InputError, match=r"a table of 4 rows is not one item: pass one of its rows, or the tab"
    ):
        encoder.embed([frame])
    with pytest.raises(
        InputError, match=r"the table has no column 'size', which this encoder was trained on"
    ):
        encoder.embed(frame[["code"]])


def test_a_row_may_hold_the_list_that_the_columns_came_from():
    frame = pd.DataFrame(
        {"identity": list("aabb"), "embedding": [[1.0, 2.0], [2.0, 1.0], [5.0, 6.0], [7.0, 5.0]]}
    )
    encoder = build_encoder(load(frame)[0].items, recipe=EncoderRecipe(dimension=2))
    rows = encoder.embed(frame)
    np.testing.assert_allclose(encoder.embed(frame.iloc[2]), rows[2:3], atol=1e-6)
    np.testing.assert_allclose(encoder.embed([{"embedding": np.array([7.0, 5.0])}]), rows[3:], atol=1e-6)
    with pytest.raises(InputError, match=r"item 0 has no column 'embedding\[1\]': .*known: embedding"):
        encoder.embed([{"embedding": [7.0]}])


def test_an_encoder_of_arrays_takes_the_numbers_of_a_frame():
    x = np.random.default_rng(0).normal(size=(6, 3))
    encoder = build_encoder(Vectors(x), recipe=EncoderRecipe(dimension=2))
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(label=range(6), note="n")
    np.testing.assert_allclose(encoder.embed(frame), encoder.embed(x), atol=1e-6)


def test_a_gallery_enrols_and_identifies_rows_of_a_frame(tmp_path):
    frame = pd.DataFrame(COLUMNS).rename(columns={"kind": "label"})
    encoder = build_encoder(load(frame)[0].items, recipe=EncoderRecipe(dimension=3))
    with Gallery.open(tmp_path / "g.db", encoder=encoder, threshold=0.01) as gallery:
        about = pd.DataFrame(
            {"item": ["r1", "r4"], "when": pd.to_datetime(["2024-05-31", None]), "zip": ["01234", "x"]}
        )
        assert len(gallery.enrol_dataset(frame, metadata=about)) == 4
        assert gallery.get("r1").metadata == {"when": "2024-05-31T00:00:00", "zip": "01234"}
        assert gallery.identify(frame.iloc[1]).identity == "bob"
        assert [found.identity for found in gallery.identify_many(pl.DataFrame(COLUMNS))] == COLUMNS["kind"]
        with pytest.raises(InputError, match=r"a table of 4 rows is not one item"):
            gallery.identify(frame)


def test_evaluation_takes_frames_and_series():
    frame = pd.DataFrame(
        {"label": ["a", "a", "b", "b"], "x": [0.0, 0.1, 5.0, 5.1], "y": [1.0, 1.0, 0.0, 0.0]}
    )
    assert retrieval(frame[["x", "y"]], frame["label"]).precision_at_1 == 1.0
    lazy = pl.DataFrame(frame.to_dict("list"))
    assert retrieval(lazy.select("x", "y"), lazy["label"]).precision_at_1 == 1.0
    assert codes(frame["label"].astype("category")).tolist() == [0, 0, 1, 1]


def test_other_tables_may_be_frames():
    assert read_interactions(pl.DataFrame({"user": ["u", "u"], "item": [1, 2]})).items == ("1", "2")
    assert read_pairs({"a": ["x"], "b": ["y"], "same": [True]}).same.tolist() == [True]
    assert read_triplets({"anchor": ["x"], "positive": ["y"], "negative": ["z"]}).negative == ("z",)
    assert read_metadata({"item": ["x"], "n": [2**60]}) == {"x": {"n": 2**60}}
    for read, of in ((read_interactions, "interaction"), (read_pairs, "pair"), (read_triplets, "triplet")):
        with pytest.raises(
            DataError, match=f"a int is not a table of {of}s: expected the path of a table, a Data"
        ):
            read(7)


def test_a_frame_is_split_as_a_data_set():
    frame = pd.DataFrame({"label": ["a", "b"] * 10, "x": range(20)})
    assert len(split(frame, method="stratified", test=0.5, validation=0.0).test) == 10
    with pytest.raises(InputError, match=r"split takes a Dataset, given 'digits': use trine.data.load"):
        split("digits")


def test_a_column_of_three_dimensions_is_named():
    with pytest.raises(
        DataError, match=r"c has shape \(2, 2, 2\), expected one value or one list for each row"
    ):
        arrow_column(np.zeros((2, 2, 2)), name="c")


@pytest.mark.parametrize(
    "make",
    [
        lambda ids: pd.DataFrame({"label": list("aabb"), "code": pd.array(ids, dtype="Int64")}),
        lambda ids: pd.DataFrame({"label": list("aabb"), "code": pd.Series(ids, dtype=object)}),
        lambda ids: pl.DataFrame({"label": list("aabb"), "code": ids}),
        lambda ids: {"label": list("aabb"), "code": ids},
    ],
    ids=["Int64", "object", "polars", "list"],
)
def test_whole_numbers_beside_a_missing_one_keep_every_digit(make):
    first = 2**53
    frame = make([first, first + 1, first + 2, None])
    assert read_metadata(frame_of_items(frame))["1"] == {"code": first + 1, "label": "a"}
    kept, report = load(frame, policy=LoadPolicy(missing="skip", repeated="skip"))
    assert [kept.items[at]["code"] for at in range(3)] == [first, first + 1, first + 2]
    assert report.repeated == ()
    with_gap, report = load(frame, policy=LoadPolicy(missing="keep"))
    assert report.missing == ("row 4 (column 'code' is empty)",)
    table = learn_table(with_gap.items, scaling="standard")
    features = prepare_rows(with_gap.items, table=table)
    single = prepare_rows([{"code": i} for i in (first, first + 1, first + 2, None)], table=table)
    assert features.tolist() == single.tolist()
    deviation = np.std([0, 1, 2])
    np.testing.assert_allclose(features[:, 0], [-1 / deviation, 0, 1 / deviation, 0], rtol=1e-6)
    assert features[:, 1].tolist() == [0, 0, 0, 1]
    assert len(np.unique(content_digests(with_gap.items), axis=0)) == 4


def frame_of_items(frame):
    """The same with the number of each row as its item."""
    if isinstance(frame, dict):
        return frame | {"item": list("0123")}
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(item=pl.Series(list("0123")))
    return frame.assign(item=list("0123"))
