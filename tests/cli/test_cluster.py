"""`trine cluster`: every item in one cluster."""

import json
import shutil

from support.commands import answered, refused


def test_cluster_names_every_item_once(run, bars, capsys, tmp_path):
    out = answered(capsys, "cluster", run, bars, "--out", tmp_path / "clusters.csv")
    assert "clusters" in out
    rows = (tmp_path / "clusters.csv").read_text().splitlines()
    assert rows[0] == "item,cluster"
    assert len({row.split(",")[0] for row in rows[1:]}) == 48


def test_cluster_takes_the_threshold_that_was_chosen_for_clusters(run, bars, capsys):
    from trine import load

    chosen = load(run).cluster_threshold
    for linkage in chosen.linkages:
        by_default = answered(capsys, "cluster", run, bars, "--linkage", linkage)
        threshold = f"{chosen.at(48, linkage):.17g}"
        by_hand = answered(capsys, "cluster", run, bars, "--linkage", linkage, "--threshold", threshold)
        assert by_default == by_hand
    said = refused(capsys, "cluster", run, bars, "--linkage", "averege")
    assert "there is no threshold for 'averege', only for connected, average, complete" in said


def test_a_model_without_a_threshold_for_clusters_says_how_to_get_one(run, bars, capsys, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    settings = json.loads((old / "model" / "settings.json").read_text())
    del settings["cluster_threshold"]
    (old / "model" / "settings.json").write_text(json.dumps(settings))
    said = refused(capsys, "cluster", old, bars)
    assert "the model has no cluster threshold: choose one with `trine evaluate --calibrate`" in said
    assert "or pass --threshold" in said
    answered(capsys, "evaluate", old, bars, "--calibrate", "--provisional")
    assert "clusters" in answered(capsys, "cluster", old, bars)
