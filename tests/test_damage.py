"""Damaged files give a sentence: random changes, and the verbs that read what was changed."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from support import damage, damage_cases
from support.effort import effort
from trine import TrineError
from trine.cli import main

TRIALS = 120


class Planted:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_whatever_is_damaged_gives_a_sentence_and_loses_nothing(tmp_path):
    damage_cases.make(tmp_path / "everything")
    count = effort(TRIALS, 2000)
    done = list(damage.trials(tmp_path / "everything", range(count), seed=0))
    assert [trial for trial in done if trial.problem] == []
    codes = Counter(trial.code for trial in done)
    assert codes[2] > count // 3  # else nothing is damaged
    assert codes[0] > count // 10  # else nothing can be read


def test_no_pickle_is_executed(tmp_path, capsys):
    ran = tmp_path / "ran"
    everything = tmp_path / "everything"
    damage_cases.make(everything)
    pickle.loads(pickle.dumps(Planted(ran)))
    assert ran.exists()  # a pickle that is executed is noticed
    ran.unlink()
    np.savez(everything / "objects.npz", x=np.array([Planted(ran)] * 3, dtype=object), y=np.arange(3))
    torch.save({"step": 1, "dataset": Planted(ran)}, everything / "fitted/checkpoints/last.ckpt")
    with pytest.raises(TrineError, match="damaged"):
        damage_cases.resume(everything)
    words = [everything / "run", everything / "objects.npz", "--out", everything / "new.parquet"]
    assert main(["embed", *map(str, words)]) == 2
    assert "Python objects" in capsys.readouterr().err
    for file in ("weights.safetensors", "strangers.safetensors", "trained_on.safetensors", "settings.json"):
        (everything / "run/model" / file).write_bytes(pickle.dumps(Planted(ran)))
        assert (
            main(["embed", str(everything / "run"), *map(str, (everything / "rows.npz", "--out", words[-1]))])
            == 2
        )
    assert not ran.exists()
