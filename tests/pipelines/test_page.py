"""The pages of real small runs: what they show is what metrics.json says, and differences are paired."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from support.page_reader import check_page
from support.runs import rows
from trine.data import Dataset, ImageArray
from trine.errors import CalibrationError, DataError, InputError, ModelError, SettingError
from trine.evaluation.intervals import multiplicities, percentile_interval
from trine.pipelines import compare_runs, evaluate_run, train_run
from trine.report.metrics_table import metric_groups
from trine.training import load_recipe

EVIL = "<script>alert(1)</script>"


def bars(identities=8, items=8, evil=False):
    """Pictures of bars, one direction for each identity."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 16)
    pictures, labels = [], np.repeat(np.arange(identities), items)
    for label in labels:
        angle = np.pi * label / identities
        wave = np.sin(12 * (np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]))
        pictures.append(128 + 90 * wave * random.uniform(0.3, 1) + random.normal(0, 60, (16, 16)))
    pixels = np.array(pictures).clip(0, 255).astype(np.uint8)
    names = tuple(f"{EVIL if evil else 'bar'} {i}" for i in range(len(labels)))
    kinds = tuple(f"{EVIL if evil else 'kind'} & {i}" for i in range(identities))
    return Dataset(ImageArray(pixels), labels, kinds, names, root="bars")


def trained(data, out, **settings):
    defaults = {"training.steps": "12", "data.split": "stratified", "data.test": "0.5"}
    recipe = load_recipe(None, overrides=defaults | settings)
    return train_run(data, recipe, out=out, progress=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs on the same split of the same bars."""
    root, data = tmp_path_factory.mktemp("runs"), bars()
    trained(data, root / "a")
    trained(data, root / "b", **{"training.steps": "1", "loss.mining": "hard"})
    return root, data


def read(folder):
    return check_page((folder / "report.html").read_text(encoding="utf-8"))


def stored(folder):
    return json.loads((folder / "metrics.json").read_text())


def at(report, line):
    """The figure of a line, and its interval, in the JSON of a report."""
    result = report[line.source.key]
    figure, intervals = result[line.metric], result["intervals"]
    ends = None if intervals is None else intervals.get(line.metric)
    if line.arguments:
        key = f"{line.arguments[0]:g}"
        return figure[key], ends and ends.get(key)
    return figure, ends


def test_training_leaves_a_page_whose_figures_are_those_of_the_json(two):
    root, _ = two
    words, figures = read(root / "a").text, stored(root / "a")["after_training"]
    lines = [line for of in metric_groups(0.01) for line in of.lines if line.source.key in figures]
    assert {line.source.key for line in lines} == {
        "retrieval",
        "verification",
        "clustering",
        "knn_classification",
    }
    table = words[words.index("Metrics\nIntervals") : words.index("Curves\nROC")]
    for line in lines:
        value, ends = at(figures, line)
        row = f"{line.name}\n" + ("" if line.larger_is_better else "smaller is better\n") + f"{value:.3f}\n"
        assert row in table, row
        if ends is not None:
            assert f"{row}{ends[0]:.3f} to {ends[1]:.3f}" in table.replace("−", "-")
    before = stored(root / "a")["before_training"]["retrieval"]["map_at_r"]
    assert f"before {before:.3f}" in words
    assert json.loads((root / "a/metrics.json").read_text())["census"]["items"] == 32


def test_a_page_shows_its_items(two):
    root, data = two
    reader = read(root / "a")
    assert len(reader.all("img")) == 8 * 9 + 2 * 2 * 12
    counts = stored(root / "a")["census"]
    assert f"{counts['hard']:,}" in reader.text
    dots = [path["d"] for path in reader.all("path") if path.get("class") == "dots"]
    assert sum(path.count("M") for path in dots) == 32
    for name in data.identities:
        assert name in reader.text
    fingerprint = json.loads((root / "a/model/settings.json").read_text())["fingerprint"]
    assert fingerprint in reader.text


def test_names_cannot_break_out(tmp_path):
    trained(bars(evil=True), tmp_path / "run")
    text = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    check_page(text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_vectors_are_shown_by_name(tmp_path):
    data = rows([6] * 8, spread=0.8)
    trained(data, tmp_path / "run")
    reader = read(tmp_path / "run")
    assert not reader.all("img")
    assert re.search(r"^row \d+$", reader.text, re.MULTILINE)


def test_the_smallest_data_has_a_page(two, tmp_path):
    root, data = two
    few = data.subset([0, 1, 8])
    report = evaluate_run(root / "a/model", few, part="all", out=tmp_path / "few")
    assert "all items" in str(report.part)
    reader = read(tmp_path / "few")
    assert "3 items" in reader.text


def test_a_collapsed_encoder_has_a_page(two, tmp_path):
    root, data = two
    same = replace(data, items=ImageArray(np.zeros((64, 16, 16), np.uint8)))
    evaluate_run(root / "a", same, part="all", out=tmp_path / "collapsed")
    assert "0.500" in read(tmp_path / "collapsed").text


def test_trained_items_are_not_passed_off_as_unseen(two, tmp_path):
    root, data = two
    evaluate_run(root / "a", data, part="all", out=tmp_path / "all")
    assert "Some of these items were trained on" in read(tmp_path / "all").text
    assert "Some of these items were trained on" not in read(root / "a").text


def test_cameras_bring_the_protocol_of_re_identification(two, tmp_path):
    root, data = two
    cameras = np.arange(64) % 2
    seen = replace(data, columns={"camera": cameras})
    report = evaluate_run(root / "a", seen, part="all", out=tmp_path / "cameras")
    identified = report.after.identification
    assert identified is not None
    # A naive twin of rank 1: the nearest item that is not of the same identity on the same camera.
    from trine.encoders import load

    x, hits = load(root / "a").embed(data).astype(np.float64), []
    for probe in range(64):
        alike = data.labels == data.labels[probe]
        d = np.where(alike & (cameras == cameras[probe]), np.inf, ((x - x[probe]) ** 2).sum(1))
        hits.append(alike[d.argmin()])
    assert identified.cmc(1) == pytest.approx(np.mean(hits))
    figures = stored(tmp_path / "cameras")["after_training"]["identification"]
    assert f"CMC rank 1\n{figures['cmc']['1']:.3f}" in read(tmp_path / "cameras").text
    assert re.search(rf"across cameras: CMC rank 1 +[01]\.\d+ +{figures['cmc']['1']:.3f}   \(", str(report))
    one = replace(data, columns={"camera": np.zeros(64, np.int64)})
    assert evaluate_run(root / "a", one, part="all", out=tmp_path / "one").after.identification is None


def test_listed_pairs_are_measured_where_both_items_are_there(two, tmp_path):
    root, data = two
    lines = ["fold,a,b,same"]
    for i in range(0, 62, 2):
        lines.append(f"{i % 3},bar {i},bar {i + 1},1")
        lines.append(f"{i % 3},bar {i},bar {(i + 20) % 64},0")
    listed = tmp_path / "pairs.csv"
    listed.write_text("\n".join(lines) + "\n")
    whole = evaluate_run(root / "a", data, part="all", out=tmp_path / "all", pairs=listed)
    assert whole.after.pairs is not None
    assert whole.after.pairs.pairs_total == 62
    figures = stored(tmp_path / "all")["after_training"]["pairs"]
    assert f"accuracy\n{figures['accuracy']:.3f}" in read(tmp_path / "all").text
    assert re.search(rf"listed pairs: accuracy +[01]\.\d+ +{figures['accuracy']:.3f}   \(", str(whole))
    spread = f"{figures['accuracy']:.4f} ± {figures['accuracy_standard_error']:.4f}"
    assert f"accuracy {spread} (standard error over 3 folds)" in read(tmp_path / "all").text
    part = evaluate_run(root / "a", data, out=tmp_path / "part", pairs=listed)
    assert part.after.pairs is not None
    left = 62 - part.after.pairs.pairs_total
    assert f"{left:,} pairs of the list were left out" in read(tmp_path / "part").text
    assert f"{left:,} pairs of the list were left out" in stored(tmp_path / "part")["notes"][0]
    listed.write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(DataError, match="0 of two have both items in the part"):
        evaluate_run(root / "a", data, part="all", out=tmp_path / "none", pairs=listed)


def test_a_threshold_of_items_learnt_from_is_refused(two):
    root, data = two
    with pytest.raises(CalibrationError, match="was trained on 32 of these 64 items"):
        evaluate_run(root / "a", data, part="all", store_threshold=True, support="provisional")


def test_shares_are_said_without_powers_of_ten(two):
    root, data = two
    report = evaluate_run(root / "a", data)
    elsewhere = replace(report, calibration=replace(report.calibration, impostor_pairs=7))
    for share, words in (
        (0.0, "0 %"),
        (6.94e-7, "0.000069 %"),
        (0.009982, "1 %"),
        (0.1234, "12 %"),
        (1.0, "100 %"),
    ):
        sentence = replace(elsewhere, realised_far=share).threshold_sentence()
        assert f"accepts {words} of impostor pairs here" in sentence


def test_threshold_that_comes_from_these_items_promises_nothing(two):
    root, data = two
    report = evaluate_run(root / "a", data)  # trained without a validation part
    counts = (
        f"{report.calibration.identities} identities, {report.calibration.impostor_pairs:,} impostor pairs"
    )
    assert f"calibrated on this test set ({counts})" in report.threshold_sentence()
    assert "impostor pairs here" not in report.threshold_sentence()


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
    with pytest.raises(InputError, match="is given twice"):
        compare_runs([root / "a", root / "a/model"], data)
    with pytest.raises(ModelError, match="there is no model folder"):
        compare_runs([root / "a", tmp_path / "none"], data)
    with pytest.raises(SettingError, match="unknown part"):
        compare_runs([root / "a", root / "b"], data, part="tests")
    foreign = replace(data, names=tuple(f"foreign {name}" for name in data.names))
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
