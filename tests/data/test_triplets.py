"""Tables of triplets: read by name, checked row by row, and dealt into batches."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data import TripletSampler, TripletTable, read_triplets
from trine.errors import DataError, SettingError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_items_are_found_by_name_in_either_kind_of_table(tmp_path: Path) -> None:
    names = ["ann/1.png", "ann/2.png", "bob/1.png", "row 7"]
    rows = [("ann/1.png", "ann/2.png", "bob/1.png"), ("row 7", "ann/1.png", "ann/2.png")]
    lines = ["anchor,d_ap,positive,negative", *(f"{a},0.5,{p},{n}" for a, p, n in rows)]
    columns = {"negative": [n for *_, n in rows], "anchor": [a for a, *_ in rows]}
    pq.write_table(pa.table({**columns, "positive": [p for _, p, _ in rows]}), tmp_path / "t.parquet")
    for path in (write(tmp_path / "t.csv", "\n".join(lines) + "\n"), tmp_path / "t.parquet"):
        table = read_triplets(path)
        assert len(table) == 2
        assert table.positions(names).tolist() == [[0, 1, 2], [3, 0, 1]]


def test_numbers_are_names_as_well(tmp_path: Path) -> None:
    table = read_triplets(write(tmp_path / "t.csv", "anchor,positive,negative\n007,7,70\n"))
    assert table.positions(["7", "70", "007"]).tolist() == [[2, 0, 1]]


def test_an_unknown_name_is_named_with_its_row() -> None:
    table = TripletTable("t.csv", ("a.png", "b.png"), ("b.png", "a.png"), ("c.png", "d.png"))
    with pytest.raises(
        DataError,
        match=r"^t.csv, row 2: the negative 'd.png' is not an item of the data; did you mean 'c.png'\?$",
    ):
        table.positions(["a.png", "b.png", "c.png"])
    with pytest.raises(
        DataError, match=r"the anchor 'a.png' is not an item of the data; items are named 'row 1'"
    ):
        table.positions(["row 1", "row 2"])
    with pytest.raises(DataError, match=r"the anchor 'a.png' is not an item .* there are no items$"):
        table.positions([])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            "anchor,positive\na,b\n",
            r"no column named negative, .*: a table of triplets has",
        ),
        ("t.csv", "anchor,positive,negative\n", r"t.csv has no rows below its header"),
        ("t.csv", "anchor,positive,negative\na,b,c\na,b,a\n", r"row 2 names one item twice \(a, b, a\)"),
        (
            "t.csv",
            "anchor,positive,negative\na,,c\n",
            r"row 1 has no positive: fill it in, or remove",
        ),
        ("t.txt", "", r"t.txt is not a table of triplets: expected a file that ends in .csv, "),
        ("t.parquet", "nothing", r"t.parquet is not a Parquet file, or it is damaged"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_triplets(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no table of triplets at .*t.csv: give the path"):
        read_triplets(tmp_path / "t.csv")


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3), st.integers(0, 3))
def test_each_triplet_comes_once_in_even_batches(count: int, size: int, world: int, epoch: int) -> None:
    if count < world:
        with pytest.raises(DataError, match=r"triplets for . processes: give each at least one"):
            TripletSampler(count, triplets=size, world_size=world)
        return
    ranks = []
    for rank in range(world):
        sampler = TripletSampler(count, triplets=size, seed=2, rank=rank, world_size=world)
        sampler.set_epoch(epoch)
        ranks.append(list(sampler))
        assert len(ranks[-1]) == len(sampler)
    everything = [number for batches in ranks for batch in batches for number in batch]
    assert Counter(everything) == Counter(range(count))
    together = [sum(len(batches[i]) for batches in ranks) for i in range(len(ranks[0]))]
    assert max(together) - min(together) <= 1
    assert max(len(batch) for batches in ranks for batch in batches) <= size


def test_seed_and_epoch_decide() -> None:
    sampler = TripletSampler(30, triplets=4, seed=1)
    first = list(sampler)
    second = list(sampler)
    assert second != first
    for epoch, batches in ((0, first), (1, second)):
        sampler.set_epoch(epoch)
        assert list(sampler) == batches
    resumed = TripletSampler(30, triplets=4, seed=1)
    resumed.load_state_dict(sampler.state_dict(epoch=1, batches=3))
    assert list(resumed) == second[3:]
    with pytest.raises(SettingError, match="saved with other data or other settings"):
        TripletSampler(30, triplets=5, seed=1).load_state_dict(sampler.state_dict())
    assert list(TripletSampler(30, triplets=4, seed=2)) != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"triplets": 0}, "triplets=0 is out of range: expected 1 or more"),
        ({"triplets": 2, "seed": -1}, "seed=-1 is out of range"),
        ({"triplets": 2, "rank": 1}, "rank=1 is out of range: expected below world_size=1"),
    ],
)
def test_bad_settings(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        TripletSampler(5, **settings)
    with pytest.raises(SettingError, match="epoch=-1 is out of range"):
        TripletSampler(5, triplets=1).set_epoch(-1)
