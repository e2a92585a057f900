"""The command line as a person meets it: what it prints, and one sentence with exit code 2 for a mistake."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from support.commands import answered, draw_bars, refused, train_bars
from support.page_reader import check_page
from trine.cli import VERBS, main

pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return draw_bars(tmp_path_factory.mktemp("data") / "bars")


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    return train_bars(pictures, tmp_path_factory.mktemp("runs") / "bars")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "example:" in shown
    assert f"  trine {verb}" in shown


def test_a_run_folder_holds_what_it_promises(trained):
    for name in (
        "recipe.yaml",
        "split.json",
        "metrics.csv",
        "metrics.json",
        "report.html",
        "picture.png",
        "model/README.md",
    ):
        assert (trained / name).stat().st_size > 0
    figures = json.loads((trained / "metrics.json").read_text())
    assert figures["after_training"]["retrieval"]["queries"] == 12
    assert 0 <= figures["after_training"]["verification"]["roc_auc"] <= 1
    split = json.loads((trained / "split.json").read_text())["parts"]
    assert [len(split[part]) for part in ("train", "validation", "test")] == [24, 12, 12]


def test_evaluate_looks_at_the_unseen_part_of_its_own_data(trained, pictures, capsys, tmp_path):
    out = answered(capsys, "evaluate", trained, pictures, "--out", tmp_path / "e")
    assert "test part (12 items of 6 identities)" in out
    stored = json.loads((trained / "metrics.json").read_text())["after_training"]
    again = json.loads((tmp_path / "e/metrics.json").read_text())["after_training"]
    assert again["retrieval"] == stored["retrieval"]
    everything = answered(capsys, "evaluate", trained, pictures, "--part", "all", "--out", tmp_path / "f")
    assert "all items, 24 of them trained on (48 items" in everything


def test_evaluate_writes_a_page_and_compares_runs(trained, pictures, capsys, tmp_path):
    out = answered(capsys, "evaluate", trained, pictures, "--out", tmp_path / "one")
    assert out.endswith(f"{tmp_path / 'one'} holds metrics.json, report.html and picture.png\n")
    assert re.search(r"MAP@R +\d\.\d{3} +\d\.\d{3} +\(\d\.\d{3} to \d\.\d{3}\)\n", out)
    check_page((tmp_path / "one/report.html").read_text(encoding="utf-8"))
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    both = answered(capsys, "evaluate", trained, other, pictures, "--out", tmp_path / "two")
    assert "other less bars" in both
    assert "test part (12 items of 6 identities)" in both
    check_page((tmp_path / "two/report.html").read_text(encoding="utf-8"))
    kept = answered(capsys, "evaluate", other, trained, pictures)
    assert "evaluation/bars-other-bars holds metrics.json and report.html" in kept


def test_mistakes_about_runs_to_compare(trained, pictures, capsys, tmp_path):
    assert "required: data" in refused(capsys, "evaluate", trained)
    assert "there is no model folder" in refused(capsys, "evaluate", trained, tmp_path / "none", pictures)
    assert "is given twice" in refused(capsys, "evaluate", trained, trained, pictures)
    assert "name one run" in refused(capsys, "evaluate", trained, trained, pictures, "--calibrate")
    assert "no list of pairs" in refused(capsys, "evaluate", trained, pictures, "--pairs", tmp_path / "none")


def test_evaluate_can_store_a_threshold(trained, pictures, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    card = (run / "model/README.md").read_text()
    out = answered(
        capsys,
        "evaluate",
        run,
        pictures,
        "--far",
        "0.2",
        "--calibrate",
        "--out",
        tmp_path / "e",
        "--provisional",
        "--probability",
        "platt",
        "--prior",
        "0.5",
    )
    assert "false-accept rate of 20 % (provisional" in out
    settings = json.loads((run / "model/settings.json").read_text())
    assert settings["calibration"]["far"] == 0.2
    assert settings["calibration"]["curve"]["prior"] == 0.5
    refusal = refused(capsys, "evaluate", run, pictures, "--far", "0.1", "--calibrate")
    assert "needs at least 30 identities" in refusal
    learnt = refused(capsys, "evaluate", run, pictures, "--calibrate", "--provisional", "--part", "all")
    assert "was trained on 24 of these 48 items, where every threshold looks better than it is" in learnt
    alone = refused(capsys, "evaluate", run, pictures, "--probability", "platt")
    assert "a probability is kept with the threshold; calibrate, too (--calibrate)" in alone
    unknown = refused(capsys, "evaluate", run, pictures, "--calibrate", "--probability", "plat")
    assert "unknown probability 'plat': did you mean 'platt'?" in unknown
    assert "takes a number, given '2%'" in refused(capsys, "evaluate", run, pictures, "--far", "2%")
    figures = [line for line in card.splitlines() if "MAP@R" in line]
    assert figures
    assert all(line in (run / "model/README.md").read_text() for line in figures)


def test_embed_writes_a_table_that_others_can_read(trained, pictures, capsys, tmp_path):
    import pyarrow.parquet as parquet

    out = answered(capsys, "embed", trained, pictures, "--out", tmp_path / "rows.parquet")
    assert "48 embeddings" in out
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.column_names[:2] == ["item", "identity"]
    assert np.isfinite(np.array(table["embedding"].to_pylist())).all()
    assert b"trine.fingerprint" in table.schema.metadata


def test_gallery_verbs_answer_in_words(trained, pictures, capsys, tmp_path):
    people = tmp_path / "people"
    assert "48 items of 6 identities" in answered(capsys, "enrol", trained, pictures, "--gallery", people)
    again = answered(capsys, "enrol", trained, pictures, "--gallery", people)
    assert "48 items of 6 identities" in again
    probe = pictures / "bar2/0.png"
    assert re.search(
        r"0.png: this is bar2 \(distance 0\.0", answered(capsys, "identify", probe, "--gallery", people)
    )
    stranger = answered(capsys, "identify", pictures / "bar1/0.png", "--gallery", people, "--threshold", "0")
    assert "bar1" in stranger
    hits = answered(capsys, "search", probe, "--gallery", people, "-k", "3").splitlines()
    assert len(hits) == 3
    assert hits[0].endswith("bar2  bar2/0.png")
    assert answered(capsys, "verify", trained, probe, probe).startswith("the same")
    assert answered(capsys, "verify", trained, probe, pictures / "bar5/1.png", "--threshold", "0").startswith(
        "different"
    )


def test_cluster_names_every_item_once(trained, pictures, capsys, tmp_path):
    out = answered(capsys, "cluster", trained, pictures, "--out", tmp_path / "clusters.csv")
    assert "clusters" in out
    rows = (tmp_path / "clusters.csv").read_text().splitlines()
    assert rows[0] == "item,cluster"
    assert len({row.split(",")[0] for row in rows[1:]}) == 48


def test_audit_lists_what_lies_among_others(trained, pictures, capsys, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(pictures, mixed)
    shutil.copy(mixed / "bar2/3.png", mixed / "bar4/odd.png")
    page = tmp_path / "suspects.html"
    out = answered(
        capsys, "audit", trained, mixed, "--out", tmp_path / "suspects.csv", "--page", page, "--top", "3"
    )
    lines = out.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("score"))
    first, second = lines[head + 1 : head + 3]
    assert {first.split()[1], second.split()[1]} == {"bar2/3.png", "bar4/odd.png"}
    assert "nearly identical to" in first
    rows = list(csv.DictReader((tmp_path / "suspects.csv").read_text().splitlines()))
    assert list(rows[0]) == ["item", "label", "looks_like", "score", "evidence"]
    assert {(row["item"], row["label"], row["looks_like"]) for row in rows[:2]} == {
        ("bar2/3.png", "bar2", "bar4"),
        ("bar4/odd.png", "bar4", "bar2"),
    }
    assert float(rows[0]["score"]) == 1
    shown = page.read_text(encoding="utf-8")
    assert shown.count("<img") == 3 * 6
    assert "bar4? 1.00" in shown
    assert "nearly identical to bar4/odd.png of bar4" in shown
    assert "Some of these items were trained on" in shown
    assert "24 of them trained on (48 items" in answered(capsys, "audit", trained, pictures)
    sentence = refused(capsys, "audit", trained, pictures, "--out", tmp_path / "suspects.txt")
    assert "end it with .csv" in sentence
    assert "end it with .html" in refused(capsys, "audit", trained, pictures, "--page", tmp_path / "page.txt")
    assert "top must be at least 1, given 0" in refused(capsys, "audit", trained, pictures, "--top", "0")
    assert "unknown part 'tests'" in refused(capsys, "audit", trained, pictures, "--part", "tests")


def test_printed_recipe_is_one_that_can_be_read(capsys, tmp_path):
    recipe = answered(capsys, "recipe", "--set", "training.epochs=7")
    assert recipe.startswith("# recipes by name: default, ")
    assert "epochs: 7" in recipe
    (tmp_path / "mine.yaml").write_text(recipe)
    assert answered(capsys, "recipe", tmp_path / "mine.yaml") == recipe


def test_recipes_are_listed_with_what_to_expect_of_them(capsys):
    listed = answered(capsys, "recipe", "--list")
    assert listed.startswith("default\n  title:   ")
    assert "\nfacenet\n  title:   FaceNet\n" in listed
    assert "# source:  Schroff" in answered(capsys, "recipe", "facenet")
    assert "# source" not in answered(capsys, "recipe", "facenet", "--set", "seed=1")


def test_a_run_resumes_by_its_own_recipe(pictures, capsys, tmp_path, monkeypatch):
    run = tmp_path / "run"
    start = ["train", pictures, "--out", run, "--set", "training.steps=6", "training.checkpoint_every=2"]
    settings = ["data.split=stratified", "sampler.identities=6", "sampler.items=2"]
    answered(capsys, *start, *settings)
    weights = (run / "model/weights.safetensors").read_bytes()
    shutil.rmtree(run / "model")
    answered(capsys, "train", pictures, "--out", run, "--resume")
    assert (run / "model/weights.safetensors").read_bytes() == weights
    (run / "checkpoints/last.ckpt").unlink()
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    (other / "bar0").rename(other / "beam0")
    assert "other training items" in refused(capsys, "train", other, "--out", run, "--resume")
    assert "no run to resume" in refused(capsys, "train", pictures, "--out", tmp_path / "new", "--resume")


def test_a_gallery_on_a_server_is_named_by_its_address(capsys, trained, pictures):
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'trine[pgvector]'")
    from support import postgres_server

    address = postgres_server.a_gallery("exact").replace("postgres:@", "postgres:s3cret@")
    try:
        said = answered(capsys, "enrol", trained, pictures, "--gallery", address)
        assert "holds 48 items of 6 identities" in said
        assert "postgresql://postgres@/postgres?host=" in said
        assert "s3cret" not in said
        picture = pictures / "bar2" / "3.png"
        assert "bar2/3.png" in answered(capsys, "search", picture, "--gallery", address, "-k", "1")
        found = answered(capsys, "identify", picture, "--gallery", address, "--threshold", "0.1")
        assert "this is bar2" in found
    finally:
        postgres_server.drop(address)
    missing = refused(capsys, "identify", picture, "--gallery", address)
    assert "there is no gallery postgresql://postgres@/" in missing
    assert "s3cret" not in missing


def test_rows_are_enrolled_and_asked_about(capsys, tmp_path):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 12)
    rows = random.normal(size=(6, 5))[labels] + 0.2 * random.normal(size=(72, 5))
    table = tmp_path / "rows.csv"
    lines = [",".join([f"kind{y}", *map(str, row)]) for y, row in zip(labels, rows, strict=True)]
    table.write_text("\n".join(["kind,a,b,c,d,e", *lines]) + "\n")
    run, gallery = tmp_path / "run", tmp_path / "kinds"
    answered(capsys, "train", table, "--label", "kind", "--out", run, "--set", "training.steps=20")
    answered(capsys, "enrol", run, table, "--label", "kind", "--gallery", gallery)
    probes = tmp_path / "probes.csv"
    probes.write_text("a,b,c,d,e\n" + "\n".join(",".join(map(str, row)) for row in rows[[0, 30]]) + "\n")
    first, second = answered(capsys, "identify", probes, "--gallery", gallery).splitlines()
    assert first.startswith("row 1: this is kind0")
    assert second.startswith("row 2: this is kind2")
    assert "kind0" in answered(capsys, "search", probes, "--gallery", gallery, "-k", "2").splitlines()[1]


def test_all_items_are_not_passed_off_as_unseen(trained, pictures, capsys, tmp_path):
    out = answered(capsys, "evaluate", trained / "model", pictures, "--part", "all", "--out", tmp_path / "e")
    assert "all items, 24 of them trained on (48 items of 6 identities)" in out


def test_mistakes_in_the_words_themselves(capsys):
    assert "'trian' (choose from 'demo', 'train'" in refused(capsys, "trian")
    assert "required: data, --out; see trine train --help" in refused(capsys, "train")
    assert "unrecognized arguments: --epochs" in refused(
        capsys, "train", "digits", "--out", "x", "--epochs", "3"
    )
    assert "trine: -k takes a whole number, given 'many'; see trine search --help" in refused(
        capsys, "search", "a.jpg", "--gallery", "g", "-k", "many"
    )


def test_mistakes_about_data(capsys, pictures, tmp_path):
    run = tmp_path / "run"
    train = lambda *arguments: refused(capsys, "train", *arguments, "--out", run)  # noqa: E731
    assert "there is no file or folder 'nowhere'" in train("nowhere")
    assert "did you mean 'digits'" in train("digit")

    table = tmp_path / "rows.csv"
    table.write_text("kind,a,b\nx,1,2\nx,2,3\ny,4,5\n")
    assert "'kin'" in (sentence := train(table, "--label", "kin"))
    assert "did you mean 'kind'" in sentence

    one = tmp_path / "one"
    shutil.copytree(pictures / "bar0", one / "only")
    assert "1 identity only ('only')" in train(one)

    odd = tmp_path / "odd.csv"
    odd.write_bytes(b"kind,a\rx,1\ry,2\r")
    assert "no header line that can be read" in train(odd, "--label", "kind")

    fake = tmp_path / "fake"
    shutil.copytree(pictures, fake)
    (fake / "bar0/text.jpg").write_text("not a picture at all")
    assert "bar0/text.jpg" in (sentence := train(fake))
    assert "picture" in sentence
    assert not run.exists()


def test_mistakes_about_settings(capsys, pictures, tmp_path):
    run = tmp_path / "run"
    change = lambda *pairs: refused(capsys, "train", pictures, "--out", run, "--set", *pairs)  # noqa: E731
    assert "did you mean 'training.epochs'" in change("training.epoch=3")
    assert "write KEY=VALUE" in change("training.epochs")
    assert "loss.mining" in change("loss.mining=semi-hard")
    large = change("data.split=stratified", "sampler.items=40", "sampler.identities=2")
    assert "40" in large
    assert not (run / "model").exists()
    (tmp_path / "mine.yaml").write_text("trainig:\n  epochs: 3\n")
    sentence = refused(capsys, "train", pictures, "--out", run, "--recipe", tmp_path / "mine.yaml")
    assert "mine.yaml" in sentence
    assert "did you mean 'training'" in sentence


def test_mistakes_about_models(capsys, trained, pictures, tmp_path):
    assert "there is no model folder" in refused(capsys, "evaluate", tmp_path / "none", pictures)
    old = tmp_path / "old"
    shutil.copytree(trained / "model", old)
    settings = json.loads((old / "settings.json").read_text())
    key = next(k for k in settings if "version" in k)
    (old / "settings.json").write_text(json.dumps(settings | {key: 99}))
    assert "99" in refused(capsys, "evaluate", old, pictures)
    assert "runs" in refused(capsys, "train", pictures, "--out", trained)
    bare = tmp_path / "bare"
    shutil.copytree(trained / "model", bare)
    assert "has no test part of it" in refused(capsys, "evaluate", bare, pictures, "--part", "test")


def test_mistakes_about_galleries(capsys, trained, pictures, tmp_path):
    missing = refused(capsys, "identify", pictures / "bar0/0.png", "--gallery", tmp_path / "none")
    assert "there is no gallery" in missing
    assert "enrol" in missing
    answered(capsys, "enrol", trained, pictures, "--gallery", tmp_path / "g")
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    assert "text.jpg" in refused(capsys, "identify", text, "--gallery", tmp_path / "g")
    assert "nowhere.jpg" in refused(capsys, "verify", trained, pictures / "bar0/0.png", "nowhere.jpg")
