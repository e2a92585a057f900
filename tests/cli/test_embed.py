"""`trine embed`: a table that other programs can read."""

import numpy as np

from support.commands import answered


def test_embed_writes_a_table_that_others_can_read(run, bars, capsys, tmp_path):
    import pyarrow.parquet as parquet

    out = answered(capsys, "embed", run, bars, "--out", tmp_path / "rows.parquet")
    assert "48 embeddings" in out
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.column_names[:2] == ["item", "identity"]
    assert np.isfinite(np.array(table["embedding"].to_pylist())).all()
    assert b"trine.fingerprint" in table.schema.metadata
