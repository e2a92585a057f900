"""`trine train`: what a run folder holds, resuming, and mistakes."""

import json
import shlex
import shutil

from support.commands import answered, refused
from trine.cli import main


def test_a_run_folder_holds_what_it_promises(run):
    for name in (
        "recipe.yaml",
        "split.json",
        "metrics.csv",
        "metrics.json",
        "report.html",
        "picture.png",
        "model/README.md",
    ):
        assert (run / name).stat().st_size > 0
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["after_training"]["retrieval"]["queries"] == 12
    assert 0 <= figures["after_training"]["verification"]["roc_auc"] <= 1
    split = json.loads((run / "split.json").read_text())["parts"]
    assert [len(split[part]) for part in ("train", "validation", "test")] == [24, 12, 12]


def test_a_run_resumes_by_its_own_recipe(bars, capsys, tmp_path, monkeypatch):
    run = tmp_path / "run"
    start = ["train", bars, "--out", run, "--set", "training.steps=6", "training.checkpoint_every=2"]
    settings = ["data.split=stratified", "sampler.identities=6", "sampler.items=2"]
    answered(capsys, *start, *settings)
    weights = (run / "model/weights.safetensors").read_bytes()
    shutil.rmtree(run / "model")
    answered(capsys, "train", bars, "--out", run, "--resume")
    assert (run / "model/weights.safetensors").read_bytes() == weights
    (run / "checkpoints/last.ckpt").unlink()
    other = tmp_path / "other"
    shutil.copytree(bars, other)
    (other / "bar0").rename(other / "beam0")
    assert "different training items" in refused(capsys, "train", other, "--out", run, "--resume")
    assert "no run to resume" in refused(capsys, "train", bars, "--out", tmp_path / "new", "--resume")


def test_an_interrupted_run_says_how_to_resume_it(bars, capsys, tmp_path, monkeypatch):
    run = tmp_path / "a run"

    def interrupted(data, recipe, *, out, **more):
        assert run.is_dir()
        (run / "recipe.yaml").write_text("seed: 0\n")
        raise KeyboardInterrupt

    monkeypatch.setattr("trine.pipelines.train_run", interrupted)
    assert main(["train", str(bars), "--out", str(run), "--singletons", "skip"]) == 130
    told = capsys.readouterr().out.splitlines()[-1]
    again = f"trine train {bars} --singletons skip --out {shlex.quote(str(run))} --resume"
    assert told == f"interrupted; resume with: {again}"


def test_mistakes_about_data(capsys, bars, tmp_path):
    run = tmp_path / "run"
    train = lambda *arguments: refused(capsys, "train", *arguments, "--out", run)  # noqa: E731
    assert "there is no file or folder 'nowhere'" in train("nowhere")
    assert "did you mean 'digits'" in train("digit")

    table = tmp_path / "rows.csv"
    table.write_text("kind,a,b\nx,1,2\nx,2,3\ny,4,5\n")
    assert "'kin'" in (sentence := train(table, "--label", "kin"))
    assert "did you mean 'kind'" in sentence

    one = tmp_path / "one"
    shutil.copytree(bars / "bar0", one / "only")
    assert "has only 1 identity ('only')" in train(one)

    fake = tmp_path / "fake"
    shutil.copytree(bars, fake)
    (fake / "bar0/text.jpg").write_text("not a picture at all")
    assert "bar0/text.jpg" in (sentence := train(fake))
    assert "image" in sentence
    assert not run.exists()


def test_mistakes_about_settings(capsys, bars, tmp_path):
    run = tmp_path / "run"
    change = lambda *pairs: refused(capsys, "train", bars, "--out", run, "--set", *pairs)  # noqa: E731
    assert "did you mean 'training.epochs'" in change("training.epoch=3")
    assert "invalid --set 'training.epochs': expected KEY=VALUE" in change("training.epochs")
    assert "loss.mining" in change("loss.mining=semi-hard")
    large = change("data.split=stratified", "sampler.items=40", "sampler.identities=2")
    assert "40" in large
    assert not (run / "model").exists()
    (tmp_path / "mine.yaml").write_text("trainig:\n  epochs: 3\n")
    sentence = refused(capsys, "train", bars, "--out", run, "--recipe", tmp_path / "mine.yaml")
    assert "mine.yaml" in sentence
    assert "did you mean 'training'" in sentence


def test_mistakes_about_models(capsys, run, bars, tmp_path):
    assert "there is no model folder" in refused(capsys, "evaluate", tmp_path / "none", bars)
    old = tmp_path / "old"
    shutil.copytree(run / "model", old)
    settings = json.loads((old / "settings.json").read_text())
    key = next(k for k in settings if "version" in k)
    (old / "settings.json").write_text(json.dumps(settings | {key: 99}))
    assert "99" in refused(capsys, "evaluate", old, bars)
    assert "runs" in refused(capsys, "train", bars, "--out", run)
    bare = tmp_path / "bare"
    shutil.copytree(run / "model", bare)
    assert "so it has no test part" in refused(capsys, "evaluate", bare, bars, "--part", "test")
