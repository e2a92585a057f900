"""Cells that a spreadsheet would run are written as text, and read back as they were."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data.formula_cells import guarded
from trine.data.table_file import open_table
from trine.pipelines.export import write_clusters, write_csv


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+1", "-2-3", "@SUM(1)", "\t=1", "\r=1", "-x.png", "＝1"]
)
def test_a_formula_is_written_as_text(text):
    assert guarded(text) == f"'{text}"
    assert guarded(f"'{text}") == f"''{text}"


@pytest.mark.parametrize(
    "cell", ["-5", "+1.5", "-.5e-3", "1e5", -2, -0.25, None, "ann", "", "'n Sync", "a=b", "x-1"]
)
def test_numbers_and_other_texts_are_written_as_they_are(cell):
    assert guarded(cell) == cell


texts = st.text(st.sampled_from("=+-@\t\r\n'1.5eax,;\"\uff1d "), min_size=1, max_size=8)


@given(st.lists(texts, min_size=1, max_size=5))
def test_a_written_text_is_read_back_unchanged(tmp_path_factory, names):
    path = Path(tmp_path_factory.mktemp("csv")) / "rows.csv"
    write_csv(path, ("item", "cluster"), [(name, 1) for name in names])
    read = open_table(path).read(text=["item"])
    assert list(map(str, read.texts("item"))) == [name.strip() for name in names]  # as of every cell


def test_the_file_of_clusters_runs_nothing(tmp_path):
    write_clusters(["=1+1", "b"], [0, -1], out=tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text() == "item,cluster\n'=1+1,0\nb,-1\n"
