"""A report carries its facts as fields; no sentence of it decides anything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.runs import rows
from trine.evaluation import find_label_errors, recommendation_from_scores, retrieval, triplet_accuracy
from trine.report import (
    Baseline,
    BaselineKind,
    Comparison,
    EvaluatedPart,
    LabelErrorReport,
    Metrics,
    Report,
    label_error_page,
)
from trine.report.report import LEAK

MISLEADING = EvaluatedPart("all items of photos-i-trained on (8 items)")


def report(part: EvaluatedPart = MISLEADING, **fields: object) -> Report:
    random = np.random.default_rng(0)
    found = retrieval(random.normal(size=(8, 3)), np.repeat([0, 1, 2, 3], 2))
    return replace(Report(Path("out"), "photos", part, Metrics(retrieval=found)), **fields)


def test_a_warning_about_training_items_depends_on_their_number_alone() -> None:
    assert report().warnings == ()
    assert report(EvaluatedPart("8 items", trained_on=3)).warnings == (LEAK,)
    assert report(EvaluatedPart("8 items", trained_on=3)).to_json()["items_trained_on"] == 3


def test_the_page_of_an_audit_warns_by_the_same_number() -> None:
    data = rows([4, 4], spread=0.1)
    found = find_label_errors(
        data.items.rows,
        [data.identity(at) for at in range(8)],
        names=data.names,  # type: ignore[attr-defined]
    )
    audited = LabelErrorReport("photos", MISLEADING, data, found, found.suspects(2))
    assert "memorises wrong labels" not in label_error_page(audited)
    known = replace(audited, part=EvaluatedPart("8 items", trained_on=1))
    assert "memorises wrong labels" in label_error_page(known)


@pytest.mark.parametrize("kind", BaselineKind)
def test_the_console_names_a_baseline_by_its_kind(kind: BaselineKind) -> None:
    before = report().after
    shown = str(report(before=before, baseline=Baseline(kind, "what it was")))
    assert ("before: what it was" in shown) == (kind is not BaselineKind.RAW)


def test_what_was_not_measured_is_not_in_json() -> None:
    assert list(report().after.to_json()) == ["retrieval"]
    assert Metrics().to_json() == {}


def test_each_kind_of_report_has_a_headline_of_its_own() -> None:
    random = np.random.default_rng(0)
    judged = triplet_accuracy(random.normal(size=(5, 2)), np.array([[0, 1, 2], [3, 4, 0]]))
    ranked = recommendation_from_scores(
        lambda some: random.normal(size=(len(some), 6)), users=4, items=6,
        held_out=np.array([[0, 1], [1, 2]]), seen=np.empty((0, 2), dtype=np.int64), resamples=0,
    )  # fmt: skip
    assert list(report(after=Metrics(triplet_accuracy=judged)).card) == ["triplet accuracy"]
    assert list(report(after=Metrics(recommendation=ranked), k=3).card) == ["HR@3", "NDCG@3", "MRR"]
    both = report(after=Metrics(retrieval=report().after.retrieval, triplet_accuracy=judged))
    assert list(both.card) == ["recall@1", "MAP@R"]
    assert "triplet judgements: triplet accuracy" in str(both)


def test_a_notebook_shows_what_print_does() -> None:
    class Printer:
        text = staticmethod(lambda words: shown.append(words))

    for each in (report(), report().after.retrieval):
        shown: list[str] = []
        each._repr_pretty_(Printer(), cycle=False)  # type: ignore[union-attr]
        assert shown == [str(each)]
        assert len(shown[0].splitlines()) <= 30


def test_a_comparison_subtracts_the_first_run_from_each_other() -> None:
    first, other = report(), report()
    compared = Comparison(Path("out"), "photos", MISLEADING, {"a": first, "b": other})
    assert {found.value for found in compared.differences["b"].values()} == {0.0}
    assert "b minus a" in str(compared)
