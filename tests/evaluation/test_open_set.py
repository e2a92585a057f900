"""Open-set identification equals its definition in plain loops."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.paths import SHARED_DATA
from support.reference import distance
from trine.errors import InputError
from trine.evaluation import open_set
from trine.evaluation.rate_intervals import mean_interval
from trine.neighbours import NEVER

ORL = SHARED_DATA / "faces_orl"


def named(probe, gallery, labels):
    """The identities in the order of their nearest embeddings, and how far each is."""
    ranked = sorted((distance(probe, row, "euclidean"), j) for j, row in enumerate(gallery))
    order = {}
    for far, j in ranked:
        order.setdefault(labels[j], far)
    return order


def twin(probes, labels, gallery, their_labels, rate, rank):
    """Tries every observed distance as a threshold, and keeps the largest that strangers allow."""
    known, strangers = [], []
    for probe, label in zip(probes, labels, strict=True):
        order = named(probe, gallery, their_labels)
        if label in order:
            known.append((order[label], 1 + list(order).index(label)))
        else:
            strangers.append(min(order.values()))
    best, threshold = 0.0, None
    for t in sorted(strangers + [far for far, _ in known]):
        if sum(far <= t for far in strangers) / len(strangers) <= rate:
            threshold = t
            best = sum(far <= t and place <= rank for far, place in known) / len(known)
    return best, threshold


item = st.tuples(st.integers(-3, 3), st.integers(-2, 2), st.integers(0, 7))


@given(
    probes=st.lists(item, min_size=2, max_size=14),
    gallery=st.lists(item.filter(lambda p: p[2] < 5), min_size=1, max_size=25),
    rate=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    rank=st.integers(1, 3),
)
def test_equals_the_twin_with_ties(probes, gallery, rate, rank):
    x, y = (np.array([p[:2] for p in side], float) for side in (probes, gallery))
    labels, theirs = ([p[2] for p in side] for side in (probes, gallery))
    if len({label in theirs for label in labels}) == 1:
        with pytest.raises(InputError, match="needs probes of both kinds, given no"):
            open_set(x, labels, y, theirs)
        return
    report = open_set(x, labels, y, theirs, depth=3)
    dir_, threshold = twin(x, labels, y, theirs, rate, rank)
    assert report.dir_at_fpir(rate, rank) == dir_
    assert report.threshold_at_fpir(rate) == (threshold and pytest.approx(threshold))
    curve = report.curve(rank)
    allowed = curve.dir[curve.fpir <= rate]
    assert (allowed[-1] if len(allowed) else 0.0) == dir_
    assert (np.diff(curve.dir) >= 0).all()
    assert (np.diff(curve.fpir) >= 0).all()


def test_ranks_count_identities_and_not_embeddings():
    gallery = np.concatenate([np.full((50, 1), 1.0), [[2.0], [3.0]]])
    labels = ["many"] * 50 + ["second", "third"]
    report = open_set(np.array([[0.0], [0.0], [9.0]]), ["second", "third", "x"], gallery, labels, depth=2)
    assert report.ranks.tolist() == [2, NEVER]
    assert report.distances.tolist() == [2.0, 3.0]
    assert report.dir_at_fpir(1.0) == 0.0
    assert report.dir_at_fpir(1.0, 2) == 0.5


@pytest.mark.skipif(not ORL.is_dir(), reason=f"the ORL faces are not at {ORL}")
def test_equals_the_twin_on_faces():
    from PIL import Image

    paths = sorted(ORL.glob("s*/*.pgm"))
    x = np.stack([np.asarray(Image.open(p).resize((12, 14))).ravel() for p in paths]).astype(np.float64) / 255
    people = np.array([int(p.parent.name[1:]) for p in paths])
    enrolled = (people <= 30) & (np.arange(len(people)) % 2 == 0)
    given_ = (x[~enrolled], people[~enrolled], x[enrolled], people[enrolled])
    report = open_set(*given_, resamples=50)
    assert (len(report.distances), len(report.unknowns), report.identities) == (150, 100, 30)
    found = [report.dir_at_fpir(rate) for rate in (0.01, 0.1, 0.5)]
    assert found == [twin(*given_, rate, 1)[0] for rate in (0.01, 0.1, 0.5)]
    assert 0.1 < found[0] < found[2] < 1
    interval = report.interval("dir_at_fpir", 0.1)
    assert interval.low < found[1] < interval.high


def test_interval_equals_a_twin_that_lists_every_probe():
    random = np.random.default_rng(0)
    labels, theirs = random.integers(0, 9, 40), np.repeat(np.arange(6), 2)
    x, y = random.integers(0, 5, (40, 2)).astype(float), random.integers(0, 5, (12, 2)).astype(float)
    report = open_set(x, labels, y, theirs, resamples=30, seed=4)
    draws, people = np.random.default_rng(4), np.unique(labels)
    expected = []
    for _ in range(30):
        drawn = people[draws.integers(0, len(people), len(people))]
        rows = np.concatenate([np.flatnonzero(labels == one) for one in drawn])
        if len({label in theirs for label in labels[rows]}) == 2:
            expected.append(twin(x[rows], labels[rows], y, theirs, 0.3, 1)[0])
    drawn = report.resampled("dir_at_fpir", 0.3)
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], expected, atol=1e-12)
    assert np.std(expected) > 0


def two_groups(seed, known, unknown, sizes):
    """Probes of both kinds on a line: an identity of the gallery is as far away as its number."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(known + unknown), sizes)
    far = np.where(labels < known, 0.3, 1.0) * random.gamma(4, 0.25, len(labels))
    far += 0.3 * random.standard_normal(known + unknown)[labels]
    gallery = np.arange(known) * 100.0
    return (gallery[labels % known] + np.abs(far))[:, None], labels, gallery[:, None], np.arange(known)


def test_rates_of_a_threshold_equal_loops_and_their_intervals_hold_them():
    report = open_set(*two_groups(0, 12, 15, np.arange(27) % 5 + 1))
    for threshold in (0.0, 0.4, 0.9, 5.0):
        accepted = [far <= threshold for far in report.unknowns]
        assert report.fpir_at(threshold) == pytest.approx(sum(accepted) / len(accepted))
        found = [
            far <= threshold and rank <= 1 for far, rank in zip(report.distances, report.ranks, strict=True)
        ]
        assert report.dir_at(threshold) == pytest.approx(sum(found) / len(found))
        for metric, hits, labels in (
            ("fpir_at", accepted, report.unknown_labels),
            ("dir_at", found, report.labels),
        ):
            own = mean_interval(np.array(hits, float), labels)
            assert report.interval(metric, threshold).to_json() == pytest.approx(own.to_json())
            assert own.low <= getattr(report, metric)(threshold) <= own.high
            assert own.high > 0
            assert report.resampled(metric, threshold).shape == (report.resamples,)
    means = report.resampled("fpir_at", 0.9)
    assert means.std() > 0
    assert np.quantile(means, 0.025) < report.fpir_at(0.9) < np.quantile(means, 0.975)
    assert report.dir_at(report.threshold_at_fpir(0.2)) == report.dir_at_fpir(0.2)


def test_the_interval_at_a_rate_has_the_uncertainty_of_its_threshold():
    report = open_set(*two_groups(1, 12, 40, np.arange(52) % 5 + 1))
    both = report.interval("dir_at_fpir", 0.2)
    alone = report.interval("dir_at", report.threshold_at_fpir(0.2))
    assert both.low < alone.low
    assert both.high >= alone.high
    assert both.low > 0
    # None of 40 unknown identities is no evidence against 1 %: only the upper end is known.
    assert report.interval("dir_at_fpir", 0.01).low == 0
    assert report.interval("dir_at_fpir", 0.01).high < 1


def test_covers_where_numbers_are_uneven():
    sizes = np.maximum(1, np.round(60 * np.arange(1.0, 36) ** -1.1)).astype(int)
    mixed = np.random.default_rng(0).permutation(np.concatenate([sizes, sizes]))
    whole = open_set(*two_groups(10**6, 2000, 2000, np.full(4000, 3)), resamples=0)
    truth = {
        "fpir_at": whole.fpir_at(0.5),
        "dir_at": whole.dir_at(0.5),
        "dir_at_fpir": whole.dir_at_fpir(0.2),
    }
    studies, covered = 60, dict.fromkeys(truth, 0)
    for study in range(studies):
        report = open_set(*two_groups(study, 35, 35, mixed))
        for metric, true in truth.items():
            found = report.interval(metric, 0.2 if metric == "dir_at_fpir" else 0.5)
            covered[metric] += found.low <= true <= found.high
    assert min(covered.values()) / studies >= 0.93


def test_json_carries_counts_and_intervals():
    x, y = np.array([[0.1], [1.3], [1.6]]), np.array([[0.0], [1.0]])
    report = open_set(x, ["a", "b", "x"], y, ["a", "b"], at=(0.0, 1.0), resamples=10)
    found = json.loads(json.dumps(report.to_json()))
    assert found["dir_at_fpir"] == {"0": 1.0, "1": 1.0}
    assert found["threshold_at_fpir"]["1"] == pytest.approx(0.6)
    assert (found["known_probes"], found["unknown_probes"], found["gallery"]) == (2, 1, 2)
    assert found["intervals"]["dir_at_fpir"]["0"] == report.interval("dir_at_fpir", 0.0).to_json()
    lost = open_set(x[1:], ["b", "x"], y, ["a", "b"], at=(0.5,), resamples=1, seed=0)
    assert np.isnan(lost.resampled("dir_at_fpir", 0.5)).all()
    assert lost.interval("dir_at_fpir", 0.5).to_json() == [0.0, 1.0]  # of one unknown identity
    assert open_set(x, ["a", "b", "x"], y, ["a", "b"], resamples=0).to_json()["intervals"] is None


def test_what_cannot_be_used_is_named():
    x = np.zeros((2, 1))
    with pytest.raises(InputError, match="given no unknown probe among 2 probes; split identities"):
        open_set(x, [1, 2], x, [1, 2])
    with pytest.raises(InputError, match="given no known probe among 2 probes"):
        open_set(x, [1, 2], x, [3, 4])
    with pytest.raises(InputError, match="depth must be at least 1, given 0"):
        open_set(x, [1, 2], x, [1, 1], depth=0)
    report = open_set(x, [1, 2], x, [1, 1], depth=2)
    with pytest.raises(InputError, match="rank must be from 1 to 2, given 3"):
        report.dir_at_fpir(0.1, 3)
    with pytest.raises(InputError, match=r"rate must be a number >= 0 and <= 1, given 1\.5"):
        report.dir_at_fpir(1.5)
    with pytest.raises(InputError, match="unknown metric 'dir': did you mean 'dir_at'"):
        report.interval("dir")
    with pytest.raises(InputError, match="dir_at_fpir takes a rate and an optional rank"):
        report.interval("dir_at_fpir")
    with pytest.raises(InputError, match="fpir_at takes one threshold, given"):
        report.interval("fpir_at", 0.1, 1)
    with pytest.raises(InputError, match="rank must be from 1 to 2, given 3"):
        report.dir_at(0.1, 3)
