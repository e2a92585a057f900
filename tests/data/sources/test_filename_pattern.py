"""What file names tell by a pattern, against names put together from their parts, and on real sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from support.paths import SHARED_DATA
from trine.data import LoadPolicy, load
from trine.data.sources.filename_pattern import Pattern
from trine.errors import DataError, SettingError

RE_ID = "{identity}_c{camera}_{*}"
words = st.text("ab09-é.", min_size=1, max_size=5)


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), value).save(path)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for value, name in enumerate(["0001_c1_1", "0001_c2_1", "0002_c1_1", "0002_c2_9", "0010_c2_1"]):
        picture(tmp_path / "people" / f"{name}.png", value)
    return tmp_path / "people"


@given(identity=words, camera=words, rest=st.text("ab09_c-", max_size=6), folder=words)
def test_a_name_put_together_is_taken_apart_again(identity: str, camera: str, rest: str, folder: str) -> None:
    told = {"identity": identity, "camera": camera}
    assert Pattern(RE_ID).read(f"{folder}/{identity}_c{camera}_{rest}.jpg") == told
    assert Pattern(RE_ID + ".jpg").read(f"{identity}_c{camera}_{rest}.jpg") == told
    assert Pattern("{identity}/{camera}/{*}").read(f"{folder}/{identity}/{camera}/{rest}.jpg") == told


@pytest.mark.parametrize(
    ("pattern", "path", "told"),
    [
        ("{identity}_c{camera}s{*}", "0002_c1s1_000451_03.jpg", {"identity": "0002", "camera": "1"}),
        ("{identity}_c{camera}s{*}", "-1_c3s2_000451_00.jpg", {"identity": "-1", "camera": "3"}),
        ("{identity}-{group}", "a/b/ann-film.2.png", {"identity": "ann", "group": "film.2"}),
        ("{identity}_{*}", "ann_.png", {"identity": "ann"}),
        ("{identity}", "a/ann.png", {"identity": "ann"}),
        ("{identity}/{*}", "ann/1.png", {"identity": "ann"}),
        ("x.{identity}", "x.ann.png", {"identity": "ann"}),
        ("{identity}+{camera}(1)", "a+b(1).png", {"identity": "a", "camera": "b"}),
        ("{identity}/{*}", "1.png", None),
        ("{identity}_c{camera}_{*}", "ann_c1.png", None),
        ("{identity}_c{camera}_{*}", "_c1_2.png", None),
        ("{identity}.jpg", "ann.png", None),
    ],
)
def test_what_a_name_tells(pattern: str, path: str, told: dict[str, str] | None) -> None:
    assert Pattern(pattern).read(path) == told


def test_identity_and_camera_come_from_the_names(people: Path) -> None:
    data, report = load(people, pattern=RE_ID)
    assert data.identities == ("0001", "0002", "0010")
    assert data.labels.tolist() == [0, 0, 1, 1, 2]
    assert data.columns["camera"].tolist() == ["1", "2", "1", "2", "2"]
    assert report.singletons == ("0010",)
    assert [int(data.items[i][0, 0, 0]) for i in range(5)] == [0, 1, 2, 3, 4]


def test_a_divided_folder_keeps_its_parts(tmp_path: Path) -> None:
    for value, name in enumerate(["train/a_1", "train/a_2", "test/b_1", "test/c_2"]):
        picture(tmp_path / f"{name}.png", value)
    data, _ = load(tmp_path, pattern="{identity}_{group}")
    assert data.columns["split"].tolist() == ["test", "test", "train", "train"]
    assert data.columns["group"].tolist() == ["1", "2", "1", "2"]


def test_a_name_that_does_not_fit_is_named_or_left_out(people: Path) -> None:
    picture(people / "thumbnail.png", 9)
    with pytest.raises(
        DataError,
        match=r"1 image whose name does not match the pattern '.*': thumbnail.png; .*='skip'",
    ):
        load(people, pattern=RE_ID)
    data, report = load(people, pattern=RE_ID, policy=LoadPolicy(unlabelled="skip"))
    assert report.unlabelled == ("thumbnail.png",)
    assert len(data) == len(data.columns["camera"]) == 5
    with pytest.raises(DataError, match=r"none of the 6 images of .* matches .*'0001_c1_1.png'"):
        load(people, pattern="{identity}/{camera}/{*}")


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (
            "{identiy}_{*}",
            r"unknown field {identiy}: did you mean 'identity'\? known: identity, camera",
        ),
        ("{camera}_{*}", r"does not say where the identity is: add {identity}"),
        ("{identity}_{identity}", r"has {identity} twice: leave one, or write {\*} for the other"),
        ("{identity}_c{camera", r"has a brace outside a field"),
        ("{identity}_c{camera}{*}", r"nothing between the fields in {camera}{\*}, so it is unclear"),
    ],
)
def test_patterns_that_cannot_be_used(people: Path, pattern: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        load(people, pattern=pattern)


def test_a_pattern_is_for_folders(people: Path) -> None:
    with pytest.raises(SettingError, match=r"but digits is not a folder: leave pattern out"):
        load("digits", pattern=RE_ID)
    with pytest.raises(SettingError, match=r"but .*0001_c1_1.png is not a folder: leave pattern out"):
        load(people / "0001_c1_1.png", pattern=RE_ID)


@pytest.mark.parametrize(("name", "people", "each"), [("reid_cuhk01", 485, 2), ("reid_pku", 74, 8)])
def test_real_sets_of_people_on_cameras(name: str, people: int, each: int) -> None:
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"real data {name} is not beside the checkout")
    data, _ = load(SHARED_DATA / name, pattern=RE_ID)
    assert len(data.identities) == people
    seen = Counter(zip(data.labels.tolist(), data.columns["camera"].tolist(), strict=True))
    assert set(seen.values()) == {each}
    assert set(np.unique(data.columns["camera"])) == {"1", "2"}
