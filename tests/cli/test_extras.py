"""Each verb runs with the extras that its help names, and nothing else that is installed here."""

import numpy as np
import pytest

from support.effort import thorough
from support.only_extras import EXTRAS, run_with
from trine.cli.parser import Group
from trine.cli.verbs import TRINE

COMMANDS = [
    "recipe trinet",
    "train digits --out run --set training.steps=30",
    "evaluate run digits",
    "doctor run",
    "audit run digits",
    "mine run digits --out triplets.parquet",
    "embed run digits --out embeddings.parquet",
    "export run --to onnx --out exported",
    "enrol run digits --gallery known",
    "identify probe.png --gallery known",
    "search probe.png --gallery known",
    "verify probe.png probe.png --gallery known --threshold 1",
    "cluster run digits --threshold 0.5 --out clusters",
    "gallery list known",
    "gallery stats known",
    "gallery check known",
    "gallery forget known 3",
    "gallery backup known kept.db",
    "gallery export known known.parquet",
    "keys add ann --gallery known",
    "faces photos --out faces",
]


@thorough
def test_a_verb_needs_the_extras_of_its_help(tmp_path):
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / "probe.png")
    (tmp_path / "photos").mkdir()
    image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "photos/noise.png")
    for command in COMMANDS:
        words = command.split()
        node = TRINE.verbs[words[0]]
        if isinstance(node, Group):
            node = node.verbs[words[1]]
        done = run_with(node.extras, words, tmp_path)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_help_names_extras_that_exist():
    for node in TRINE.verbs.values():
        for verb in node.verbs.values() if isinstance(node, Group) else [node]:
            assert set(verb.extras) <= set(EXTRAS)
    named = TRINE.notes.partition("exit codes")[0]
    left_out = {"train", "losses", "dev", "benchmarks"}  # said in its first line; of no verb; not for users
    assert {name for name in set(EXTRAS) - left_out if name not in named} == set()
