"""A whole run through the command line: how often it decodes a picture, and what it leaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trine.cli import main

WANTED = (
    "recipe.yaml",
    "split.json",
    "metrics.csv",
    "doctor.json",
    "metrics.json",
    "report.html",
    "picture.png",
)


def test_a_run_decodes_each_picture_at_most_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for identity in range(5):
        (tmp_path / "data" / f"id {identity}").mkdir(parents=True)
        for number in range(8):
            pixels = (40 * identity + random.normal(20, 15, (12, 10, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / f"id {identity}" / f"{number}.png")
    decoded: Counter[str] = Counter()
    opened = Image.open

    def counting(file: object, *arguments: object, **settings: object) -> object:
        decoded[str(getattr(file, "name", file))] += 1
        return opened(file, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("PIL.Image.open", counting)
    run = tmp_path / "run"
    settings = ["training.steps=4", "data.split=stratified", "data.test=0.4", "data.validation=0.2"]
    assert main(["train", str(tmp_path / "data"), "--out", str(run), "--set", *settings]) == 0
    pictures = {str(path) for path in (tmp_path / "data").rglob("*.png")}
    assert {path for path in decoded if path in pictures} == pictures
    assert max(decoded[path] for path in pictures) <= 2
    assert all((run / name).is_file() for name in WANTED)
