"""What every report prints, and that what it prints is what its JSON holds."""

import numpy as np
import pytest

from trine.evaluation import (
    clustering,
    identification,
    knn_classification,
    open_set,
    recommendation,
    retrieval,
    triplet_accuracy,
    verification,
)
from trine.evaluation.listed_pairs import AtThreshold

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(1, 9), 4)
ROWS = RANDOM.normal(size=(9, 3))[LABELS] + RANDOM.normal(size=(32, 3))
SEEN = np.array([[user, 0] for user in range(32)])
HELD_OUT = np.array([[user, 1 + user % 5] for user in range(32)])


def reports(resamples):
    pairs = {"resamples": resamples, "at": (0.01, 0.1)}
    known = LABELS < 7
    gallery = ROWS[1::2][known[1::2]], LABELS[1::2][known[1::2]]
    few = {"resamples": resamples}
    measured = verification(ROWS, LABELS, **pairs)
    listed = np.argwhere(np.triu(np.ones((32, 32)), 1))
    folds = np.arange(len(listed)) % 4
    return {
        "retrieval": retrieval(ROWS, LABELS, at=(1, 5), **few),
        "verification": measured,
        "folds": verification(ROWS, LABELS, pairs=listed, fold=folds, **pairs),
        "threshold": AtThreshold(measured, 1.0, resamples=measured.resamples),
        "identification": identification(ROWS[::2], LABELS[::2], ROWS[1::2], LABELS[1::2], at=(1, 5), **few),
        "open_set": open_set(ROWS[::2], LABELS[::2], *gallery, at=(0.1,), **few),
        "clustering": clustering(ROWS, LABELS, threshold=0.8, **few),
        "knn_classification": knn_classification(ROWS[::2], LABELS[::2], ROWS[1::2], LABELS[1::2], **few),
        "recommendation": recommendation(ROWS, ROWS, held_out=HELD_OUT, seen=SEEN, at=(1, 5), **few),
        "triplet_accuracy": triplet_accuracy(ROWS, [[0, 1, 9], [4, 5, 13], [9, 8, 0]], **few),
    }


NAMES = sorted(reports(0))


@pytest.mark.parametrize("resamples", [0, 20])
@pytest.mark.parametrize("name", NAMES)
def test_a_report_prints_the_metrics_and_intervals_of_its_json(name, resamples):
    report = reports(resamples)[name]
    plain = report.to_json()
    title, facts, *lines = str(report).splitlines()
    assert title == plain["protocol"]
    assert len(lines) <= 20
    assert len(facts) < 200
    for line in lines:
        metric, *rest = line.split()
        argument = [rest.pop(0)] if isinstance(plain[metric], dict) else []
        value, ends = plain[metric], (plain["intervals"] or {}).get(metric)
        if argument:
            value, ends = value[argument[0]], ends and ends[argument[0]]
        assert rest.pop(0) == ("-" if value is None else f"{value:.3f}")
        assert " ".join(rest) == (f"({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")
    assert (plain["intervals"] is None) == (resamples == 0)


@pytest.mark.parametrize("name", NAMES)
def test_an_interval_holds_the_value_and_is_no_narrower_than_that_of_the_resampled_values(name):
    report = reports(20)[name]
    listed = report.to_json()["intervals"]
    for metric in (name for name, ends in listed.items() if isinstance(ends, (dict, list))):
        arguments = [report.at[0]] if isinstance(report.to_json()[metric], dict) else []
        drawn = report.resampled(metric, *arguments)
        assert drawn.shape == (20,)
        found = report.interval(metric, *arguments)
        assert found.low <= report.value(metric, *arguments) <= found.high
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        assert found.high - found.low >= (high - low) * (1 - 1e-9)
        if name == "clustering" or metric in ("roc_auc", "eer"):
            assert found.to_json() == pytest.approx([low, high])
