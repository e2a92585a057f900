"""The pages of real small runs show what metrics.json says."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from support.bars import bars, read, stored, trained, two_runs
from support.browser import check_fits_a_phone
from support.page_reader import check_page
from support.runs import rows
from trine.data import ImageArray
from trine.encoders import load
from trine.errors import CalibrationError, DataError
from trine.evaluation import calibrate
from trine.pipelines import evaluate_run, part_of
from trine.report.metrics_table import metric_groups


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs on the same split of the same bars."""
    root = tmp_path_factory.mktemp("runs")
    return root, two_runs(root)


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
        "knn_classification",
        "left_out",
    }
    table = words[words.index("Metrics\nIntervals") : words.index("Curves\nROC")]
    for line in lines:
        value, ends = at(figures, line)
        row = f"{line.name}\n" + ("" if line.larger_is_better else "smaller is better\n") + f"{value:.3f}\n"
        assert row in table, row
        if ends is not None:
            assert f"{row}{ends[0]:.3f} to {ends[1]:.3f}" in table.replace("−", "-")
    verdict = stored(root / "a")["verdict"]
    shown = words[words.index("Verdict\nWhat these items") : words.index("Metrics\nIntervals")]
    for use, found in verdict["uses"].items():
        assert f"{use}\n{found['fitness']}\n{found['finding']}\n" in shown
    assert "identities of these items were trained on" in verdict["caution"]
    assert verdict["caution"][1:] in shown
    assert "over the raw images" in shown.replace("−", "-")
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
    check_fits_a_phone(root / "a/report.html")


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
        evaluate_run(root / "a", data, part="all", store_threshold=True, too_few="smallest")


def calibrated(run, data):
    """The report on the test part, with the threshold calibrated on this very part."""
    report, encoder = evaluate_run(run, data), load(run)
    tested = data.subset(part_of(run, data, "test")[0])
    rows, distance = encoder.embed(tested), encoder.distance
    known = calibrate(rows, tested.labels, far=0.5, distance=distance, too_few="smallest")
    realised = report.after.verification.far_at(known.threshold)
    return replace(report, calibration=known, realised_far=realised)


def test_shares_are_said_without_powers_of_ten(two):
    root, data = two
    report = calibrated(root / "a", data)
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
    report = calibrated(root / "a", data)
    counts = (
        f"{report.calibration.promise.identities} identities, {report.calibration.impostor_pairs:,} "
        "impostor pairs"
    )
    assert f"calibrated on this test set ({counts})" in report.threshold_sentence()
    assert "impostor pairs here" not in report.threshold_sentence()
    # Another set of the same size that happens to have the same true-accept rate.
    pairs, known = report.after.verification, report.calibration
    near = np.nextafter(known.threshold, 0) - 1e-5 * known.threshold
    elsewhere = replace(known, threshold=near, tar=pairs.tar_at(near))
    said = replace(report, calibration=elsewhere).threshold_sentence()
    assert "on this test set" not in said
    assert "impostor pairs here" in said
