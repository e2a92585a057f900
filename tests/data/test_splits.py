from collections import Counter
from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.paths import SHARED_DATA
from trine.data import Dataset, IdentityLists, Split, Vectors, load, split
from trine.errors import DataError, SettingError


def dataset(labels: list[int], **columns: list[object]) -> Dataset:
    n = len(labels)
    return Dataset(
        items=Vectors(np.zeros((n, 1), dtype=np.float32)),
        labels=np.array(labels, dtype=np.int64),
        identities=tuple(str(i) for i in range(max(labels, default=0) + 1)),
        names=tuple(f"item {i}" for i in range(n)),
        columns={name: np.array(column) for name, column in columns.items()},
        root="made up",
    )


def parts(division: Split) -> list[list[int]]:
    return [p.tolist() for p in (division.train, division.validation, division.test)]


def is_partition(division: Split, n: int) -> bool:
    return sorted(chain.from_iterable(parts(division))) == list(range(n)) and all(
        p == sorted(p) for p in parts(division)
    )


labelled = st.lists(st.integers(0, 30), min_size=1, max_size=120)
fractions = st.sampled_from([(0.25, 0.0), (0.2, 0.2), (0.5, 0.25), (0.1, 0.0)])


@given(labelled, fractions, st.integers(0, 5))
def test_identity_parts_share_no_identity(
    labels: list[int], fraction: tuple[float, float], seed: int
) -> None:
    test, validation = fraction
    known = len(set(labels))
    wanted = [max(2, round(f * known)) if f else 0 for f in (validation, test)]
    data = dataset(labels)
    if known - sum(wanted) < 2:
        with pytest.raises(DataError, match=r"are too few for|expected at least two to tell apart"):
            split(data, method="identity", test=test, validation=validation, seed=seed)
        return
    division = split(data, method="identity", test=test, validation=validation, seed=seed)
    assert is_partition(division, len(labels))
    who = [{labels[i] for i in part} for part in parts(division)]
    assert [len(w) for w in who[1:]] == wanted
    assert not any(a & b for a, b in combinations(who, 2))


@given(labelled, fractions, st.integers(0, 5))
def test_stratified_parts_divide_each_identity(
    labels: list[int], fraction: tuple[float, float], seed: int
) -> None:
    test, validation = fraction
    # With three of each no part can stay empty.
    labels = [*labels, *range(31), *range(31), *range(31)]
    data = dataset(labels)
    division = split(data, method="stratified", test=test, validation=validation, seed=seed)
    assert is_partition(division, len(labels))
    for identity, number in Counter(labels).items():
        held = [sum(labels[i] == identity for i in part) for part in parts(division)]
        assert held[0] >= 1
        for have, share in zip(held, (1 - test - validation, validation, test), strict=True):
            assert abs(have - share * number) < 1 + 1e-9


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=60, max_size=120), st.integers(0, 3)
)
def test_groups_never_straddle_parts(rows: list[tuple[int, int]], seed: int) -> None:
    labels = [label for label, _ in rows]
    groups = [f"{label}-{group}" for label, group in rows]
    assume(min(len({g for g, other in zip(groups, labels, strict=True) if other == i}) for i in range(5)) > 2)
    division = split(dataset(labels, group=groups), method="stratified", validation=0.2, seed=seed)
    assert is_partition(division, len(rows))
    where = [{groups[i] for i in part} for part in parts(division)]
    assert not any(a & b for a, b in combinations(where, 2))
    assert {labels[i] for i in division.train} == set(labels)


def test_equal_groups_are_divided_as_the_fractions_say() -> None:
    labels = [identity for identity in range(5) for _ in range(12)]
    groups = [f"{i // 3}" for i in range(60)]
    division = split(dataset(labels, group=groups), method="stratified", test=0.25)
    assert Counter(labels[i] for i in division.test) == dict.fromkeys(range(5), 3)


def test_an_empty_group_binds_nothing() -> None:
    division = split(dataset([0, 0, 1, 1] * 5, group=[""] * 20), method="stratified")
    assert len(division.test) == 5


def test_many_small_identities_still_make_a_test() -> None:
    division = split(dataset([i // 2 for i in range(38)]), method="stratified", test=0.25)
    assert abs(len(division.test) - 38 / 4) <= 1
    division = split(dataset([i // 3 for i in range(93)]), method="stratified", test=0.1)
    assert abs(len(division.test) - 9.3) <= 1


def test_the_column_decides() -> None:
    data = dataset([0, 0, 1, 1], split=["Train", "test", "val", " training"])
    assert parts(split(data)) == [[0, 3], [2], [1]]
    assert split(data).method == "column"
    # A column without validation: the part comes out of its training items.
    column = ["train"] * 40 + ["test"] * 10
    seen = split(dataset([i % 5 for i in range(50)], split=column), validation=0.2)
    assert (len(seen.train), len(seen.validation), len(seen.test)) == (32, 8, 10)
    new = dataset([i // 5 for i in range(50)], split=column)
    division = split(new, validation=0.25)
    assert not set(new.labels[division.validation]) & set(new.labels[division.train])
    assert len(division.validation) == 10
    assert division.test.tolist() == list(range(40, 50))


def test_auto_goes_by_the_number_of_identities() -> None:
    assert split(dataset([i // 4 for i in range(76)])).method == "stratified"
    assert split(dataset([i // 4 for i in range(80)])).method == "identity"


def test_the_seed_decides() -> None:
    data = dataset([i // 4 for i in range(160)])
    for method in ("identity", "stratified"):
        first, again, other = (parts(split(data, method=method, seed=s)) for s in (1, 1, 2))
        assert first == again
        assert first != other


@pytest.mark.parametrize(
    ("labels", "columns", "options", "error", "message"),
    [
        ([0, 0], {}, {}, DataError, r"made up has only 1 identity \('0'\): expected at least two"),
        (
            [0, 1, 2],
            {},
            {"method": "identity"},
            DataError,
            r"3 identities are too few .* 2 parts",
        ),
        ([0, 1], {}, {"method": "stratified"}, DataError, r"stratified split leaves no items for test"),
        ([0, 1], {}, {"method": "column"}, DataError, r"no column 'split' \(its columns: none\)"),
        ([0, 1], {"split": ["a", "test"]}, {}, DataError, r"item 0 has 'a' in the column 'split'"),
        ([0, 1], {"split": ["train"] * 2}, {}, DataError, r"column split leaves no items for test"),
        ([0, 1], {"split": ["test"] * 2}, {}, DataError, r"column split leaves no items for training"),
        ([0, 1], {}, {"method": "identities"}, SettingError, r"did you mean 'identity'\?"),
        (
            [0, 1],
            {},
            {"test": 0.6, "validation": 0.4},
            SettingError,
            r"must be below 1, given 0.6 \+ 0.4",
        ),
        ([0, 1], {}, {"seed": -1}, SettingError, "seed must be at least 0, given -1"),
    ],
)
def test_bad_requests(
    labels: list[int], columns: dict[str, list[object]], options: dict[str, object], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        split(dataset(labels, **columns), **options)  # type: ignore[arg-type]


def test_orl_keeps_ten_people_for_the_test() -> None:
    if not (SHARED_DATA / "faces_orl").exists():
        pytest.skip("real data faces_orl is not beside the checkout")
    data, _ = load(SHARED_DATA / "faces_orl")
    division = split(data)
    assert division.method == "identity"
    assert len(set(data.labels[division.test])) == 10
    assert len(division.train) == 300


@given(labelled, st.data())
def test_unknown_identities_are_in_the_test_alone(labels: list[int], data: st.DataObject) -> None:
    labels = labels * 8
    names = sorted({str(label) for label in labels})
    assume(len(names) >= 3)
    unknown = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(names) - 2, unique=True))
    division = split(dataset(labels), method="open", test=0.25, validation=0.2, unknown=unknown)
    assert is_partition(division, len(labels))
    strange = [place for place, label in enumerate(labels) if str(label) in unknown]
    assert set(strange) <= set(division.test.tolist())
    others = [place for place in range(len(labels)) if place not in strange]
    alone = split(
        dataset([labels[place] for place in others]), method="stratified", test=0.25, validation=0.2
    )
    assert division.train.tolist() == [others[place] for place in alone.train]
    assert division.validation.tolist() == [others[place] for place in alone.validation]


def test_unknown_identities_are_drawn_by_the_seed() -> None:
    data = dataset(list(range(6)) * 4)

    def drawn(seed: int) -> set[int]:
        division = split(data, method="open", unknown=2, seed=seed)
        return set(data.labels.tolist()) - set(data.labels[division.train].tolist())

    assert all(len(drawn(seed)) == 2 and drawn(seed) == drawn(seed) for seed in range(8))
    assert len({tuple(sorted(drawn(seed))) for seed in range(8)}) > 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "open"}, SettingError, r"the open split does not go with unknown=None"),
        (
            {"method": "identity", "unknown": 2},
            SettingError,
            r"identity split does not go with unknown=2",
        ),
        (
            {"method": "open", "unknown": ["9"]},
            DataError,
            r"identity '9' is not in the data: .*known: 0, 1",
        ),
        ({"method": "open", "unknown": 2}, DataError, r"2 unknown identities of 3 cannot be set apart"),
        ({"method": "open", "unknown": 0}, DataError, r"0 unknown identities of 3 cannot be set apart"),
    ],
)
def test_unknown_identities_that_cannot_be_set_apart(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        split(dataset([0, 1, 2] * 4), **options)  # type: ignore[arg-type]


class TestNamed:
    """Against a division by hand: each identity looked up in each list."""

    @staticmethod
    def data(names: list[str], items: int = 2) -> Dataset:
        return replace(dataset([i for i in range(len(names)) for _ in range(items)]), identities=tuple(names))

    @given(st.lists(st.integers(0, 40), min_size=6, max_size=30, unique=True), st.integers(3, 20))
    def test_ranges_take_the_whole_numbers_between(self, numbers: list[int], cut: int) -> None:
        names = [str(number).zfill(1 + number % 4) for number in numbers]
        train = [i for i, number in enumerate(numbers) if 1 <= number <= cut]
        test = [i for i, number in enumerate(numbers) if cut < number <= 30]
        assume(train and test)
        named = IdentityLists(train=(f"1-{cut}",), test=(f"{cut + 1}-030",))
        division = split(self.data(names), method="named", named=named)
        assert division.train.tolist() == [i for who in train for i in (2 * who, 2 * who + 1)]
        assert division.test.tolist() == [i for who in test for i in (2 * who, 2 * who + 1)]
        assert not len(division.validation)

    def test_names_come_before_numbers_and_ranges(self) -> None:
        data = self.data(["1-3", "7", "007", "2", "ann"], items=1)
        named = IdentityLists(train=("1-3", 7), validation=("ann",), test=(2, "007"))
        assert parts(split(data, method="named", named=named)) == [[0, 1], [4], [2, 3]]
        named = IdentityLists(train=("0007",), test=("01-02",))
        assert parts(split(data, method="named", named=named)) == [[1, 2], [], [3]]

    def test_a_share_of_the_training_identities_is_set_apart(self) -> None:
        data = self.data([str(i) for i in range(20)])
        named = IdentityLists(train=("0-9",), test=("10-14",))
        division = split(data, method="named", named=named, validation=0.3)
        assert len(division.validation) == 6
        assert sorted([*division.train, *division.validation]) == list(range(20))
        assert division.test.tolist() == list(range(20, 30))

    @pytest.mark.parametrize(
        ("named", "sentence"),
        [
            (
                IdentityLists(("0-5",), (), ("5-9",)),
                r"identity '5' is in train_identities and, by '5-9'",
            ),
            (
                IdentityLists(("0-5",), (), ("20-29",)),
                r"test_identities lists '20-29', and made up",
            ),
            (
                IdentityLists(("0-5",), ("bob",), ("6",)),
                r"validation_identities lists 'bob', .*: 0, 1",
            ),
            (
                IdentityLists(("5-0",), (), ("6",)),
                r"range '5-0', which ends before .*: write '0-5'",
            ),
        ],
    )
    def test_names_that_cannot_be_used(self, named: IdentityLists, sentence: str) -> None:
        with pytest.raises(DataError, match=sentence):
            split(self.data([str(i) for i in range(12)]), method="named", named=named)

    def test_names_and_method_belong_together(self) -> None:
        data = self.data(["a", "b", "c", "d"])
        for method, named in [
            ("named", IdentityLists()),
            ("named", IdentityLists(train=("a",))),
            ("identity", IdentityLists(train=("a",), test=("b",))),
        ]:
            with pytest.raises(SettingError, match=r"some of each with 'named', and none with another"):
                split(data, method=method, named=named)  # type: ignore[arg-type]


def test_a_misspelt_identity_is_told_the_nearest_of_all() -> None:
    people = tuple(f"{name}{number}" for name in ("ann", "bob", "cem") for number in range(9))
    data = Dataset(Vectors(np.eye(27, dtype=np.float32)), np.arange(27), people, people)
    with pytest.raises(DataError, match=r"did you mean 'cem7'\? known: ann0, .*, bob0, \.\.\.$"):
        split(data, method="named", named=IdentityLists(train=("ann1",), test=("cemm7",)))
