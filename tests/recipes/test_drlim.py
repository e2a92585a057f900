"""Hadsell, Chopra and LeCun's two recipes, in a small form: two dimensions, on digits never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from trine.data import Dataset, ImageArray, load
from trine.evaluation import knn_classification, retrieval
from trine.pipelines import evaluate_run, train_run
from trine.pipelines.split_record import part_of, training_items
from trine.report.selection import view
from trine.training import about_recipe, load_recipe


def pixels(data: Dataset) -> np.ndarray:
    assert isinstance(data.items, ImageArray)
    return data.items.pixels.reshape(len(data), -1).astype(np.float32)


def test_fours_and_nines_come_apart_on_a_plane_better_than_by_principal_components(tmp_path: Path) -> None:
    data, _ = load("digits")
    recipe = load_recipe("drlim", overrides={"training.steps": 80})
    assert (recipe.loss.name, recipe.loss.form, recipe.encoder.dimension) == ("contrastive", "squared", 2)
    report = train_run(data, recipe, out=tmp_path / "run", progress=False)
    found = report.after.knn_classification
    assert found is not None
    tested, _ = part_of(tmp_path / "run", data, "test")
    trained = training_items(tmp_path / "run", data, tested)
    assert trained is not None
    assert {data.identity(at) for at in (*tested, *trained)} == {"4", "9"}
    parts = data.subset(tested), data.subset(trained)
    plane = PCA(2, random_state=0).fit(pixels(parts[1]))
    flat = [plane.transform(pixels(part)) for part in parts]
    by_components = knn_classification(flat[0], parts[0].labels, flat[1], parts[1].labels, k=5)
    assert by_components.accuracy < found.accuracy
    assert found.accuracy > 0.97
    # The items of other digits are no part of the run, and evaluating it again is of the same items.
    again = evaluate_run(tmp_path / "run", data, out=tmp_path / "again").after.knn_classification
    assert again is not None
    assert (
        (again.accuracy, again.gallery) == (found.accuracy, found.gallery) == (found.accuracy, len(trained))
    )


def test_moved_digits_are_found_again_on_a_plane_and_never_among_the_pixels(tmp_path: Path) -> None:
    data, _ = load("shifted-digits")
    report = train_run(
        data,
        load_recipe("drlim-shifts", overrides={"training.steps": 120}),
        out=tmp_path / "run",
        progress=False,
    )
    assert report.before is not None
    assert report.before.retrieval.recall_at(1) < 0.05
    assert report.after.retrieval.recall_at(1) > 0.6
    assert report.after.knn_classification is None  # the digits of the test were never seen
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "The 2-D embeddings of" in page
    assert "t-SNE" not in page


def test_moved_digits_are_one_digit_at_five_places() -> None:
    still, _ = load("digits")
    moved, _ = load("shifted-digits")
    assert len(moved) == 5 * sum(still.identity(at) in ("4", "9") for at in range(len(still)))
    assert len(moved.identities) * 5 == len(moved)
    for at in range(40):
        number, place = int(moved.names[at].split()[1]), int(moved.names[at].split()[-1])
        picture = moved.items[at]
        assert picture.shape == (8, 12, 1)
        assert (picture[:, 2 + place : 10 + place] == still.items[number]).all()
        assert picture.sum() == still.items[number].sum()
        assert moved.identity(at) == f"{still.identity(number)} (item {number})"
    ranked = retrieval(pixels(moved), moved.labels, resamples=0)
    assert ranked.recall_at(1) < 0.05


def test_two_dimensions_are_their_own_map() -> None:
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(40, 2)), np.repeat(np.arange(4), 10)
    shown = view(x, labels)
    assert not shown.projected
    np.testing.assert_allclose(shown.points, x[shown.shown])
    on_a_circle = view(x, labels, distance="cosine")
    np.testing.assert_allclose(on_a_circle.points, x / np.linalg.norm(x, axis=1, keepdims=True))
    assert view(random.normal(size=(40, 3)), labels).projected


@pytest.mark.parametrize("name", ["drlim", "drlim-shifts"])
def test_both_say_where_they_are_from_and_what_to_expect(name: str) -> None:
    about = about_recipe(name)
    assert about is not None
    assert "Hadsell, Chopra, LeCun 2006" in about.source
    assert f"--recipe {name} " in about.command
    assert "principal components" in about.expects or "pixels" in about.expects
