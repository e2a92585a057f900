"""`trine train` on interactions, and `trine recommend` from what it made."""

import json

import numpy as np
import pytest

from support.commands import answered, refused
from trine.data import read_interactions
from trine.encoders import load_two_tower
from trine.gallery import Gallery
from trine.pipelines import enrol_items

SETTINGS = (
    *("training.epochs=3", "encoder.dimension=8", "interactions.batch=16"),
    *("interactions.candidates=10", "training.evaluate_every=5"),
)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    random = np.random.default_rng(0)
    rows = [
        f"{user},{item},{random.integers(3, 6)},{random.integers(0, 99)}"
        for user in range(12)
        for item in random.permutation(20)[:9]
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]), "utf-8")
    films = [f"{item},Film {item},{'Comedy' if item % 2 else 'War|Drama'}" for item in range(20)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]), "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(films):
    from trine.cli import main

    words = ("--recipe", "recommendation", "--item-table", films / "movies.csv", "--out", films / "run")
    assert main(["train", str(films / "ratings.csv"), *map(str, words), "--set", *SETTINGS]) == 0
    return films / "run"


def test_train_says_what_was_reached_and_a_run_recommends_what_was_not_met(films, run, capsys):
    figures = json.loads((run / "metrics.json").read_text("utf-8"))
    assert 0 <= figures["after_training"]["recommendation"]["hit_rate_at"]["10"] <= 1
    before, after = (figures[f"{when}_training"]["recommendation"] for when in ("before", "after"))
    assert before["users"] == after["users"] > 6
    held_out = json.loads((run / "held_out.json").read_text("utf-8"))
    assert held_out["test"].keys() == held_out["validation"].keys()
    interactions = read_interactions(films / "ratings.csv", at_least=4)
    met = {interactions.items[i] for u, i in interactions.pairs if interactions.users[u] == "3"}
    lines = answered(capsys, "recommend", run, "--user", "3", "-k", "20").splitlines()
    named = [line.rpartition("(")[2].rstrip(")") for line in lines]
    assert len(met) == 9
    assert set(named) == set(interactions.items) - met
    assert f"Film {named[0]}  ({named[0]})" in lines[0]
    again = answered(capsys, "recommend", run, "--user", "3", "-k", "99", "--seen").splitlines()
    assert len(again) == len(interactions.items)


def test_a_run_finds_items_like_an_item(run, capsys):
    answer = json.loads(answered(capsys, "recommend", run, "--item", "4", "-k", "3", "--json"))
    found = load_two_tower(run).similar_items("4", k=3)
    assert answer["item"] == "4"
    assert [hit["item"] for hit in answer["hits"]] == [each.item for each in found]
    assert answer["hits"][0]["title"] == f"Film {found[0].item}"


def test_items_enrolled_in_a_gallery_are_recommended_from_it(run, tmp_path, capsys):
    towers = load_two_tower(run)
    where = {"dimension": 8, "fingerprint": towers.fingerprint, "distance": towers.distance}
    with Gallery.open(tmp_path / "films.db", **where) as gallery:
        done = enrol_items(towers, gallery, metadata={"4": {"year": 1994}})
        assert done.new == 20
        assert gallery.get("4").metadata == {"title": "Film 4", "year": 1994}
    answer = answered(
        capsys, "recommend", "--like", "4", "-k", "3", "--gallery", tmp_path / "films.db", "--json"
    )
    expected = [each.item for each in towers.similar_items("4", k=3)]
    assert [hit["item"] for hit in json.loads(answer)["hits"]] == expected


def test_a_gallery_of_other_embeddings_is_refused(run, tmp_path):
    from trine.errors import GalleryError

    with (
        Gallery.open(tmp_path / "films.db", dimension=8, fingerprint="another") as gallery,
        pytest.raises(GalleryError, match="holds embeddings of another model"),
    ):
        enrol_items(load_two_tower(run), gallery)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--user", "joe"], "user 'joe' is not in the training data"),
        ([], "takes either --user or --item"),
        (["--user", "3", "--item", "4"], "takes either --user or --item"),
        (["--user", "3", "--like", "4"], "--like needs --gallery; leave it out"),
        (["--item", "3", "--seen"], "--seen needs --user; leave it out"),
        (["--user", "3", "--gallery", "g"], "recommend takes either"),
    ],
)
def test_questions_that_do_not_fit_are_refused(run, capsys, words, message):
    assert message in refused(capsys, "recommend", run, *words)


def test_what_belongs_to_a_gallery_or_to_labelled_items_is_refused(films, run, capsys, tmp_path):
    assert "recommend takes either" in refused(capsys, "recommend", "--user", "3")
    assert "--user needs the folder of a run" in refused(capsys, "recommend", "--user", "3", "--gallery", "g")
    assert "with --like" in refused(capsys, "recommend", "--gallery", "g")
    table = films / "ratings.csv"
    words = ("train", table, "--out", tmp_path / "run")
    given = refused(capsys, *words, "--item-table", table)
    assert "--item-table is for interactions, and this recipe is for labelled items" in given
    given = refused(capsys, *words, "--recipe", "recommendation", "--label", "rating")
    assert "--label is for labelled items, and this recipe is for interactions" in given
    assert "trine recommend" in refused(capsys, "evaluate", run, table)
