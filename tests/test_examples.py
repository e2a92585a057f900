"""Every script in examples/ runs, and shows what it promises; none takes more than a minute to read."""

import re
import subprocess
import sys

import pytest

from support.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def output_of(name):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py"], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("name", ["torch_loop", "lightning_module"])
def test_unseen_images_are_found_better_after_training(name):
    found = re.search(r"MAP@R on unseen images: (\S+) as pixels, (\S+) as embeddings", output_of(name))
    before, after = map(float, found.groups())
    assert 0.5 < before < 0.65
    assert after > before + 0.15


def test_a_learned_distance_classifies_better():
    accuracy = dict(re.findall(r"^(.+): accuracy (\S+)$", output_of("sklearn_pipeline"), re.MULTILINE))
    assert float(accuracy["LMNN"]) > float(accuracy["standardised columns"]) + 0.01
    assert float(accuracy["TripletEmbedding"]) > float(accuracy["standardised columns"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 70
    assert f"python examples/{path.name}" in text.partition('"""')[2].partition('"""')[0]


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES} == {"torch_loop", "lightning_module", "sklearn_pipeline"}
