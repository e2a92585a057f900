"""Two towers: what they embed, recommend, save and refuse."""

import json

import numpy as np
import pytest
import torch

from trine import load
from trine.data import Features, Interactions
from trine.encoders import build_two_tower, load_two_tower, save
from trine.encoders.item_factors import item_factors, start_from_factors
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


def towers_of_liked(features=False):
    """Two tastes: the users 0 to 5 like a to d, the others e to h; all know i."""
    liked = np.array(
        [(u, i + 4 * (u // 6)) for u in range(12) for i in range(4) if (u + i) % 4]
        + [(u, 8) for u in range(12)]
    )
    users, items = tuple(f"u{u}" for u in range(12)), tuple("abcdefghij")
    interactions = Interactions("t", users, items, *liked.T, np.ones(len(liked), dtype=bool))
    known = None
    if features:
        taste = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0.5, 1], dtype=np.float32)
        known = Features(("first", "second"), np.stack([1 - taste, taste], axis=1), tuple("ABCDEFGHIJ"), ())
    towers = build_two_tower(
        interactions,
        dimension=6,
        normalise=True,
        distance="squared_euclidean",
        seed=5,
        items=known,
        liked=liked[::-1],
    )
    start_from_factors(towers, liked, ridge=2.0)
    return towers, liked


def test_the_factors_are_those_of_the_closed_form():
    random = np.random.default_rng(0)
    x = (random.random((30, 12)) < 0.3).astype(float)
    inverse = np.linalg.inv(x.T @ x + 3 * np.eye(12))
    ease = -inverse / np.diag(inverse)
    by, to = item_factors(np.argwhere(x), users=30, items=12, count=12, ridge=3.0)
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose((by @ to.T)[off], ease[off], atol=1e-9)
    few, _ = item_factors(np.argwhere(x), users=30, items=12, count=4, ridge=3.0)
    np.testing.assert_allclose(few @ few.T, by[:, :4] @ by[:, :4].T, atol=1e-9)


def test_users_by_their_items_rank_by_the_sum_of_inner_products():
    towers, liked = towers_of_liked()
    users, items = towers.embed("users"), towers.embed("items")
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1, rtol=1e-5)
    table = towers.users.table.detach().numpy()
    rows = np.stack([table[liked[liked[:, 0] == user, 1]].sum(0) for user in range(12)])
    expected = rows @ towers.items.table.detach().numpy().T / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(users @ items.T, expected, atol=1e-5)
    assert towers.recommend("u0", k=1)[0].item == "a"  # the one of its taste that it does not know
    assert towers.recommend("u7", k=1)[0].item == "f"


def test_a_left_out_item_and_dropout_change_the_bag_only():
    towers, _ = towers_of_liked()
    numbers = torch.tensor([0, 7, 0])
    items = torch.tensor([towers.settings.items.index(name) for name in ("b", "e", "c")])
    with torch.no_grad():
        rows = towers.users(numbers, without=items).numpy()
        dropped = towers.users(numbers, dropout=0.9, generator=torch.Generator().manual_seed(0))
        kept = towers.users(numbers, dropout=0.0)
    for row, user, item in zip(rows, numbers.tolist(), items.tolist(), strict=True):
        others = [name for name in towers.liked_by(f"u{user}") if name != towers.settings.items[item]]
        np.testing.assert_allclose(row, towers.fold_in(others), atol=1e-6)
    assert not torch.allclose(dropped, kept)


def test_a_new_user_is_folded_in_and_told_why():
    towers, _ = towers_of_liked(features=True)
    np.testing.assert_allclose(towers.fold_in(towers.liked_by("u3")), towers.embed("users")[3], atol=1e-6)
    found = towers.recommend_for(["a", "b"], k=3)
    assert {each.item for each in found} == {"c", "d", "i"}
    assert {each.title for each in found} == {"C", "D", "I"}
    reasons = towers.reasons(["e", "a", "b"], "c", k=3)
    assert {each.item for each in reasons[:2]} == {"a", "b"}
    assert reasons[0].title == reasons[0].item.upper()
    assert sum(each.share for each in reasons) == pytest.approx(1)
    assert towers.similar_items("a", k=4) == towers.recommend_for(["a"], k=4)


def test_a_new_item_is_embedded_by_its_features():
    towers, _ = towers_of_liked(features=True)
    new = towers.embed_new(np.array([[1, 0], [0, 1]], dtype=np.float32))
    first, second = towers.fold_in(["a"]), towers.fold_in(["e"])
    assert first @ new[0] > first @ new[1]
    assert second @ new[1] > second @ new[0]
    unseen = towers.embed_new(towers.items.features[9:].numpy())[0]
    np.testing.assert_allclose(towers.embed("items")[9], unseen, atol=1e-6)
    with pytest.raises(InputError, match=r"features have shape \(1, 3\), expected rows of 2 features"):
        towers.embed_new(np.zeros((1, 3), dtype=np.float32))


def test_users_by_their_items_are_saved_and_checked(tmp_path):
    towers, _ = towers_of_liked(features=True)
    save(towers, tmp_path / "model")
    again = load_two_tower(tmp_path / "model")
    assert again.fingerprint == towers.fingerprint
    np.testing.assert_array_equal(again.embed("users"), towers.embed("users"))
    with torch.no_grad():
        towers.users.liked[0, 0] = 11
    save(towers, tmp_path / "damaged")
    with pytest.raises(ModelError, match="in the order of users"):
        load_two_tower(tmp_path / "damaged")


def test_items_that_cannot_be_folded_in_are_refused():
    towers, _ = towers_of_liked()
    with pytest.raises(InputError, match="item 'z' is not in the training data"):
        towers.fold_in(["z"])
    for wrong in ([], "ab"):
        with pytest.raises(InputError, match="expected a list of at least one item"):
            towers.recommend_for(wrong)
    with pytest.raises(InputError, match="features have shape"):
        towers.embed_new(np.zeros((1, 2), dtype=np.float32))
    by_ids = some_towers()
    for call in (
        lambda: by_ids.fold_in(["a"]),
        lambda: by_ids.reasons(["a"], "b"),
        lambda: by_ids.liked_by("ann"),
    ):
        with pytest.raises(InputError, match="embeds users by the items they like; train with"):
            call()
