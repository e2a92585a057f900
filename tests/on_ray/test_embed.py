"""`trine embed --on ray`: the table of one process, to the bit."""

import pytest

from support.commands import answered
from support.ray_jobs import draw_noise, needs_ray, run_isolated, untrained_model

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """600 pictures, which are three batches, and a network for them."""
    root = tmp_path_factory.mktemp("noise")
    pictures = draw_noise(root / "pictures", 600)
    return pictures, untrained_model(pictures, root / "model")


def read(path):
    import pyarrow.parquet as parquet

    return parquet.read_table(path)


def test_embed_on_ray_writes_what_one_process_writes(noise, capsys, tmp_path):
    needs_ray()
    pictures, model = noise
    answered(capsys, "embed", model, pictures, "--out", tmp_path / "here.parquet")
    words = ["-m", "trine", "embed", model, pictures, "--on", "ray", "--out", tmp_path / "ray.parquet"]
    out, errors = run_isolated(words, cwd=tmp_path)
    assert "ray.parquet holds 600 embeddings of dimension" in out
    assert "Traceback" not in errors
    here, there = read(tmp_path / "here.parquet"), read(tmp_path / "ray.parquet")
    assert there.equals(here)
    assert there.schema.equals(here.schema, check_metadata=True)
    assert not (tmp_path / "ray.parquet.parts").exists()
