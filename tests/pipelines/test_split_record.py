"""Which items a run was trained on, decided by what they are and not by what they are called."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.runs import rows
from trine.data import Dataset, Table, TripletTable, Vectors
from trine.errors import CalibrationError, DataError, ModelError
from trine.pipelines import (
    evaluate_on_judgements,
    evaluate_run,
    open_trained_run,
    part_of,
    train_on_judgements,
    train_run,
)
from trine.pipelines.split_record import trained_among, training_items
from trine.training import load_recipe

QUICK = {"training.steps": 3, "data.split": "stratified", "data.test": 0.5}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return rows([8] * 6, spread=0.5)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_run(data, load_recipe(overrides=QUICK), out=folder, progress=False)
    return folder


def without_content(run: Path, folder: Path) -> Path:
    """The run as an earlier version left it."""
    old = shutil.copytree(run, folder)
    (old / "model/trained_on.safetensors").unlink()
    record = json.loads((old / "split.json").read_text())
    del record["content"]
    (old / "split.json").write_text(json.dumps(record))
    return old


def shuffled(data: Dataset, seed: int = 0) -> tuple[Dataset, np.ndarray]:
    """The same rows in another order, named by their new place, and where each came from."""
    order = np.random.default_rng(seed).permutation(len(data))
    return replace(data.subset(order), names=data.names), order


def test_another_table_with_the_same_rows_and_labels_is_not_accused(run: Path, data: Dataset) -> None:
    other = rows([8] * 6, spread=0.5, seed=2)
    assert (other.names, other.identities) == (data.names, data.identities)
    positions, part = part_of(run, other, "auto")
    assert (len(positions), str(part), part.trained_on) == (48, "all items", 0)
    assert trained_among(run, other) == 0
    assert training_items(run, other, positions) is None
    with pytest.raises(DataError, match="is not the data that"):
        part_of(run, other, "test")
    evaluate_run(run, other, store_threshold=True, too_few="smallest", far=0.1, out=run / "other")


@pytest.mark.parametrize("part", ["train", "test", "auto"])
def test_rows_in_another_order_are_recognised(run: Path, data: Dataset, part: str) -> None:
    moved, order = shuffled(data)
    assert moved.names == data.names
    expected, described = part_of(run, data, part)  # type: ignore[arg-type]
    found, again = part_of(run, moved, part)  # type: ignore[arg-type]
    assert sorted(order[found].tolist()) == expected.tolist()
    assert again == described
    assert again.trained_on == (24 if part == "train" else 0)


def test_renamed_rows_are_recognised(run: Path, data: Dataset, tmp_path: Path) -> None:
    renamed = replace(data, names=tuple(f"photo {at}.png" for at in range(len(data))))
    np.testing.assert_array_equal(part_of(run, renamed, "test")[0], part_of(run, data, "test")[0])
    tested = part_of(run, data, "test")[0]
    np.testing.assert_array_equal(
        training_items(run, renamed, tested), np.setdiff1d(np.arange(len(data)), tested)
    )
    # With other labels they are other data, some of which was trained on.
    relabelled = replace(renamed, identities=tuple(reversed(data.identities)))
    assert str(part_of(run, relabelled, "auto")[1]) == "all items, 24 of them trained on"
    with pytest.raises(CalibrationError, match="was trained on 24 of these 48 items"):
        evaluate_run(run, relabelled, store_threshold=True, too_few="smallest", out=tmp_path)


def test_a_part_of_the_data_and_a_model_without_its_run(run: Path, data: Dataset, tmp_path: Path) -> None:
    alone = shutil.copytree(run / "model", tmp_path / "alone")
    trained = training_items(run, data, np.empty(0, dtype=np.int64))
    assert trained is not None
    some = data.subset([*trained[:5].tolist(), *np.setdiff1d(np.arange(48), trained)[:3].tolist()])
    for folder in (run, run / "model", alone):
        assert trained_among(folder, some) == 5
        assert str(part_of(folder, some, "auto")[1]) == "all items, 5 of them trained on"
    known = open_trained_run(alone).encoder.trained
    assert known is not None
    assert known.items(data).sum() == 24
    assert known.identities == set(data.identities)


def test_copies_in_two_parts_keep_their_parts(tmp_path: Path) -> None:
    data = rows([8] * 4, spread=0.5)
    doubled = np.repeat(data.items.rows[::2], 2, axis=0)  # type: ignore[attr-defined]
    data = replace(data, items=Vectors(doubled))
    report = train_run(data, load_recipe(overrides=QUICK), out=tmp_path / "run", progress=False)
    parts = json.loads((tmp_path / "run/split.json").read_text())["parts"]
    for part in ("train", "test"):
        names = [data.names[at] for at in part_of(tmp_path / "run", data, part)[0]]  # type: ignore[arg-type]
        assert sorted(names) == sorted(name for name, _ in parts[part])
    row = {name: bytes(doubled[at]) for at, name in enumerate(data.names)}
    trained = {row[name] for name, _ in parts["train"]}
    copies = sum(row[name] in trained for name, _ in parts["test"])
    assert 0 < copies < 16
    for each in (report, evaluate_run(tmp_path / "run", data)):
        assert f"test part, {copies} of them copies of items trained on (16 items" in str(each.part)
        assert each.part.trained_on == 0
    moved, _ = shuffled(data)
    found = {part: part_of(tmp_path / "run", moved, part)[0] for part in ("train", "test")}  # type: ignore[arg-type]
    assert len(np.intersect1d(found["train"], found["test"])) == 0
    for part in found:
        kept = moved.items.rows[found[part]]  # type: ignore[attr-defined]
        recorded = doubled[[data.names.index(name) for name, _ in parts[part]]]
        assert sorted(map(bytes, kept)) == sorted(map(bytes, recorded))


def test_columns_of_a_table_are_found_by_name(tmp_path: Path) -> None:
    base = rows([8] * 4, spread=0.5, features=3)
    columns = {name: base.items.rows[:, at].astype(float) for at, name in enumerate("abc")}  # type: ignore[attr-defined]
    data = replace(base, items=Table({**columns, "same": np.zeros(32)}, ("a", "b", "c", "same")))
    train_run(data, load_recipe(overrides=QUICK), out=tmp_path / "run", progress=False)
    turned = Table({"new": np.arange(32.0), "same": np.zeros(32), **dict(reversed(columns.items()))}, ("a",))
    assert len(part_of(tmp_path / "run", replace(data, items=turned), "test")[0]) == 16
    assert open_trained_run(tmp_path / "run").encoder.trained.columns == ("a", "b", "c")  # type: ignore[union-attr]
    without = replace(data, items=Table(columns, ("a", "b", "c")))
    assert str(part_of(tmp_path / "run", without, "auto")[1]) == "all items, 16 of them trained on"


def test_a_run_of_an_earlier_version_goes_by_names(run: Path, data: Dataset, tmp_path: Path) -> None:
    old = without_content(run, tmp_path / "old")
    np.testing.assert_array_equal(part_of(old, data, "test")[0], part_of(run, data, "test")[0])
    other = rows([8] * 6, spread=0.5, seed=2)
    assert str(part_of(old, other, "auto")[1]) == "test part"
    renamed = replace(data, names=tuple(f"photo {at}.png" for at in range(len(data))))
    assert str(part_of(old, renamed, "auto")[1]) == "all items"
    assert trained_among(old, data) == 24
    assert open_trained_run(old).encoder.trained is None


@pytest.mark.parametrize("change", [{"content": {}}, {"content": 3}, {"parts": [1]}, {"parts": None}])
def test_a_damaged_record_is_named(
    run: Path, data: Dataset, tmp_path: Path, change: dict[str, object]
) -> None:
    damaged = shutil.copytree(run, tmp_path / "run")
    record = json.loads((damaged / "split.json").read_text())
    (damaged / "split.json").write_text(json.dumps(record | change))
    with pytest.raises(ModelError, match=r"split.json is damaged .* delete it and use part='all'"):
        part_of(damaged, data, "auto")


def test_judgements_are_known_by_the_content_of_their_items(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shoes = Vectors(random.normal(size=(12, 8)).astype(np.float32))
    names = tuple(f"shoe {i}" for i in range(12))
    data = Dataset(shoes, np.full(12, -1), (), names, root="shoes")
    judged = [random.permutation(12)[:3] for _ in range(60)]

    def table(names: tuple[str, ...]) -> TripletTable:
        return TripletTable("people", *zip(*[[names[at] for at in row] for row in judged], strict=True))

    recipe = load_recipe("judgements", overrides={"training.steps": 3})
    trained = train_on_judgements(data, table(names), recipe, out=tmp_path / "run", progress=False)
    renamed = tuple(f"item {i}" for i in range(12))
    again = evaluate_on_judgements(tmp_path / "run", replace(data, names=renamed), table(renamed))
    assert str(again.part).startswith("test part")
    assert again.after.to_json() == trained.after.to_json()
    other = replace(data, items=Vectors(shoes.rows + 1))
    found = evaluate_on_judgements(tmp_path / "run", other, table(names))
    assert str(found.part) == "all 60 judgements of 12 items"
    assert found.part.trained_on == 0
