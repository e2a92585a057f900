"""`trine cluster`: every item in one cluster, by the threshold that was chosen for clusters."""

import shutil

import pytest

from support.commands import answered, refused
from trine.data import load as load_data
from trine.encoders import load, save
from trine.evaluation import choose_cluster_threshold


@pytest.fixture(scope="module")
def chosen(run, bars, tmp_path_factory):
    """The run of few identities, with a threshold for clusters."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("runs") / "chosen")
    encoder, (data, _) = load(folder), load_data(bars)
    rows = encoder.embed(data)
    encoder.cluster_threshold = choose_cluster_threshold(rows, data.labels, distance=encoder.distance)
    save(encoder, folder / "model")
    return folder


def test_cluster_names_every_item_once(chosen, bars, capsys, tmp_path):
    out = answered(capsys, "cluster", chosen, bars, "--out", tmp_path / "clusters.csv")
    assert "clusters" in out
    rows = (tmp_path / "clusters.csv").read_text().splitlines()
    assert rows[0] == "item,cluster"
    assert len({row.split(",")[0] for row in rows[1:]}) == 48


def test_cluster_takes_the_threshold_that_was_chosen_for_clusters(chosen, bars, capsys):
    known = load(chosen).cluster_threshold
    for linkage in known.linkages:
        by_default = answered(capsys, "cluster", chosen, bars, "--linkage", linkage)
        threshold = f"{known.at(48, linkage):.17g}"
        by_hand = answered(capsys, "cluster", chosen, bars, "--linkage", linkage, "--threshold", threshold)
        assert by_default == by_hand
    said = refused(capsys, "cluster", chosen, bars, "--linkage", "averege")
    assert "there is no threshold for 'averege', only for connected, average, complete" in said


def test_a_model_without_a_threshold_for_clusters_says_how_to_get_one(run, bars, capsys, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    encoder = load(folder)
    encoder.cluster_threshold = None
    save(encoder, folder / "model")
    said = refused(capsys, "cluster", folder, bars)
    assert "the model has no cluster threshold: choose one with `trine evaluate --calibrate`" in said
    assert "or pass --threshold" in said
