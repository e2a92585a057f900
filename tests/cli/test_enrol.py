"""Rows of tables from the command line: gaps, texts, other orders of columns."""

import csv
import json

import numpy as np
import pytest

from support.commands import answered, refused
from trine.data import LoadPolicy, load
from trine.encoders import EncoderRecipe, build_encoder, save

POLICY = LoadPolicy(missing="keep", repeated="skip")


def write(path, names, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    rows = [
        (f"family {i}", random.normal(5 * i), "" if i == 1 else random.normal(-5 * i), f"packer {i}")
        for i in (0, 0, 0, 1, 1, 1, 2, 2, 2)
    ]
    path = write(place / "known.csv", ("family", "size", "entropy", "packer"), [*rows, rows[0]])
    data, _ = load(path, label="family", categories=["packer"], policy=POLICY)
    save(build_encoder(data.items, recipe=EncoderRecipe(dimension=8, scaling="robust")), place / "model")
    return place


LOADING = ("--label", "family", "--categories", "packer")


def test_rows_are_enrolled_and_known_again_by_the_names_of_their_columns(folder, tmp_path, capsys):
    words = ("enrol", folder / "model", folder / "known.csv", "--gallery", tmp_path / "g", *LOADING)
    told = refused(capsys, *words)
    assert "3 rows with missing values: row 4 (column 'entropy' is empty)" in told
    assert "or keep them with --missing keep" in told
    told = answered(capsys, *words, "--missing", "keep", "--repeated", "skip")
    assert "kept: 3 rows with missing values (row 4 (column 'entropy' is empty)" in told
    assert "skipped: 1 row with the same content as another (row 10 = row 1)" in told
    with (folder / "known.csv").open() as file:
        known = list(csv.DictReader(file))
    asked = write(
        tmp_path / "asked.csv",
        ("packer", "note", "entropy", "size"),
        [(row["packer"], "new", row["entropy"], row["size"]) for row in known],
    )
    told = answered(capsys, "identify", asked, "--gallery", tmp_path / "g", "--threshold", "0.001", "--json")
    found = [json.loads(line)["identity"] for line in told.splitlines()]
    assert found == [row["family"] for row in known]
    less = write(tmp_path / "less.csv", ("size", "packer"), [(1, "packer 0"), (2, "packer 1")])
    told = refused(capsys, "identify", less, "--gallery", tmp_path / "g", "--threshold", "0.1")
    assert "no column 'entropy', which this encoder was trained on" in told
