"""A run knows its data by content: under the same names and labels, other data is other data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.commands import draw_bars
from support.runs import rows
from trine.data import Dataset, Features, Interactions, Table, Texts, Vectors, load
from trine.encoders import EncoderRecipe, MlpSettings
from trine.errors import DataError, InputError, ModelError
from trine.training import Recipe, RunDir, SamplerRecipe, TrainingRecipe, fit
from trine.training.run_data import RunData

LABELS, IDENTITIES, NAMES = np.array([0, 0, 1]), ("ann", "bob"), ("x", "y", "z")


def table(**columns: Any) -> Dataset:
    held = {name: np.asarray(column) for name, column in columns.items()}
    return Dataset(Table(held, features=tuple(held)), LABELS, IDENTITIES, NAMES)


def texts(*held: str) -> Dataset:
    return Dataset(Texts(held), LABELS, IDENTITIES, NAMES)


def changes(before: Dataset, now: Dataset) -> list[str]:
    return RunData.of(before).changes(RunData.of(now))


def test_every_number_and_every_letter_counts() -> None:
    data = rows([3, 4], spread=0.5, features=5)
    assert isinstance(data.items, Vectors)
    assert changes(data, replace(data, items=Vectors(data.items.rows.astype(np.float64)))) == []
    for item in range(7):
        for feature in range(5):
            held = data.items.rows.copy()
            held[item, feature] = np.nextafter(held[item, feature], np.inf)
            expected = [f"1 training item has other content (row {item})"]
            assert changes(data, replace(data, items=Vectors(held))) == expected
    last = ["1 training item has other content (z)"]
    before = table(a=[1, 2, 3], b=["u", "v", "w"])
    assert changes(before, table(a=[1, 2, 3], b=["u", "v", "W"])) == last
    assert changes(before, table(a=[1, 2, 3], c=["u", "v", "w"])) == ["other columns"]
    assert changes(texts("a b", "c", "d"), texts("a b", "c", "e")) == last


def test_labels_names_and_order_count() -> None:
    data = texts("a", "b", "c")
    other = replace(data, labels=np.array([0, 1, 1]))
    assert changes(data, other) == ["1 training item has another identity (y)"]
    assert changes(data, data.subset([0, 2])) == ["1 training item is missing (y)"]
    assert changes(data.subset([0]), data) == ["2 training items are new (y, z)"]
    assert changes(data, data.subset([2, 1, 0])) == ["the items are in another order"]


def test_validation_items_and_triplets_count() -> None:
    data, held_out = texts("a", "b", "c"), texts("d", "e", "f")
    before = RunData.of(data, validation=held_out, triplets=np.array([[0, 1, 2]]))
    now = RunData.of(data, validation=texts("d", "e", "g"), triplets=np.array([[1, 0, 2]]))
    assert before.changes(now) == ["1 validation item has other content (z)", "other triplets"]
    assert before.changes(RunData.of(data, triplets=np.array([[0, 1, 2]]))) == [
        "3 validation items are missing (x, y, z)"
    ]


def test_interactions_and_features_count() -> None:
    user, item, liked = np.array([0, 1]), np.array([0, 1]), np.ones(2, dtype=np.bool_)
    data = Interactions("table", ("u", "v"), ("i", "j"), user, item, liked)
    films = Features(("year",), np.ones((2, 1), dtype=np.float32), None, ())
    newer = replace(films, values=films.values * 2)
    of, both = RunData.of_interactions, np.array([0, 1])
    before = of(data, both, items=films)
    assert before.changes(of(data, both, items=films)) == []
    assert before.changes(of(replace(data, item=item[::-1]), both, items=films)) == ["other interactions"]
    assert before.changes(of(replace(data, items=("i", "k")), both, items=films)) == ["other items"]
    assert before.changes(of(data, both[:1], items=films)) == ["other split"]
    assert before.changes(of(data, both, items=newer)) == ["other item features"]
    assert before.changes(of(data, both)) == ["other item features"]
    assert before.changes(of(data, both, items=films, users=films)) == ["other user features"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = texts("a", "b", "c")
    hostile = replace(data, names=("\udcff\n", "=1+1", "naïve"))
    held = RunData.of(hostile, validation=data, triplets=np.array([[0, 1, 2]]))
    held.write(tmp_path / "data")
    assert RunData.read(tmp_path / "data").digest == held.digest
    content = (tmp_path / "data").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "data").write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"is damaged .*, so it is unknown what the run was started on"):
            RunData.read(tmp_path / "data")


RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=5, mlp=MlpSettings((12,))),
    sampler=SamplerRecipe(identities=3, items=3),
    training=TrainingRecipe(steps=4, checkpoint_every=2),
)


def test_a_run_is_refused_other_content_under_the_same_names(tmp_path: Path) -> None:
    data = rows([8] * 5, spread=0.5)
    assert isinstance(data.items, Vectors)
    fit(data, RECIPE, out=tmp_path)
    held = data.items.rows.copy()
    held[17] *= 2
    with pytest.raises(DataError, match=r"items: 1 training item has other content \(row 17\);"):
        fit(replace(data, items=Vectors(held)), RECIPE, out=tmp_path, resume=True)
    fit(data, RECIPE, out=tmp_path, resume=True)
    RunDir(tmp_path).dataset.unlink()
    with pytest.raises(InputError, match=r"has no dataset\.safetensors, so it is unknown what"):
        fit(data, RECIPE, out=tmp_path, resume=True)


def test_pictures_are_known_by_their_pixels_not_by_their_files(tmp_path: Path) -> None:
    from PIL import Image

    folder = draw_bars(tmp_path / "bars")
    before = RunData.of(load(folder)[0])
    picture = folder / "bar2" / "3.png"
    with Image.open(picture) as opened:
        pixels = np.asarray(opened).copy()
    Image.fromarray(pixels).save(picture, compress_level=0)
    os.utime(folder / "bar0" / "0.png", ns=(0, 0))
    assert before.changes(RunData.of(load(folder)[0])) == [], "the same pixels in another file"
    stamp = picture.stat().st_mtime_ns
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(picture, compress_level=0)
    os.utime(picture, ns=(stamp, stamp))
    assert before.changes(RunData.of(load(folder)[0])) == ["1 training item has other content (bar2/3.png)"]
