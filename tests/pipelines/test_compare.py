"""Comparing runs: differences are paired, and only what all have not seen counts."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from support.bars import read, stored, trained, two_runs
from support.browser import check_fits_a_phone
from trine.errors import DataError, InputError, ModelError, SettingError
from trine.evaluation import calibrate, choose_cluster_threshold
from trine.evaluation.intervals import multiplicities, percentile_interval
from trine.pipelines import compare_runs, open_trained_run
from trine.report.metrics_table import metric_groups


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs on the same split of the same bars."""
    root = tmp_path_factory.mktemp("runs")
    return root, two_runs(root)


def naive_difference(first, other, line):
    """The bootstrap by hand: the same draws for both, one figure less the other in each."""
    a, b = (figures.retrieval.per_query(line.metric, *line.arguments) for figures in (first, other))
    labels = first.retrieval.labels
    names = np.unique(labels)
    differences = []
    for times in multiplicities(len(names), resamples=1000, seed=0):
        weights = np.array([times[np.flatnonzero(names == label)[0]] for label in labels])
        differences.append(np.average(b, weights=weights) - np.average(a, weights=weights))
    return percentile_interval(np.array(differences))


def test_differences_are_paired(two, tmp_path):
    root, data = two
    found = compare_runs([root / "a", root / "b"], data, out=tmp_path / "both")
    first, other = (report.after for report in found.reports.values())
    groups = {group.source.key: group.lines for group in metric_groups(0.01)}
    for line in groups["retrieval"]:
        difference = found.differences["b"][line.key]
        assert difference.value == pytest.approx(line.value(other) - line.value(first))
        twin = naive_difference(first, other, line)
        assert difference.interval.low == pytest.approx(twin.low)
        assert difference.interval.high == pytest.approx(twin.high)
    auc = groups["verification"][0]
    drawn = other.verification.resampled("roc_auc") - first.verification.resampled("roc_auc")
    assert found.differences["b"][auc.key].interval == percentile_interval(drawn)
    assert np.ptp(drawn) > 0


def test_the_clusters_of_each_run_stand_beside_the_trivial_ones(two, tmp_path):
    root, data = two
    runs = []
    for name in ("a", "b"):
        run = open_trained_run(shutil.copytree(root / name, tmp_path / name))
        rows, distance = run.encoder.embed(data), run.encoder.distance
        run.store(
            calibrate(rows, data.labels, far=0.5, distance=distance, too_few="smallest"),
            choose_cluster_threshold(rows, data.labels, distance=distance),
            None,
        )
        runs.append(tmp_path / name)
    found = compare_runs(runs, data, out=tmp_path / "both")
    page = (tmp_path / "both" / "report.html").read_text()
    kept = json.loads((tmp_path / "both" / "metrics.json").read_text())
    for name, report in found.reports.items():
        clusters = report.after.clustering
        assert f"{name}: {clusters.sentence()}" in str(found)
        assert f"Clusters of {name}: {clusters.sentence()}" in page
        measured = kept["runs"][name]["after_training"]["clustering"]
        assert measured["bcubed_f_all_in_one"] == clusters.bcubed_f_all_in_one
        assert kept["runs"][name]["clusters_above_alone_and_all_in_one"] == clusters.above_both
    check_fits_a_phone(tmp_path / "both" / "report.html")


def test_pairing_takes_out_what_both_share(two, tmp_path):
    root, data = two
    shutil.copytree(root / "a", tmp_path / "copy")
    found = compare_runs([root / "a", tmp_path / "copy"], data, out=tmp_path / "both")
    for difference in found.differences["copy"].values():
        assert difference.value == 0
        assert difference.better is None
        if difference.interval is not None:
            assert (difference.interval.low, difference.interval.high) == (0, 0)
    assert found.reports["a"].after.retrieval.interval("map_at_r").low < 1


def test_the_page_of_a_comparison_is_what_its_json_says(two, tmp_path):
    root, data = two
    found = compare_runs([root / "a", root / "b"], data, out=tmp_path / "both")
    reader, figures = read(tmp_path / "both"), stored(tmp_path / "both")
    alone = stored(root / "a")["after_training"]
    del alone["knn_classification"]  # each run has its own training part to be recognised by
    assert figures["runs"]["a"]["after_training"] == alone
    words = reader.text.replace("−", "-")
    for name, told in figures["differences"]["b"].items():
        if f"{told['difference']:.3f}" in ("0.000", "-0.000") or told["interval"] is None:
            continue
        low, high = told["interval"]
        assert (
            f"{told['difference']:+.3f}\n{low:+.3f} to {high:+.3f}".replace("+0.000", "0.000").replace(
                "-0.000", "0.000"
            )
            in words
        ), name
    assert "b minus a" in words
    better = sum(difference.better is True for difference in found.differences["b"].values())
    worse = sum(difference.better is False for difference in found.differences["b"].values())
    # Short and long table share lines; the page shows each once.
    assert better + worse > 0
    assert len([span for span in reader.all("span") if span.get("aria-label") == "worse"]) == worse
    assert len([span for span in reader.all("span") if span.get("aria-label") == "better"]) == better
    assert "MAP@R" in str(found)
    assert "b minus a" in str(found)


def test_runs_of_other_splits_meet_on_what_both_have_not_seen(two, tmp_path):
    root, data = two
    trained(data, tmp_path / "c", seed="5")
    found = compare_runs([root / "a", tmp_path / "c"], data, out=tmp_path / "both")
    held = [
        {name for name, _ in json.loads((run / "split.json").read_text())["parts"]["test"]}
        for run in (root / "a", tmp_path / "c")
    ]
    common = held[0] & held[1]
    assert 0 < len(common) < 32
    assert f"({len(common)} items" in str(found.part)
    assert "The parts of the runs differ" in read(tmp_path / "both").text
    assert "Train them with the same data.seed" in str(found)


def test_another_seed_can_be_tested_on_the_same_items(two, tmp_path):
    root, data = two
    trained(data, tmp_path / "c", **{"seed": "5", "data.seed": "0", "training.steps": "1"})
    first, other = (
        json.loads((run / "split.json").read_text())["parts"] for run in (root / "a", tmp_path / "c")
    )
    assert first == other
    found = compare_runs([root / "a", tmp_path / "c"], data, out=tmp_path / "both")
    assert not found.notes
    assert "test part (32 items" in str(found.part)


def test_what_cannot_be_compared_is_named(two, tmp_path):
    root, data = two
    with pytest.raises(InputError, match="needs at least two runs, given 1"):
        compare_runs([root / "a"], data)
    with pytest.raises(InputError, match="is named twice"):
        compare_runs([root / "a", root / "a/model"], data)
    with pytest.raises(ModelError, match="there is no model folder"):
        compare_runs([root / "a", tmp_path / "none"], data)
    with pytest.raises(SettingError, match="unknown part"):
        compare_runs([root / "a", root / "b"], data, part="tests")
    foreign = data.subset(range(len(data) // 2))
    with pytest.raises(DataError, match="it has no test part"):
        compare_runs([root / "a", root / "b"], foreign, part="test")
    other = tmp_path / "other"
    shutil.copytree(root / "b", other)
    record = json.loads((other / "split.json").read_text())
    parts = record["parts"]
    parts["train"], parts["test"] = parts["test"], parts["train"]
    (other / "split.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="no item of bars is in the part of every run"):
        compare_runs([root / "a", other], data)


def test_runs_of_one_name_go_by_their_paths(two, tmp_path):
    root, data = two
    shutil.copytree(root / "b", tmp_path / "a")
    found = compare_runs([root / "a", tmp_path / "a"], data, out=tmp_path / "both")
    assert list(found.reports) == [str(root / "a"), str(tmp_path / "a")]


def test_runs_of_differently_aligned_faces_are_not_compared(two):
    root, data = two
    runs = [open_trained_run(root / name) for name in ("a", "b")]
    for run, alignment in zip(runs, ("dlib", "arcface"), strict=True):
        run.encoder.settings = replace(run.encoder.settings, faces=alignment)
    with pytest.raises(InputError, match=r"differently aligned faces \(a: dlib, b: arcface\); evaluate each"):
        compare_runs(runs, data)
