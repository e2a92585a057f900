"""`trine evaluate`: one run, several, a threshold."""

import json
import re
import shutil

import pytest

from support.commands import answered, refused
from support.page_reader import check_page


def test_evaluate_looks_at_the_unseen_part_of_its_own_data(run, bars, capsys, tmp_path):
    out = answered(capsys, "evaluate", run, bars, "--out", tmp_path / "e")
    assert "test part (12 items of 6 identities)" in out
    stored = json.loads((run / "metrics.json").read_text())["after_training"]
    again = json.loads((tmp_path / "e/metrics.json").read_text())["after_training"]
    assert again["retrieval"] == stored["retrieval"]
    everything = answered(capsys, "evaluate", run, bars, "--part", "all", "--out", tmp_path / "f")
    assert "all items, 24 of them trained on (48 items" in everything


def test_evaluate_writes_a_page_and_compares_runs(run, bars, capsys, tmp_path):
    out = answered(capsys, "evaluate", run, bars, "--out", tmp_path / "one")
    assert out.endswith(f"{tmp_path / 'one'} holds metrics.json, report.html and picture.png\n")
    assert re.search(r"MAP@R +\d\.\d{3} +\d\.\d{3} +\(\d\.\d{3} to \d\.\d{3}\)\n", out)
    check_page((tmp_path / "one/report.html").read_text(encoding="utf-8"))
    other = tmp_path / "other"
    shutil.copytree(run, other)
    both = answered(capsys, "evaluate", run, other, bars, "--out", tmp_path / "two")
    assert "other minus bars" in both
    assert "test part (12 items of 6 identities)" in both
    check_page((tmp_path / "two/report.html").read_text(encoding="utf-8"))
    kept = answered(capsys, "evaluate", other, run, bars)
    assert "evaluation/bars-other-bars holds metrics.json and report.html" in kept


def test_mistakes_about_runs_to_compare(run, bars, capsys, tmp_path):
    assert "required: data" in refused(capsys, "evaluate", run)
    assert "there is no model folder" in refused(capsys, "evaluate", run, tmp_path / "none", bars)
    assert "is named twice" in refused(capsys, "evaluate", run, run, bars)
    assert "takes exactly one run" in refused(capsys, "evaluate", run, run, bars, "--calibrate")
    assert "no list of pairs" in refused(capsys, "evaluate", run, bars, "--pairs", tmp_path / "none")


def test_evaluate_can_store_a_threshold(run, bars, capsys, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    card = (copy / "model/README.md").read_text()
    # To the encoder these are others, although they have the same names.
    others = shutil.copytree(bars, tmp_path / "others")
    images = pytest.importorskip("PIL.Image")
    for path in others.rglob("*.png"):
        images.open(path).transpose(images.Transpose.ROTATE_90).save(path)
    out = answered(
        capsys,
        "evaluate",
        copy,
        others,
        "--far",
        "0.2",
        "--calibrate",
        "--out",
        tmp_path / "e",
        "--too-few",
        "smallest",
        "--probability",
        "platt",
        "--prior",
        "0.5",
    )
    assert "of impostor pairs are accepted, at most" in out
    assert "provisional" in out
    settings = json.loads((copy / "model/settings.json").read_text())
    promise = settings["calibration"]["promise"]
    assert (promise["name"], promise["state"], promise["identities"]) == ("far", "provisional", 6)
    assert promise["rate"] >= 0.2
    assert settings["calibration"]["curve"]["prior"] == 0.5
    refusal = refused(capsys, "evaluate", copy, others, "--far", "0.1", "--calibrate")
    assert "a false-accept rate of 10 % needs at least 9 identities (and 29 to be firm), given 6" in refusal
    assert "take the smallest rate possible with --too-few smallest" in refusal
    unknown = refused(capsys, "evaluate", copy, others, "--calibrate", "--too-few", "smalest")
    assert "unknown too_few 'smalest': did you mean 'smallest'" in unknown
    learnt = refused(capsys, "evaluate", copy, bars, "--calibrate", "--too-few", "smallest", "--part", "all")
    assert "was trained on 24 of these 48 items, so a threshold would look too good" in learnt
    seen = refused(capsys, "evaluate", copy, bars, "--calibrate", "--too-few", "smallest")
    assert "was trained on all identities of these items" in seen
    alone = refused(capsys, "evaluate", copy, bars, "--probability", "platt")
    assert "a probability is stored with the threshold; add --calibrate" in alone
    unknown = refused(capsys, "evaluate", copy, others, "--calibrate", "--probability", "plat")
    assert "unknown probability 'plat': did you mean 'platt'?" in unknown
    assert "--far: invalid float value: '2%'" in refused(capsys, "evaluate", copy, bars, "--far", "2%")
    figures = [line for line in card.splitlines() if "MAP@R" in line]
    assert figures
    assert all(line in (copy / "model/README.md").read_text() for line in figures)


def test_all_items_are_not_passed_off_as_unseen(run, bars, capsys, tmp_path):
    out = answered(capsys, "evaluate", run / "model", bars, "--part", "all", "--out", tmp_path / "e")
    assert "all items, 24 of them trained on (48 items of 6 identities)" in out
