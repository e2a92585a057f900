"""From judgements about items without identities to an encoder: as a person asks for it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.page_reader import check_page
from support.runs import rows
from trine.cli import main
from trine.data import Dataset, TripletTable, Vectors, load, read_triplets
from trine.encoders import load as load_encoder
from trine.errors import DataError, ModelError, SettingError
from trine.evaluation import TripletAccuracy, triplet_accuracy
from trine.pipelines import evaluate_on_judgements, evaluate_run, train_on_judgements, train_run
from trine.report import Report
from trine.training import RunDir, load_recipe, read_metrics

ITEMS, FAST = 20, ["training.steps=40", "training.threads=1"]


@pytest.fixture(scope="module")
def shoes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of which people look at the first two numbers alone, and what they say of them, with slips."""
    folder = tmp_path_factory.mktemp("shoes")
    random = np.random.default_rng(0)
    values = random.normal(size=(ITEMS, 8))
    with (folder / "shoes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", *"abcdefgh"])
        table.writerows([f"shoe {at}", *row] for at, row in enumerate(values.tolist()))
    seen = values[:, :2]
    with (folder / "judged.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["head", "close", "far"])
        for _ in range(2500):
            a, p, n = random.permutation(ITEMS)[:3]
            if (np.linalg.norm(seen[a] - seen[p]) > np.linalg.norm(seen[a] - seen[n])) != (
                random.random() < 0.05
            ):
                p, n = n, p
            table.writerow([f"shoe {at}" for at in (a, p, n)])
    return folder


@pytest.fixture(scope="module")
def trained(shoes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "shoes"
    words = ["--triplets", str(shoes / "judged.csv"), "--recipe", "judgements", "--out", str(run)]
    assert main(["train", str(shoes / "shoes.csv"), *words, "--set", *FAST]) == 0
    return run


def judgements(report: Report) -> TripletAccuracy:
    assert report.after.triplet_accuracy is not None
    return report.after.triplet_accuracy


def answered(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(map(str, words))) == code
    out, err = capsys.readouterr()
    return err if code else out


def test_a_run_learns_and_says_what_it_found(shoes: Path, trained: Path) -> None:
    found = json.loads((trained / "metrics.json").read_text())
    after = found["after_training"]["triplet_accuracy"]
    before = found["before_training"]["triplet_accuracy"]
    assert before["accuracy"] + 0.05 < after["accuracy"] <= after["ceiling"] < 1
    low, high = after["intervals"]["accuracy"]
    assert low < after["accuracy"] < high
    assert found["calibration"] is None
    assert load_encoder(trained).calibration is None
    assert (trained / "picture.png").stat().st_size > 10_000
    page = (trained / "report.html").read_text(encoding="utf-8")
    check_page(page)
    for words in (
        "triplet accuracy",
        f"{after['accuracy']:.3f}",
        "Contradicted judgements",
        "Margins",
        "shoe 3",
    ):
        assert words in page

    # The figure is that of the test judgements that the table names, and no question is in two parts.
    table = pq.read_table(trained / "triplets.parquet")
    parts = np.array(table["part"].to_pylist())
    data, _ = load(shoes / "shoes.csv", labelled=False)
    listed = read_triplets(trained / "triplets.parquet").positions(data.names)
    encoder = load_encoder(trained)
    again = triplet_accuracy(encoder.embed(data), listed[parts == "test"], distance=encoder.distance)
    assert again.accuracy == pytest.approx(after["accuracy"], abs=1e-12)
    asked = {
        part: {(a, min(p, n), max(p, n)) for a, p, n in listed[parts == part].tolist()}
        for part in ("train", "validation", "test")
    }
    assert len(set.union(*asked.values())) == sum(map(len, asked.values()))
    given = found["triplet_judgements"]
    everything = triplet_accuracy(np.zeros((ITEMS, 1)), listed, resamples=0)
    assert (given["triplets"], given["contradictions"]) == (2500, everything.contradictions)
    assert given["duplicates"] == everything.duplicates > 0
    assert given["contradictions"] > 0


def test_the_log_is_that_of_the_judgements(trained: Path) -> None:
    looks = read_metrics(RunDir(trained).metrics)
    assert 0 < looks[-1].active <= 1
    assert looks[-1].negative_distance > looks[-1].positive_distance > 0
    assert np.isnan(looks[-1].largest_identity)
    assert "dominated" not in (trained / "doctor.json").read_text()


def test_it_is_evaluated_on_its_own_test_part_and_on_others(
    shoes: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items, judged = shoes / "shoes.csv", shoes / "judged.csv"
    figures = json.loads((trained / "metrics.json").read_text())
    said = answered(capsys, "evaluate", trained, items, "--triplets", judged)
    assert "test part (" in said
    again = json.loads((trained / "evaluation" / "shoes" / "metrics.json").read_text())
    assert again["after_training"] == figures["after_training"]

    data, _ = load(items, labelled=False)
    table = read_triplets(judged)
    sizes = {
        part: len(
            evaluate_on_judgements(
                trained, data, table, part=part, out=tmp_path / part
            ).after.triplet_accuracy.margins
        )
        for part in ("train", "validation", "test")
    }
    assert sum(sizes.values()) == 2500
    everything = evaluate_on_judgements(trained, data, table, part="all", out=tmp_path / "all")
    assert str(everything.part) == f"all 2,500 judgements of 20 items, {sizes['train']:,} of them trained on"
    assert everything.part.trained_on == sizes["train"]

    few = TripletTable("few", table.anchor[:50], table.positive[:50], table.negative[:50])
    other = evaluate_on_judgements(trained, data, few, out=tmp_path / "few")
    assert len(judgements(other).margins) == 50
    with pytest.raises(DataError, match=r"these judgements of shoes are not those that .* use part='all'"):
        evaluate_on_judgements(trained, data, few, part="test")
    with pytest.raises(SettingError, match=r"unknown part 'tset': did you mean 'test'"):
        evaluate_on_judgements(trained, data, few, part="tset")  # type: ignore[arg-type]


def test_items_never_seen(shoes: Path, tmp_path: Path) -> None:
    data, _ = load(shoes / "shoes.csv", labelled=False)
    table = read_triplets(shoes / "judged.csv")
    settings = {"training.steps": 20, "data.split": "items", "data.test": 0.3, "data.validation": 0.2}
    recipe = load_recipe("judgements", overrides=settings)
    report = train_on_judgements(data, table, recipe, out=tmp_path / "run", progress=False)
    parts = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [10, 4, 6]
    kept = pq.read_table(tmp_path / "run" / "triplets.parquet").to_pylist()
    for row in kept:
        own = {name for name, _ in parts[row["part"]]}
        assert {row["anchor"], row["positive"], row["negative"]} <= own
    assert str(report.part).endswith("of 6 items; unseen items)")
    assert f"left out {2500 - len(kept):,} judgements about items of several parts" in str(report)
    # Other judgements of the same items: some of these were trained on.
    known = {name for name, _ in parts["train"]}
    listed = zip(table.anchor, table.positive, table.negative, strict=True)
    mixed = [row for row in listed if not set(row) <= known]
    few = TripletTable("few", *zip(*mixed, strict=True))
    assert "10 of their items trained on" in str(evaluate_on_judgements(tmp_path / "run", data, few).part)
    again = train_on_judgements(data, table, recipe, out=tmp_path / "again", progress=False)
    assert judgements(again).accuracy == judgements(report).accuracy


def test_a_run_goes_on_where_it_stopped(
    shoes: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--triplets", shoes / "judged.csv", "--out", trained, "--resume"]
    before = (trained / "model" / "weights.safetensors").read_bytes()
    answered(capsys, "train", shoes / "shoes.csv", *words)
    assert (trained / "model" / "weights.safetensors").read_bytes() == before


def test_a_run_with_identities_counts_judgements_too(tmp_path: Path) -> None:
    data = rows([6] * 8, spread=0.5)
    overrides = {"training.steps": 10, "data.split": "stratified", "data.test": 0.5}
    train_run(data, load_recipe(None, overrides=overrides), out=tmp_path / "run", progress=False)
    random = np.random.default_rng(0)
    names = [[data.names[at] for at in random.permutation(len(data))[:3]] for _ in range(200)]
    table = TripletTable("judged", *(tuple(column) for column in zip(*names, strict=True)))
    report = evaluate_run(tmp_path / "run", data, triplets=table)
    agreement = report.after.triplet_accuracy
    assert agreement is not None
    left_out = 200 - len(agreement.margins)
    assert f"left out {left_out:,} triplets with items outside the test part" in report.notes
    assert report.to_json()["after_training"]["triplet_accuracy"]["accuracy"] == agreement.accuracy  # type: ignore[index]
    assert "triplet judgements: triplet accuracy" in str(report)
    assert "riplet accuracy" in (report.folder / "report.html").read_text(encoding="utf-8")
    plain = evaluate_run(tmp_path / "run", data)
    assert plain.after.triplet_accuracy is None
    assert "triplet accuracy" not in str(plain)


def test_what_does_not_go_together(
    shoes: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items, judged, out = shoes / "shoes.csv", shoes / "judged.csv", tmp_path / "run"
    refused = lambda *words: answered(capsys, *words, code=2)  # noqa: E731
    train = ("train", items, "--triplets", judged, "--out", out)
    said = refused(*train, "--set", "data.split=identity")
    assert "data.split is identity, which needs identities" in said
    assert "data.test 0.7 and data.validation 0.3 leave nothing" in refused(
        *train, "--set", "data.test=0.7", "data.validation=0.3"
    )
    evaluate = ("evaluate", trained, items, "--triplets", judged)
    assert "--calibrate needs identities" in refused(*evaluate, "--calibrate")
    assert "--triplets takes exactly one run" in refused(
        "evaluate", trained, trained, items, "--triplets", judged
    )
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("anchor,positive,negative\nshoe 1,shoe 2,shoe 99\n")
    assert "row 1: the negative 'shoe 99' is not an item of the data; did you mean 'shoe 9'" in refused(
        "train", items, "--triplets", wrong, "--out", out
    )
    assert not out.exists()
    labelled = rows([4] * 4, spread=0.5)
    with pytest.raises(SettingError, match=r"data.split is items, which splits triplet judgements"):
        train_run(labelled, load_recipe(None, overrides={"data.split": "items"}), out=out)


def test_a_damaged_record_is_named(shoes: Path, trained: Path, tmp_path: Path) -> None:
    data, _ = load(shoes / "shoes.csv", labelled=False)
    record = trained / "triplets.parquet"
    whole = record.read_bytes()
    try:
        record.write_bytes(whole[:100])
        with pytest.raises(ModelError, match=r"triplets.parquet is damaged"):
            evaluate_on_judgements(trained, data, read_triplets(shoes / "judged.csv"), out=tmp_path)
    finally:
        record.write_bytes(whole)


def test_vectors_by_length_keep_their_directions() -> None:
    from trine.encoders import EncoderRecipe, MlpSettings, build_encoder

    random = np.random.default_rng(0)
    values = random.normal(size=(6, 5)).astype(np.float32)
    recipe = EncoderRecipe(dimension=3, normalise=False, scaling="length", mlp=MlpSettings(hidden=()))
    encoder = build_encoder(Vectors(values), recipe=recipe)
    weight, bias = encoder.head.weight.detach().numpy(), encoder.head.bias.detach().numpy()
    expected = [(row / np.linalg.norm(row)) @ weight.T + bias for row in values]
    np.testing.assert_allclose(encoder.embed(values), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(values), encoder.embed(7 * values), atol=1e-6)
    assert np.isfinite(encoder.embed(np.zeros((1, 5), dtype=np.float32))).all()
    gaps = values.copy()
    gaps[0, 0] = np.nan
    filled = build_encoder(Vectors(gaps), recipe=recipe)
    assert filled.settings.table is not None
    assert np.isfinite(filled.embed(gaps)).all()


def test_identities_are_not_looked_at(tmp_path: Path) -> None:
    data = rows([3] * 5, spread=0.5)
    random = np.random.default_rng(0)
    said = [[data.names[at] for at in random.permutation(15)[:3]] for _ in range(300)]
    table = TripletTable("t", *zip(*said, strict=True))
    recipe = load_recipe("judgements", overrides={"training.steps": 5})
    one = train_on_judgements(data, table, recipe, out=tmp_path / "one", progress=False)
    bare = Dataset(data.items, np.full(15, -1), (), data.names, root=data.root)
    other = train_on_judgements(bare, table, recipe, out=tmp_path / "other", progress=False)
    assert judgements(one).accuracy == judgements(other).accuracy
