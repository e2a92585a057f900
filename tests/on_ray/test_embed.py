"""`trine embed --on ray`: the table of one process, to the bit."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from support.commands import answered
from support.effort import THOROUGH
from support.paths import ROOT
from support.ray_jobs import draw_noise, needs_ray, run_isolated, untrained_model
from trine.data import Dataset, Vectors
from trine.encoders import EncoderRecipe, build_encoder
from trine.errors import InputError
from trine.on_ray import write_embeddings_on
from trine.pipelines import write_embeddings

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


@pytest.fixture
def points(monkeypatch):
    """Rows of numbers, an encoder for them, and what was embedded, in this process instead of on Ray."""
    data = Dataset(
        Vectors(np.random.default_rng(0).normal(size=(9_000, 4)).astype(np.float32)),
        np.arange(9_000) % 7,
        tuple("abcdefg"),
        tuple(f"row {i}" for i in range(9_000)),
        {"camera": np.arange(9_000) % 3},
    )
    encoder = build_encoder(data.items, recipe=EncoderRecipe(dimension=3))
    embedded = []

    def stream(ray, on, encoder, items, batches):
        for batch, rows in zip(batches, encoder.embed_batches(items, batches), strict=True):
            embedded.append(batch)
            yield rows

    monkeypatch.setattr("trine.on_ray.embed.stream", stream)
    return data, encoder, embedded


def write(points, out, data=None, encoder=None):
    write_embeddings_on(None, "ray", encoder or points[1], data or points[0], out=out)


def test_a_command_that_was_killed_embeds_only_what_is_in_no_part_yet(points, tmp_path):
    data, encoder, embedded = points
    write(points, tmp_path / "parts")
    first, second, third = sorted((tmp_path / "parts").glob("*.parquet"))
    assert first.name == "part-000000000000-000000004096.parquet"
    assert third.name == "part-000000008192-000000009000.parquet"
    second.unlink()
    (tmp_path / "parts/.part.unfinished").write_bytes(b"half a part")
    embedded.clear()
    write(points, tmp_path / "parts")
    assert embedded == [range(at, at + 256) for at in range(4096, 8192, 256)]
    write_embeddings(encoder, data, out=tmp_path / "whole.parquet")
    assert read(tmp_path / "parts").equals(read(tmp_path / "whole.parquet"))
    embedded.clear()
    write(points, tmp_path / "parts")
    assert embedded == []


def test_parts_become_one_file_that_one_process_would_write(points, tmp_path):
    data, encoder, _ = points
    write(points, tmp_path / "joined.parquet")
    write_embeddings(encoder, data, out=tmp_path / "whole.parquet")
    joined, whole = read(tmp_path / "joined.parquet"), read(tmp_path / "whole.parquet")
    assert joined.equals(whole)
    assert joined.schema.equals(whole.schema, check_metadata=True)
    assert {path.name for path in tmp_path.iterdir()} == {"joined.parquet", "whole.parquet"}


def test_a_command_that_died_before_or_after_its_parts_runs_again(points, tmp_path, monkeypatch):
    data, encoder, _ = points
    (tmp_path / "joined.parquet.parts").mkdir()
    (tmp_path / "joined.parquet.parts/._parts.json.unfinished").write_text("{")

    rmtree = shutil.rmtree

    def die(folder, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr("trine.on_ray.embed.shutil.rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        write(points, tmp_path / "joined.parquet")
    assert [path.name for path in (tmp_path / "joined.parquet.parts").iterdir()] == ["_parts.json"]
    monkeypatch.setattr("trine.on_ray.embed.shutil.rmtree", rmtree)
    write(points, tmp_path / "joined.parquet")
    write_embeddings(encoder, data, out=tmp_path / "whole.parquet")
    assert read(tmp_path / "joined.parquet").equals(read(tmp_path / "whole.parquet"))
    assert {path.name for path in tmp_path.iterdir()} == {"joined.parquet", "whole.parquet"}


def test_parts_of_something_else_are_not_mixed(points, tmp_path):
    data, _, _ = points
    write(points, tmp_path / "parts")
    before = {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    with pytest.raises(InputError, match=r"holds embeddings of other data \(data, items differ\)"):
        write(points, tmp_path / "parts", data=data.subset(range(8_999)))
    changed = data.items.rows.copy()
    changed[7, 2] += 1
    with pytest.raises(InputError, match=r"holds embeddings of other data \(data differ\)"):
        write(points, tmp_path / "parts", data=replace(data, items=Vectors(changed)))
    other = build_encoder(data.items, recipe=EncoderRecipe(dimension=3), seed=1)
    with pytest.raises(InputError, match=r"another model .*choose another output, or remove the folder"):
        write(points, tmp_path / "parts", encoder=other)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}


def test_an_output_that_cannot_be_used(points, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("mine")
    with pytest.raises(InputError, match=r"full is not empty and holds no _parts\.json"):
        write(points, tmp_path / "full")
    for address in ("s3://bucket/embeddings", "memory://embeddings.parquet"):
        with pytest.raises(InputError, match=rf"output must be a local path, given {address}: write it here"):
            write(points, address)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"file is a file: name a \.parquet file, or a folder"):
        write(points, tmp_path / "file")
    write(points, tmp_path / "parts")
    (tmp_path / "parts/_parts.json").write_text("{")
    with pytest.raises(InputError, match=r"_parts\.json cannot be read .*: remove .*parts, and run it again"):
        write(points, tmp_path / "parts")


@pytest.mark.skipif(not THOROUGH, reason="a test of release-check")
def test_a_node_that_is_killed_loses_no_row_and_doubles_none(tmp_path, capsys):
    needs_ray()
    pictures = draw_noise(tmp_path / "pictures", 6_000, size=32)
    model = untrained_model(pictures, tmp_path / "model")
    words = [ROOT / "tests/support/ray_cluster.py", 3, tmp_path / "record.json", "embed", model, pictures]
    run_isolated([*words, "--out", tmp_path / "there.parquet"], cwd=tmp_path)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["code"] == 0
    assert record["in_the_middle"]
    answered(capsys, "embed", model, pictures, "--out", tmp_path / "here.parquet")
    assert read(tmp_path / "there.parquet").equals(read(tmp_path / "here.parquet"))
