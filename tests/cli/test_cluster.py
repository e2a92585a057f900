"""`trine cluster`: every item in one cluster."""

from support.commands import answered


def test_cluster_names_every_item_once(run, bars, capsys, tmp_path):
    out = answered(capsys, "cluster", run, bars, "--out", tmp_path / "clusters.csv")
    assert "clusters" in out
    rows = (tmp_path / "clusters.csv").read_text().splitlines()
    assert rows[0] == "item,cluster"
    assert len({row.split(",")[0] for row in rows[1:]}) == 48
