"""Two towers: what they embed, recommend, save and refuse."""

import json

import numpy as np
import pytest
import torch

from trine import load
from trine.data import Features, Interactions
from trine.encoders import build_two_tower, load_two_tower, save
from trine.errors import InputError, ModelError


def some_towers(*, features=False, normalise=False, distance="euclidean", titles=True):
    user, item = np.array([0, 0, 1, 2]), np.array([1, 3, 3, 0])
    interactions = Interactions(
        "t", ("ann", "bob", "eve"), ("a", "b", "c", "d"), user, item, np.ones(4, dtype=bool)
    )
    known = None
    if features:
        values = np.arange(8, dtype=np.float32).reshape(4, 2)
        known = Features(("year", "kind=x"), values, ("A", "B", "C", "D") if titles else None, ())
    return build_two_tower(
        interactions, dimension=3, normalise=normalise, distance=distance, seed=5, items=known
    )


def test_embeddings_lie_in_the_unit_ball_or_on_its_surface():
    towers = some_towers(features=True)
    with torch.no_grad():
        towers.items.table[1] = torch.tensor([0.1, 0.2, 0.2])
        towers.items.weights.zero_()
        towers.items.table[2] = torch.tensor([3.0, 0.0, 4.0])
    rows = towers.embed("items")
    np.testing.assert_allclose(rows[1], [0.1, 0.2, 0.2], rtol=1e-6)  # inside: as it is
    np.testing.assert_allclose(rows[2], [0.6, 0, 0.8], rtol=1e-6)  # outside: shortened
    lengths = np.linalg.norm(some_towers(normalise=True).embed("users"), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_features_are_added_by_a_linear_map():
    towers = some_towers(features=True)
    with torch.no_grad():
        towers.items.weights.mul_(0.1)
    table, weights = towers.items.table.detach().numpy(), towers.items.weights.detach().numpy()
    expected = table + np.arange(8, dtype=np.float32).reshape(4, 2) @ weights
    assert np.abs(expected - table).max() > 1e-3
    assert np.linalg.norm(expected, axis=1).max() < 1
    np.testing.assert_allclose(towers.embed("items"), expected, rtol=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
def test_what_is_nearest_and_not_met_is_recommended(distance):
    towers = some_towers(features=True, distance=distance)
    user, items = towers.embed("users")[0].astype(float), towers.embed("items").astype(float)
    if distance == "cosine":
        apart = 1 - items @ user / np.linalg.norm(items, axis=1) / np.linalg.norm(user)
    else:
        apart = ((items - user) ** 2).sum(1) ** (0.5 if distance == "euclidean" else 1)
    order = sorted(range(4), key=lambda i: apart[i])
    found = towers.recommend("ann", k=10)
    assert [each.item for each in found] == ["abcd"[i] for i in order if i not in (1, 3)]
    assert [each.title for each in found] == ["ABCD"[i] for i in order if i not in (1, 3)]
    np.testing.assert_allclose(
        [e.score for e in found], [apart[i] for i in order if i not in (1, 3)], rtol=1e-4
    )
    assert [each.item for each in towers.recommend("ann", k=3, seen=True)] == ["abcd"[i] for i in order[:3]]


def test_alike_items_are_the_nearest_others():
    towers = some_towers()
    items = towers.embed("items")
    order = np.argsort(np.linalg.norm(items - items[2], axis=1))
    found = towers.similar_items("c", k=2)
    assert [each.item for each in found] == ["abcd"[i] for i in order[1:3]]
    assert found[0].title == ""


def test_saved_towers_are_the_same_and_are_no_encoder(tmp_path):
    towers = some_towers(features=True)
    save(towers, tmp_path / "model", metrics={"HR@10": 0.1}, trained_on="4 liked items")
    again = load_two_tower(tmp_path)
    assert again.fingerprint == towers.fingerprint
    assert np.array_equal(again.embed("users"), towers.embed("users"))
    assert again.recommend("bob") == towers.recommend("bob")
    card = (tmp_path / "model/README.md").read_text("utf-8")
    assert "two-tower model of 3 users and 4 items" in card
    assert "towers.recommend('ann', k=10)" in card
    with pytest.raises(ModelError, match=r"holds a two-tower model.*trine recommend"):
        load(tmp_path)


def test_a_damaged_folder_is_refused(tmp_path):
    save(some_towers(), tmp_path / "model")
    path = tmp_path / "model/settings.json"
    settings = json.loads(path.read_text("utf-8"))
    settings["encoder"]["users"] = ["ann", "bob", "joe"]
    path.write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ModelError, match="the fingerprint differs"):
        load_two_tower(tmp_path)
    settings["encoder"]["users"] = ["ann"]
    path.write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ModelError, match="do not match"):
        load_two_tower(tmp_path)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.recommend("joe"), "user 'joe' is not in the training data .3 users, such as 'ann'"),
        (lambda t: t.similar_items("z"), "item 'z' is not in the training data"),
        (lambda t: t.recommend("ann", k=0), "k must be at least 1"),
    ],
)
def test_bad_questions_are_refused(ask, message):
    with pytest.raises(InputError, match=message):
        ask(some_towers())


def test_another_word_than_users_and_items_is_refused(as_in_production):
    with pytest.raises(InputError, match="did you mean 'items'"):
        some_towers().embed("itms")


def test_features_of_other_items_are_refused():
    known = Features(("x",), np.zeros((2, 1), dtype=np.float32), None, ())
    one = Interactions("t", ("u",), ("i",), np.array([0]), np.array([0]), np.array([True]))
    with pytest.raises(InputError, match="features of items have 2 rows, expected 1"):
        build_two_tower(one, dimension=2, normalise=False, distance="euclidean", seed=0, items=known)
