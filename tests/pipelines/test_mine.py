"""From a run to a table of triplets, and from the table to a run: as a person asks for it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trine.cli import main
from trine.data import TripletTable, load
from trine.distances import DISTANCES
from trine.encoders import load as load_encoder
from trine.errors import DataError, InputError
from trine.mining import OfflineMining, mine_offline
from trine.pipelines import mine_embeddings, mine_run, part_of
from trine.pipelines.mine import triplets_of_part

SETTINGS = [
    *("training.steps=25", "sampler.identities=10", "sampler.items=4", "data.validation=0.2"),
    *("encoder.dimension=8", "encoder.mlp.hidden=[32]"),
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """400 handwritten digits, as rows of pixels."""
    data, _ = load("digits")
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    rows = np.stack([data.items[i].ravel() for i in range(400)]).astype(np.float32)
    np.savez(path, x=rows, y=data.labels[:400])
    return str(path)


@pytest.fixture(scope="module")
def trained(digits: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", digits, "--out", str(run), "--set", *SETTINGS]) == 0
    return run


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def answered(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main(list(map(str, words))) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_mine_writes_the_triplets_of_the_training_part(
    digits: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, rows = tmp_path / "t.parquet", tmp_path / "t.csv"
    words = ["--rule", "hard", "--positives", "2", "--negatives", "3", "--skip", "1", "--seed", "4"]
    said = answered(capsys, "mine", trained, digits, "--out", table, *words)
    data, _ = load(digits)
    positions, _ = part_of(trained, data, "train")
    part, encoder = data.subset(positions), load_encoder(trained)
    how = OfflineMining(rule="hard", positives=2, negatives=3, skip=1, seed=4)
    expected = mine_offline(encoder.embed(part), part.labels, how=how, distance=encoder.distance)
    assert len(expected) == 6 * len(part)
    assert f"train part ({len(part):,} items of 10 identities): {len(expected):,} triplets" in said

    read = pq.read_table(table)
    assert read.schema.metadata[b"trine.fingerprint"].decode() == encoder.fingerprint
    for column in ("anchor", "positive", "negative"):
        assert read[column].to_pylist() == [part.names[at] for at in getattr(expected, column)]
    np.testing.assert_allclose(read["d_ap"].to_numpy(), expected.d_ap, rtol=1e-6)
    np.testing.assert_allclose(read["d_an"].to_numpy(), expected.d_an, rtol=1e-6)

    answered(capsys, "mine", trained, digits, "--out", rows, *words)
    with rows.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["anchor", "positive", "negative", "d_ap", "d_an"]
    assert [line[:3] for line in lines[1:]] == [
        list(names)
        for names in zip(*(read[c].to_pylist() for c in ("anchor", "positive", "negative")), strict=True)
    ]


def test_guards_keep_negatives_out(digits: str, trained: Path, tmp_path: Path) -> None:
    data, _ = load(digits)
    out = tmp_path / "t.parquet"
    plain = mine_run(trained, data, out=out, how=OfflineMining(rule="hard"))
    free = pq.read_table(out)
    how = OfflineMining(rule="hard", relative_margin=0.5, min_distance=0.2, max_distance=1.0)
    guarded = mine_run(trained, data, out=out, how=how)
    kept = pq.read_table(out)
    d_ap, d_an = kept["d_ap"].to_numpy(), kept["d_an"].to_numpy()
    assert (d_an >= 1.5 * d_ap * (1 - 1e-6)).all()
    assert ((d_an >= 0.2) & (d_an <= 1.0)).all()
    assert 0 < guarded.triplets < guarded.wanted == plain.wanted == plain.triplets == len(free)
    assert guarded.mean_negative_distance == pytest.approx(d_an.mean(), rel=1e-5)
    assert "fewer than requested: the candidates include no other" in str(guarded)
    nothing = mine_run(trained, data, out=out, how=OfflineMining(min_distance=9.0))
    assert nothing.triplets == len(pq.read_table(out)) == 0
    assert np.isnan(nothing.mean_negative_distance)


def test_a_table_is_learned_from(
    digits: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, run = tmp_path / "t.parquet", tmp_path / "run"
    answered(capsys, "mine", trained, digits, "--out", table)
    said = answered(capsys, "train", digits, "--triplets", table, "--out", run, "--set", *SETTINGS)
    assert "left out" not in said
    assert (run / "model" / "weights.safetensors").is_file()
    weights = (run / "model" / "weights.safetensors").read_bytes()
    assert weights != (trained / "model" / "weights.safetensors").read_bytes()
    assert "different training items" in refused(capsys, "train", digits, "--out", run, "--resume")

    everything = answered(capsys, "mine", trained, digits, "--out", table, "--part", "all")
    assert "400 items of 10 identities" in everything
    other = answered(
        capsys, "train", digits, "--triplets", table, "--out", tmp_path / "2", "--set", *SETTINGS
    )
    assert "triplets with items outside the training part" in other


def test_triplets_of_other_parts_are_left_out(digits: str) -> None:
    data = load(digits)[0].subset(range(6))
    table = TripletTable(
        "t.csv",
        ("item 0", "item 5", "item 1"),
        ("item 2", "item 0", "item 4"),
        ("item 4", "item 2", "item 2"),
    )
    kept, left_out = triplets_of_part(table, data, np.array([4, 2, 1, 0]))
    assert kept.tolist() == [[3, 1, 0], [2, 0, 1]]
    assert left_out == 1
    with pytest.raises(
        DataError, match=r"none of the 3 triplets of t.csv has all its items in the training part"
    ):
        triplets_of_part(table, data, np.array([3, 5]))


def test_mistakes_are_one_sentence(
    digits: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.parquet"
    mine = lambda *words: refused(capsys, "mine", trained, digits, *words)  # noqa: E731
    assert "output must end in .parquet or .csv" in mine("--out", tmp_path / "t.txt")
    assert "unknown rule of offline mining 'semi-hard': did you mean 'semihard'" in mine(
        "--out", out, "--rule", "semi-hard"
    )
    assert "--positives: expected a number or all, given 'some'" in mine("--out", out, "--positives", "some")
    assert "unknown part 'trian': did you mean 'train'" in mine("--out", out, "--part", "trian")
    assert "required: --out; see trine mine --help" in mine()
    assert "there is no model folder" in refused(capsys, "mine", tmp_path / "no", digits, "--out", out)
    assert not out.exists()
    with pytest.raises(InputError, match=r"output must end in .parquet or .csv"):
        mine_run(trained, load(digits)[0], out=tmp_path / "t")

    train = lambda table: refused(  # noqa: E731
        capsys, "train", digits, "--out", tmp_path / "run", "--triplets", table
    )
    assert "there is no table of triplets" in train(tmp_path / "none.csv")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("anchor,positive,negative\nitem 0,item 10,item 1\nitem 0,item 10,item 1o\n")
    assert "row 2: the negative 'item 1o' is not an item of the data; did you mean 'item 1'" in train(wrong)
    assert not (tmp_path / "run").exists()


def embedded(folder: Path, distance: str, *, count: int = 3000, parts: int = 3) -> np.ndarray:
    """Parts of a table of embeddings, as `trine embed` writes them; returns the rows."""
    generator = np.random.default_rng(5)
    centres = generator.normal(size=(200, 12))
    rows = (centres[np.arange(count) % 200] + 0.4 * generator.normal(size=(count, 12))).astype(np.float32)
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(count), parts)):
        table = pa.table(
            {
                "item": [f"item {at}" for at in part],
                "identity": [f"p{at % 200}" for at in part],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows[part].ravel()), 12),
            }
        )
        about = {"trine.fingerprint": "abc", "trine.distance": distance}
        pq.write_table(table.replace_schema_metadata(about), folder / f"{number:03}.parquet")
    return rows


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rule", ["hard", "semihard"])
def test_embeddings_on_disk_give_the_triplets_of_memory(distance: str, rule: str, tmp_path: Path) -> None:
    rows = embedded(tmp_path / "parts", distance)
    how = OfflineMining(rule=rule, positives=2, negatives=2, skip=1, seed=3)
    labels = np.array([f"p{at % 200}" for at in range(len(rows))])
    expected = mine_offline(rows, labels, how=how, distance=distance)
    out = tmp_path / "made" / "t.parquet"
    report = mine_embeddings(tmp_path / "parts", out=out, how=how, probed=1)
    assert (report.triplets, report.wanted) == (len(expected), expected.wanted)
    assert str(report).startswith("all items (3,000 items of 200 identities): ")
    mined = pq.read_table(out)
    for column in ("anchor", "positive", "negative"):
        assert mined[column].to_pylist() == [f"item {at}" for at in getattr(expected, column)]
    np.testing.assert_allclose(mined["d_an"].to_numpy(), expected.d_an, rtol=1e-5, atol=1e-6)
    assert mined.schema.metadata[b"trine.fingerprint"] == b"abc"
    assert [path.name for path in out.parent.iterdir()] == ["t.parquet"]


def test_few_lists_find_nearly_the_same_triplets_each_time(tmp_path: Path) -> None:
    rows = embedded(tmp_path / "parts", "euclidean", count=6000)
    how = OfflineMining(rule="hard")
    for name in ("a.csv", "b.csv"):
        mine_embeddings(tmp_path / "parts", out=tmp_path / name, how=how, probed=32)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    expected = mine_offline(rows, np.char.add("p", (np.arange(6000) % 200).astype(str)), how=how)
    with (tmp_path / "a.csv").open(newline="") as file:
        found = [row["negative"] for row in csv.DictReader(file)]
    same = [name == f"item {at}" for name, at in zip(found, expected.negative, strict=True)]
    assert np.mean(same) > 0.9
    mine_embeddings(tmp_path / "parts", out=tmp_path / "a.csv", how=how)  # all fit in the memory
    with (tmp_path / "a.csv").open(newline="") as file:
        found = [row["negative"] for row in csv.DictReader(file)]
    assert found == [f"item {at}" for at in expected.negative]


def test_embeddings_are_mined_from_the_command_line(
    digits: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "e.parquet", tmp_path / "t.parquet"
    answered(capsys, "embed", trained, digits, "--out", table)
    told = answered(capsys, "mine", "--embeddings", table, "--out", out, "--memory", "0.1")
    assert told.startswith("all items (400 items of 10 identities): ")
    assert "trine train DATA --triplets" in told
    for words, said in (
        ([trained, digits, "--embeddings", table], "--embeddings is mined as it is: leave a run out"),
        (["--embeddings", table, "--part", "test"], "leave --part out"),
        ([trained, digits, "--memory", "1"], "--memory is for --embeddings"),
        ([trained], "mine takes a run folder and data, or --embeddings"),
        (["--embeddings", table, "--memory", "0.001"], "memory must be a number >= 0.0625"),
        (["--embeddings", tmp_path / "none"], "is neither a .parquet file nor a folder of them"),
    ):
        assert said in refused(capsys, "mine", *words, "--out", tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()


def test_only_embeddings_of_one_encoder_with_identities(tmp_path: Path) -> None:
    embedded(tmp_path / "parts", "cosine")
    parts = sorted((tmp_path / "parts").iterdir())
    first = pq.read_table(parts[0])
    about = {b"trine.fingerprint": b"abc", b"trine.distance": b"cosine"}

    def said(table: pa.Table, match: str, metadata: dict[bytes, bytes] = about) -> None:
        pq.write_table(table.replace_schema_metadata(metadata), parts[0])
        with pytest.raises(DataError, match=match):
            mine_embeddings(tmp_path / "parts", out=tmp_path / "t.csv")

    said(first, r"001.parquet and .*000.parquet are of different", {**about, b"trine.fingerprint": b"x"})
    said(first, r"000.parquet does not say how embeddings are compared", {})
    said(first.drop_columns("identity"), r"000.parquet is not a table of embeddings .*lacks .* 'identity'")
    unnamed = first.set_column(1, "identity", pa.array(["p"] * 7 + [None] + ["p"] * (len(first) - 8)))
    said(unnamed, r"row 7 of .*parts has no identity: embed labelled items")
    for value, match in ((0.0, r"row 2 of .* is zero"), (np.nan, r"row 2 of .* is not finite")):
        rows = np.array(first["embedding"].combine_chunks().flatten())
        rows[24:36] = value
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows), 12)
        said(first.set_column(2, "embedding", column), match)
    parts[0].write_bytes(b"no")
    with pytest.raises(DataError, match=r"000.parquet cannot be read as Parquet"):
        mine_embeddings(tmp_path / "parts", out=tmp_path / "t.csv")
