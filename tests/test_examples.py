"""Every script and notebook in examples/ runs, and shows what it promises."""

import json
import re
import runpy
import warnings

import pytest

from support.paths import ROOT

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture
def output_of(capsys):
    """Runs a script in this process, which spares it the start of torch, and returns what it prints."""

    def run(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Lightning about its own settings
            runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("name", "gain"), [("torch_loop", 0.15), ("lightning_module", 0.15), ("own_rule", 0.08)]
)
def test_unseen_images_are_found_better_after_training(name, gain, output_of):
    found = re.search(r"MAP@R on unseen images: (\S+) as pixels, (\S+) as embeddings", output_of(name))
    before, after = map(float, found.groups())
    assert 0.5 < before < 0.65
    assert after > before + gain


def test_a_learned_distance_classifies_better(output_of):
    accuracy = dict(re.findall(r"^(.+): accuracy (\S+)$", output_of("sklearn_pipeline"), re.MULTILINE))
    assert float(accuracy["LMNN"]) > float(accuracy["standardised columns"]) + 0.01
    assert float(accuracy["TripletEmbedding"]) > float(accuracy["standardised columns"])


def test_a_gallery_names_whom_it_knows(output_of):
    found = re.search(r"identified: (\d+) of (\d+), rejected: (\d+) of (\d+) nines", output_of("gallery"))
    identified, known, rejected, unknown = map(int, found.groups())
    assert identified > 0.85 * known
    assert rejected > 0.8 * unknown


def test_changed_labels_are_found(output_of):
    found = re.search(r"of the first (\d+) suspects (\d+) are wrong", output_of("wrong_labels"))
    first, wrong = map(int, found.groups())
    assert wrong > 0.6 * first


def test_a_threshold_holds_for_other_people(output_of):
    found = re.findall(r"asked for (\d+)%.*\n.*accepts (\S+)% of impostor", output_of("threshold"))
    assert [asked for asked, _ in found] == ["10", "5", "1"]
    assert all(float(accepted) < 1.3 * float(asked) for asked, accepted in found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", pyplot.close)
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 4
    assert all(cell["outputs"] for cell in cells if "print(" in "".join(cell["source"]))
    names = {"__name__": "__main__"}
    with pyplot.rc_context({"backend": "Agg"}):
        for number, text in enumerate(code):
            exec(compile(text, f"{path.name}, code cell {number}", "exec"), names)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 70
    assert f"python examples/{path.name}" in text.partition('"""')[2].partition('"""')[0]


def test_every_example_is_run():
    assert {path.stem for path in SCRIPTS} == {
        *("gallery", "lightning_module", "own_rule", "sklearn_pipeline"),
        *("threshold", "torch_loop", "wrong_labels"),
    }
    assert {path.stem for path in NOTEBOOKS} == {"digits", "mining"}
