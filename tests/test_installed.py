"""Three users with trine installed from its wheel: an own loop, phone pictures, a DataFrame in a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing of the checkout."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds the wheel")
    built, installed = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    quiet = ("--no-deps", "--no-index")
    subprocess.run([*pip, "wheel", *quiet, "--no-build-isolation", "-w", built, ROOT], check=True)
    (found,) = built.glob("trine-*.whl")
    subprocess.run([*pip, "install", *quiet, "--target", installed, found], check=True)
    return installed


def run(wheel: Path, folder: Path, *arguments: str | Path, code: int = 0) -> str:
    """Runs Python in a folder with the installed wheel, and returns what it prints; warnings are errors."""
    environment = os.environ | {"PYTHONPATH": str(wheel), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    return done.stdout + done.stderr


OWN_LOOP = """
import torch
import trine
from sklearn.datasets import load_digits
from trine import TripletLoss, census, mine
from trine.data import PKSampler
from trine.evaluation import retrieval

assert trine.__file__.startswith({wheel!r})
torch.manual_seed(0)
pixels, digits = load_digits(return_X_y=True)
x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))
loss, optimizer = TripletLoss(margin=0.2, mining="hard"), torch.optim.Adam(network.parameters(), lr=1e-3)
batches = PKSampler(digits[:1000], identities=10, items=6, seed=0)
for rows in [batch for _ in range(12) for batch in batches]:
    optimizer.zero_grad()
    loss(torch.nn.functional.normalize(network(x[rows])), y[rows]).backward()
    optimizer.step()
with torch.no_grad():
    found = torch.nn.functional.normalize(network(x[1000:]))
print(census(found, y[1000:], margin=0.2).triplets, len(mine(found, y[1000:], mining="hard")))
print(retrieval(found, y[1000:]).map_at_r > retrieval(x[1000:], y[1000:]).map_at_r)
"""


def test_a_training_loop_of_the_user(wheel: Path, tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    script.write_text(OWN_LOOP.format(wheel=str(wheel)), encoding="utf-8")
    triplets, anchors, improved = run(wheel, tmp_path, script).split()
    assert int(triplets) > 1_000_000
    assert int(anchors) == 797
    assert improved == "True"


def photograph(root: Path, *, people: int = 6, each: int = 8) -> None:
    """Pictures as phones leave them: HEIC and JPEG, turned by EXIF, of several sizes, beside other files."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("pillow_heif").register_heif_opener()
    random = np.random.default_rng(0)
    for person in range(people):
        folder = root / f"person {person} é"
        folder.mkdir(parents=True)
        for number in range(each):
            height, width = (96, 128) if number % 2 else (120, 90)
            across, down = np.linspace(0, 1, width)[None], np.linspace(0, 1, height)[:, None]
            angle = np.pi * person / people
            wave = np.sin(12 * (np.cos(angle) * across + np.sin(angle) * down))
            grey = 128 + 90 * wave * random.uniform(0.6, 1) + random.normal(0, 8, (height, width))
            picture = image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
            exif = image.Exif()
            exif[0x0112] = 6 if number % 4 == 3 else 1
            if exif[0x0112] == 6:
                picture = picture.transpose(image.Transpose.ROTATE_90)
            name = f"IMG_{number:04}.{'HEIC' if number % 3 == 0 else 'jpg'}"
            picture.save(folder / name, exif=exif)
        (folder / ".DS_Store").write_bytes(b"\0")
    (root / "Thumbs.db").write_bytes(b"\0")


def test_a_folder_of_phone_pictures(wheel: Path, tmp_path: Path) -> None:
    photograph(tmp_path / "photos")
    settings = ("training.steps=30", "data.split=stratified", "data.test=0.25", "encoder.image_size=32")
    probe = "photos/person 2 é/IMG_0003.HEIC"
    commands = (
        ("train", "photos", "--out", "run", "--set", *settings),
        ("enrol", "run", "photos", "--gallery", "people"),
        ("identify", probe, "--gallery", "people"),
        ("evaluate", "run", "photos"),
    )
    # One process for all: a fresh installation compiles its kernels, and each process imports torch.
    script = f"from trine.cli import main\nfor words in {commands!r}: print('##', main(words))"
    trained, _, identified, evaluated = run(wheel, tmp_path, "-c", script).split("## 0")[:4]
    assert "48 images of 6 identities" in trained
    after = re.search(r"^recall@1 +\S+ +(\S+)", trained, re.MULTILINE)
    assert after is not None
    assert float(after[1]) > 0.8
    assert "person 2 é" in identified
    assert "recall@1" in evaluated


NOTEBOOK = [
    "import pandas as pd\nfrom sklearn.datasets import load_wine\nimport trine",
    "frame = load_wine(as_frame=True).frame\nframe['target'] = frame['target'].map({0: 'a', 1: 'b', 2: 'c'})",
    "from trine.data import load\ndata, report = load(frame, label='target')\nprint(report)\ndata",
    "model = trine.TripletEmbedding(8, epochs=10, random_state=0)\n"
    "embeddings = model.fit_transform(frame.drop(columns='target'), frame['target'])\nembeddings.shape",
    "from trine.evaluation import retrieval\nprint(retrieval(embeddings, frame['target']))",
    "try:\n    load(frame, label='targte')\nexcept trine.TrineError as error:\n    print(error)",
]

KERNEL = """
import ast, sys
names = {}
for cell in CELLS:
    *lines, last = ast.parse(cell).body
    if not isinstance(last, ast.Expr):
        lines, last = [*lines, last], None
    exec(compile(ast.Module(lines, []), "cell", "exec"), names)
    if last is not None:
        print(repr(eval(compile(ast.Expression(last.value), "cell", "eval"), names)))
"""


def test_a_frame_in_a_notebook(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    script = tmp_path / "notebook.py"
    script.write_text(f"CELLS = {NOTEBOOK!r}\n{KERNEL}", encoding="utf-8")
    said = run(wheel, tmp_path, script)
    assert "178 rows of 3 identities" in said
    assert "<Dataset: 178 vectors, 3 identities>" in said
    assert "(178, 8)" in said
    recall = re.search(r"recall_at 1 +(\S+)", said)
    assert recall is not None
    assert float(recall[1]) > 0.9
    assert "'targte'" in said
    assert "'target'" in said.partition("'targte'")[2]
