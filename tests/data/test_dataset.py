import numpy as np
import pytest

from trine.data import Dataset, ImageArray, Items, Vectors
from trine.errors import DataError, InputError


def dataset(n: int = 5) -> Dataset:
    return Dataset(
        items=Vectors(np.arange(2 * n, dtype=np.float32).reshape(n, 2)),
        labels=np.arange(n) % 2,
        identities=("ann", "bob"),
        names=tuple(f"item {i}" for i in range(n)),
        columns={"camera": np.arange(n) * 10},
        root="made up",
    )


def test_a_subset_takes_every_part_in_the_order_given() -> None:
    part = dataset().subset(np.array([3, 0]))
    assert [part.items[i].tolist() for i in range(2)] == [[6.0, 7.0], [0.0, 1.0]]
    assert part.labels.tolist() == [1, 0]
    assert part.names == ("item 3", "item 0")
    assert part.columns["camera"].tolist() == [30, 0]
    assert part.identities == ("ann", "bob")
    assert part.identity(0) == "bob"
    assert part.root == "made up"
    assert len(dataset().subset([])) == 0


def test_collections_are_items_and_end_when_iterated() -> None:
    items = dataset().items
    assert isinstance(items, Items)
    with pytest.raises(IndexError):
        items[5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(4, dtype=np.int64)}, "labels has 4 entries for 5 items"),
        ({"names": ("a",)}, "names has 1 entries for 5 items"),
        ({"columns": {"camera": np.zeros(1)}}, "column 'camera' has 1 entries"),
        ({"labels": np.full(5, 2)}, "labels run from 2 to 2, expected indices into the 2 identities"),
        ({"labels": np.full(5, -1)}, "labels run from -1 to -1"),
        ({"names": ("a",) * 5}, "two items have the same name"),
    ],
)
def test_parts_must_fit(changes: dict[str, object], message: str) -> None:
    fields = dict(vars(dataset())) | changes
    with pytest.raises(DataError, match=message):
        Dataset(**fields)  # type: ignore[arg-type]


def test_pictures_have_one_or_three_channels() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 3, 8, 8\), .* move the channels to the last axis"):
        ImageArray(np.zeros((2, 3, 8, 8), dtype=np.uint8))


def test_a_dataset_is_shown_in_one_line() -> None:
    assert repr(dataset()) == "<Dataset: 5 vectors, 2 identities>"
