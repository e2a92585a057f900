"""What a model is said to be fit for: no useless one is called fit, and harm is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.evaluation import (
    clustering_from_assignment,
    knn_classification,
    leave_one_out,
    retrieval,
    triplet_accuracy,
    verification,
)
from trine.evaluation.intervals import Interval
from trine.report import Fitness, Learning, Metrics
from trine.report.verdict import Verdict, _by_share, _chance, _of_100, verdict_of


def items(identities=40, each=5, spread=0.3, seed=0, width=8):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), each)
    centres = np.random.default_rng(99).normal(size=(identities, width))
    return centres[labels] + spread * random.normal(size=(len(labels), width)), labels


def metrics(rows, labels, assignment=None):
    clusters = None if assignment is None else clustering_from_assignment(assignment, labels)
    return Metrics(
        retrieval(rows, labels),
        verification(rows, labels, at=(0.01,)),
        clusters,
        left_out=leave_one_out(rows, labels),
    )


def fitness(verdict: Verdict) -> dict[str, Fitness]:
    return {each.use: each.fitness for each in verdict.uses}


def test_a_good_model_is_fit_for_everything():
    rows, labels = items(identities=100, spread=0.1)
    verdict = verdict_of(metrics(rows, labels, labels))
    assert set(fitness(verdict).values()) == {Fitness.FIT}
    assert "fit for search (100 of 100 nearest items are right), identification" in str(verdict)
    assert "100 of 100 are named rightly where 1 % of strangers are named" in str(verdict)
    assert "not usable" not in str(verdict)
    assert verdict.advice == ""


def test_a_useless_model_is_fit_for_nothing():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 5)
    rows = random.normal(size=(200, 8))
    verdict = verdict_of(metrics(rows, labels, np.zeros(200, dtype=np.int64)))
    assert set(fitness(verdict).values()) == {Fitness.UNFIT}
    found = verification(rows, labels).tar_at_far(0.01)
    assert f"{100 * (1 - found):.0f} of 100 true matches are rejected at a false-accept rate of 1 %" in str(
        verdict
    )
    assert str(verdict).startswith("not usable for search (")
    assert "try more items and identities like these to train on" in str(verdict)


def test_search_of_two_classes_at_random_is_not_passed_off_as_half_right():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [180, 20])
    report = Metrics(retrieval(random.normal(size=(200, 3)), labels))
    search = verdict_of(report).uses[0]
    assert search.value is not None
    assert search.value > 0.7
    assert search.fitness is Fitness.UNFIT
    assert "82 of 100 by chance" in search.finding


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=6).filter(lambda sizes: max(sizes) > 1))
def test_chance_is_that_of_a_loop(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    found = retrieval(np.random.default_rng(0).normal(size=(len(labels), 2)), labels, resamples=0)
    shares = [
        np.mean([labels[other] == label for other in range(len(labels)) if other != at])
        for at, label in enumerate(labels)
        if sizes[label] > 1
    ]
    assert _chance(found) == pytest.approx(np.mean(shares))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=8))
def test_clusters_are_compared_with_the_better_of_alone_and_all_in_one(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    alone, together = np.arange(len(labels)), np.zeros_like(labels)
    scores = {
        name: clustering_from_assignment(assignment, labels, resamples=0).bcubed_f
        for name, assignment in (("every item alone", alone), ("all in one", together))
    }
    best = max(scores, key=lambda name: scores[name])
    shown = Metrics(
        retrieval=retrieval(np.eye(len(labels)), labels, resamples=0) if max(sizes) > 1 else None,
        clustering=clustering_from_assignment(together, labels),
    )
    if shown.retrieval is None:
        return
    (found,) = (each for each in verdict_of(shown).uses if each.use == "clustering")
    assert f"{best} {scores[best]:.2f}" in found.finding or scores["all in one"] == pytest.approx(
        scores["every item alone"]
    )
    assert found.fitness is Fitness.UNFIT


def test_clusters_that_are_right_are_fit_and_others_limited():
    rows, labels = items()
    merged = labels // 4
    verdicts = [verdict_of(metrics(rows, labels, assignment)) for assignment in (labels, merged)]
    assert [fitness(each)["clustering"] for each in verdicts] == [Fitness.FIT, Fitness.LIMITED]


@pytest.mark.parametrize(
    ("value", "low", "expected"),
    [
        (0.95, 0.9, Fitness.FIT),
        (0.95, None, Fitness.FIT),
        (0.95, 0.4, Fitness.LIMITED),
        (0.9, 0.5, Fitness.FIT),
        (0.899, 0.8, Fitness.LIMITED),
        (0.5, 0.1, Fitness.LIMITED),
        (0.499, 0.4, Fitness.UNFIT),
        (0.0, 0.0, Fitness.UNFIT),
    ],
)
def test_limits_of_a_share(value, low, expected):
    assert _by_share(value, None if low is None else Interval(low, 1.0)) is expected


@pytest.mark.parametrize(
    ("identities", "fit", "words"),
    [
        (100, Fitness.FIT, "where 1 % of strangers are named"),
        (99, Fitness.FIT, "where 1 % of strangers are named"),
        (98, Fitness.FIT, "where 5 % of strangers are named"),
        (18, Fitness.LIMITED, "where 10 % of strangers are named; 18 identities cannot show a smaller rate"),
        (8, Fitness.UNKNOWN, "8 identities are too few to say how many strangers would be named"),
    ],
)
def test_identification_is_judged_at_a_rate_that_the_strangers_can_show(identities, fit, words):
    rows, labels = items(identities=identities, each=3, spread=0.02)
    (found,) = (each for each in verdict_of(metrics(rows, labels)).uses if each.use == "identification")
    assert found.fitness is fit
    assert words in found.finding


def test_training_that_helped_did_harm_or_shows_nothing():
    labels = items()[1]
    good, bad = (metrics(items(spread=spread)[0], labels) for spread in (0.4, 0.8))
    again = metrics(items(spread=0.8, seed=1)[0], labels)
    against = "the features of the pretrained network, before training"
    found = {
        name: verdict_of(after, before, against=against, pretrained=True)
        for name, after, before in (("up", good, bad), ("down", bad, good), ("same", bad, again))
    }
    learning = {name: each.learning.learning for name, each in found.items()}
    assert learning == {"up": Learning.HELPED, "down": Learning.HARMED, "same": Learning.UNCLEAR}
    gain = good.retrieval.map_at_r - bad.retrieval.map_at_r
    assert f"training helped: MAP@R {gain:+.3f} (+" in str(found["up"])
    assert f"training did harm: MAP@R {-gain:+.3f} (-" in str(found["down"])
    assert "over the features of the pretrained network" in str(found["down"])
    assert "no gain by training is shown: MAP@R" in str(found["same"])
    assert "the pretrained network is kept where training does not help" in found["down"].advice
    assert "the pretrained network is kept where training does not help" not in found["up"].advice
    stored = json.loads(json.dumps(found["down"].to_json()))
    assert stored["learning"]["learning"] == "harmed"
    low, high = stored["learning"]["differences"]["MAP@R"]["interval"]
    assert low < -gain < high < 0
    assert stored["uses"]["verification"]["fitness"] == fitness(found["down"])["verification"]
    assert stored["sentence"] == str(found["down"])


def test_the_intervals_are_paired():
    rows, labels = items(spread=0.8)
    slightly = metrics(rows, labels)
    better = metrics(rows - 0.03 * (rows - items(spread=0.0)[0]), labels)
    verdict = verdict_of(better, slightly, against="itself")
    (name, change), *_ = verdict.learning.differences
    assert name == "MAP@R"
    apart = better.retrieval.interval("map_at_r"), slightly.retrieval.interval("map_at_r")
    assert apart[0].low < apart[1].high, "the separate intervals overlap"
    assert change.interval.low > 0
    assert verdict.learning.learning is Learning.HELPED


def test_items_that_were_trained_on_give_no_verdict():
    rows, labels = items(spread=0.1)
    verdict = verdict_of(metrics(rows, labels), metrics(rows, labels), against="x", trained_on=7)
    assert verdict.uses == ()
    assert verdict.learning is None
    because = "7 of these items were trained on; evaluate the test part or other data"
    assert str(verdict) == f"none, because {because}"


def test_identities_that_were_trained_on_are_named():
    rows, labels = items(spread=0.1)
    seen = replace(metrics(rows, labels), knn_classification=knn_classification(rows, labels, rows, labels))
    assert "identities of these items were trained on, so expect less for new ones" in str(verdict_of(seen))
    assert "trained on" not in str(verdict_of(metrics(rows, labels)))


def test_judgements_have_a_verdict_on_learning_alone():
    random = np.random.default_rng(0)
    triplets = np.array([random.permutation(30)[:3] for _ in range(400)])
    rows = random.normal(size=(30, 4))
    d = np.linalg.norm(rows[triplets[:, [0]]] - rows[triplets[:, 1:]], axis=2)
    triplets[d[:, 0] > d[:, 1]] = triplets[d[:, 0] > d[:, 1]][:, [0, 2, 1]]
    good, bad = (
        Metrics(triplet_accuracy=triplet_accuracy(each, triplets))
        for each in (rows, random.normal(size=(30, 4)))
    )
    verdict = verdict_of(good, bad, against="raw features, the best of 4")
    assert verdict.uses == ()
    assert "training helped: triplet accuracy +" in str(verdict)
    assert str(verdict).endswith("over raw features")
    assert str(verdict_of(good)) == ""


def test_a_looser_rate_is_suggested_where_it_helps():
    rows, labels = items(spread=0.75)
    found = metrics(rows, labels)
    pairs = found.verification
    assert pairs.tar_at_far(0.01) < 0.5 <= pairs.tar_at_far(0.1)
    rate = 0.05 if pairs.tar_at_far(0.05) >= 0.5 else 0.1
    assert f"a false-accept rate of {100 * rate:g} % (rejects" in verdict_of(found).advice
    loose = verdict_of(found, far=0.1)
    assert "a false-accept rate of 10 %" not in loose.advice


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.954, "95 of 100"),
        (0.0, "0 of 100"),
        (1.0, "100 of 100"),
        (0.004, "fewer than 1 of 100"),
        (0.997, "more than 99 of 100"),
    ],
)
def test_shares_in_words(share, words):
    assert _of_100(share) == words
