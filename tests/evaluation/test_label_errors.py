"""The audit's votes equal counting them neighbour by neighbour, and wrong labels come first on real data."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import trine.evaluation.label_scores as module
from support.paths import SHARED_DATA
from trine.data import load
from trine.distances import DISTANCES
from trine.errors import InputError
from trine.evaluation import find_label_errors
from trine.evaluation.label_scores import label_scores
from trine.neighbours import nearest_neighbours

REID = SHARED_DATA / "reid_cuhk01"


def naive_votes(neighbours, labels):
    """The odds of each label, one neighbour after the other."""
    n, tallies, shares = len(labels), [], []
    for i in range(n):
        asked = list(neighbours[i])[: labels.count(labels[i]) - 1]
        tally = {}
        for rank, j in enumerate(asked, start=1):
            weight, heads = tally.get(labels[j], (0, 0))
            tally[labels[j]] = weight + 1 / rank, heads + 1
        tallies.append(tally)
        total = sum(weight for weight, _ in tally.values())
        shares.append({label: weight / total for label, (weight, _) in tally.items()})
    looks_like = []
    for i in range(n):
        others = [(-weight, label) for label, (weight, _) in tallies[i].items() if label != labels[i]]
        looks_like.append(min(others)[1] if others else -1)
    strongest = [shares[i].get(looks_like[i], 0) for i in range(n) if tallies[i]]
    anybody = sum(strongest) / len(strongest) if strongest else 0
    found = []
    for i, t in enumerate(looks_like):
        if t < 0:
            found.append(0)
            continue
        fellows = [j for j in range(n) if labels[j] == labels[i] and j != i]
        usual = sum(shares[j].get(t, 0) for j in fellows) + module.OTHERS * anybody
        usual /= len(fellows) + module.OTHERS
        for_other, for_own = tallies[i][t][0], tallies[i].get(labels[i], (0, 0))[0]
        odds = module.PRIOR * (for_other + module.DOUBT) / (for_own + module.DOUBT) / (usual + module.FLOOR)
        found.append(odds / (1 + odds))
    return found, looks_like, tallies


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=14),
    st.integers(1, 6),
)
def test_equals_the_naive_twin(points, k):
    rows = np.array([p[:2] for p in points], np.float64)
    labels = np.unique([p[2] for p in points], return_inverse=True)[1].astype(np.int64)
    neighbours = nearest_neighbours(rows, k=k).indices
    found = label_scores(neighbours, labels)
    score, looks_like, tallies = naive_votes(neighbours.tolist(), labels.tolist())
    np.testing.assert_allclose(found.score, score, atol=1e-12)
    # Where two others have as many votes, but for rounding, either will do.
    for i, other in enumerate(found.looks_like.tolist()):
        assert (other < 0) == (looks_like[i] < 0)
        if other >= 0:
            weight, heads = tallies[i][other]
            assert weight == pytest.approx(tallies[i][looks_like[i]][0])
            assert (found.for_other[i], found.for_own[i]) == (heads, tallies[i].get(labels[i], (0, 0))[1])


def naive_twins(rows, labels):
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(1)
    usual = np.median(nearest[nearest > 0])
    found = []
    for i in range(len(rows)):
        near = min((apart[i, j] for j in range(len(rows)) if labels[j] != labels[i]), default=np.inf)
        found.append(max(0.0, 1 - 2 * near / usual))
    return found


@pytest.mark.parametrize("name", DISTANCES)
def test_twins_are_found_whatever_the_distance(name):
    random = np.random.default_rng(0)
    rows = random.normal(size=(61, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[7], rows[33] = rows[20] + 0.01, rows[20]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = np.arange(61) % 12
    assert len({labels[i] for i in (7, 20, 33)}) == 3
    found = find_label_errors(rows, labels, distance=name, neighbours=60)
    # On the unit sphere all three distances say the same, one of them squared.
    np.testing.assert_allclose(found.twin_scores, naive_twins(rows, labels), atol=1e-6)
    assert found.twins[[7, 20, 33]].tolist() == [20, 33, 20]
    assert found.twin_distances[33] == pytest.approx(0, abs=1e-12)
    assert set(found.ranking[:3].tolist()) == {7, 20, 33}


def flipped(labels, share, seed=0):
    """Labels of which some are wrong, and which."""
    random = np.random.default_rng(seed)
    count = int(share * len(labels))
    wrong = random.choice(len(labels), count, replace=False)
    changed = labels.copy()
    changed[wrong] = (changed[wrong] + random.integers(1, labels.max() + 1, count)) % (labels.max() + 1)
    return changed, np.isin(np.arange(len(labels)), wrong)


@pytest.mark.parametrize(("share", "seed"), [(0.02, 0), (0.02, 1), (0.1, 0)])
def test_wrong_labels_come_first_on_digits(share, seed):
    digits = load_digits()
    labels, wrong = flipped(digits.target, share, seed)
    found = find_label_errors(digits.data, labels)
    assert wrong[found.ranking[: wrong.sum()]].mean() > 0.93
    suspects = found.suspects()
    assert 0.8 * wrong.sum() < len(suspects) < 1.3 * wrong.sum()
    assert np.mean([one.looks_like == str(digits.target[one.row]) for one in suspects]) > 0.85
    assert (np.diff([one.score for one in suspects]) <= 0).all()


def test_overlapping_classes_do_not_drown_a_wrong_label():
    random = np.random.default_rng(0)
    # Two classes that cannot be told apart, and a third far away with one item labelled as the first.
    rows = np.concatenate([random.normal(size=(200, 2)), random.normal(size=(101, 2)) + 20])
    labels = np.repeat(["coat", "pullover", "boot"], [100, 100, 101])
    labels[-1] = "coat"
    found = find_label_errors(rows, labels)
    assert found.ranking[0] == 300
    assert found.votes.score[300] > 0.5
    first = found.suspects(1)[0]
    assert (first.label, first.looks_like) == ("coat", "boot")
    assert "nearest 30: 30 of boot, none of coat" in first.evidence
    assert found.votes.score[:200].max() < 0.5


def test_neither_order_nor_names_nor_scale_matter():
    digits = load_digits()
    labels, _ = flipped(digits.target[:500], 0.04)
    rows = digits.data[:500] + np.random.default_rng(2).normal(size=(500, 64))  # no ties
    found = find_label_errors(rows, labels)
    order = np.random.default_rng(1).permutation(500)
    other = find_label_errors(rows[order] * 64, 10**17 - labels[order] * 10**15)
    np.testing.assert_allclose(other.scores, found.scores[order], atol=1e-9)
    again = find_label_errors(rows, labels.tolist())
    assert [str(one) for one in again.suspects(50)] == [str(one) for one in found.suspects(50)]


def test_one_picture_under_two_identities_comes_first():
    if not REID.is_dir():
        pytest.skip(f"the pictures of pedestrians are not at {REID}")
    pil = pytest.importorskip("PIL.Image")
    names = sorted(path.name for path in REID.glob("*.jpg"))
    pixels = [np.asarray(pil.open(REID / name).convert("L").resize((15, 40))).ravel() for name in names]
    labels = [name[:4] for name in names]
    found = find_label_errors(np.array(pixels, dtype=np.float32), labels, names=names)
    first = found.suspects(4)
    pairs = {(one.label, one.looks_like) for one in first}
    assert pairs == {("0162", "0257"), ("0257", "0162"), ("0231", "0331"), ("0331", "0231")}
    assert all(one.score == 1 and one.evidence.startswith("nearly identical to") for one in first)
    # Grey pixels hardly know a person: the votes are not to be believed, and nobody else is accused.
    assert found.likely == 4


def test_wrong_labels_of_clothes_come_first():
    try:
        data, _ = load("fashion-mnist")
    except InputError as error:
        pytest.skip(str(error))
    pixels = np.stack([data.items[i].ravel() for i in range(6000)]).astype(np.float32)
    labels, wrong = flipped(data.labels[:6000], 0.02)
    found = find_label_errors(pixels, labels)
    assert wrong[found.ranking[: wrong.sum()]].mean() > 0.65
    assert wrong[found.ranking[: wrong.sum() // 2]].mean() >= 0.9


def test_an_identity_of_one_item_has_no_vote_but_may_have_a_twin():
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [4.01]])
    found = find_label_errors(rows, ["a", "a", "a", "b", "b", "c"])
    assert found.votes.score[5] == 0
    assert found.twin_scores[5] == pytest.approx(1 - 0.02, abs=1e-6)
    assert found.suspects(1)[0].row in (4, 5)
    assert "nearly identical to row 4 of b" in next(one for one in found.suspects(6) if one.row == 5).evidence


def test_collapsed_embeddings_accuse_nobody():
    found = find_label_errors(np.ones((40, 3)), np.arange(40) % 2)
    assert (found.twins == -1).all()
    assert found.likely == 0
    assert (found.usual_distance, found.twin_scores.max()) == (0, 0)


def test_json_carries_the_suspects():
    rows = np.array([[0.0], [1.0], [2.0], [2.01], [9.0]])
    plain = json.loads(
        json.dumps(find_label_errors(rows, [3, 3, 3, 4, 4], names=list("vwxyz")).to_json(), allow_nan=False)
    )
    assert plain["protocol"].startswith("audit: ")
    assert (plain["items"], plain["identities"], plain["neighbours"], plain["likely_wrong"]) == (5, 2, 4, 2)
    first = plain["suspects"][0]
    assert (first["row"], first["item"], first["label"], first["looks_like"]) == (3, "y", "4", "3")
    assert first["neighbours"] == [2, 1, 0, 4]


def test_what_cannot_be_used_is_named():
    rows = np.zeros((3, 2))
    with pytest.raises(InputError, match="at least two identities, given 1"):
        find_label_errors(rows, [1, 1, 1])
    with pytest.raises(InputError, match="labels must hold one label for each of the 3 items"):
        find_label_errors(rows, [1, 2])
    with pytest.raises(InputError, match="names must have one entry for each of the 3 items, given 1"):
        find_label_errors(rows, [1, 1, 2], names=["a"])
    with pytest.raises(InputError, match="neighbours must be at least 1, given 0"):
        find_label_errors(rows, [1, 1, 2], neighbours=0)
    with pytest.raises(InputError, match="embeddings must be finite, row 1 holds NaN"):
        find_label_errors(np.array([[0.0], [np.nan], [1.0]]), [1, 1, 2])
    with pytest.raises(InputError, match="top must be at least 0, given -1"):
        find_label_errors(rows, [1, 1, 2]).suspects(-1)
