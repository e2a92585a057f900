"""Runs command lines in tests: small pictures to train on, and the answers and errors of a command."""

import numpy as np
import pytest

from trine.cli import main


def draw_bars(root):
    """Draws six identities of eight pictures: bars of one direction each, at any brightness."""
    pictures = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 16)
    for identity in range(6):
        angle = np.pi * identity / 6
        wave = np.sin(12 * (np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]))
        folder = root / f"bar{identity}"
        folder.mkdir(parents=True)
        for item in range(8):
            noisy = 128 + 90 * wave * random.uniform(0.6, 1) + random.normal(0, 8, (16, 16))
            pictures.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{item}.png")
    return root


def train_bars(pictures, run, *settings):
    """Trains on them for a second or two."""
    usual = [
        *("training.steps=30", "data.split=stratified", "data.test=0.25", "data.validation=0.25"),
        "data.calibration_folds=3",
        *("sampler.identities=6", "sampler.items=2"),
    ]
    assert main(["train", str(pictures), "--out", str(run), "--set", *usual, *settings]) == 0
    return run


def refused(capsys, *arguments):
    """Runs a command line that must fail, and returns its one-line error."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("trine: ")
    return line


def answered(capsys, *arguments, code=0):
    """Runs a command line that must exit with a code, and returns its output."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == code, capsys.readouterr().err
    return capsys.readouterr().out
