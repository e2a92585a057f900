"""Pictures with names of any writing: a letter that no font has becomes a box, without a warning."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from trine.report.drawing import new_figure, save_figure


def drawn(word: str, path: Path) -> np.ndarray:
    figure = new_figure(2, 1)
    axes = figure.subplots()
    axes.set_title(word, parse_math=False)
    axes.legend(axes.plot([0, 1]), [word])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, path)
    return np.asarray(Image.open(path).convert("L"))


def test_names_of_any_writing_are_drawn_without_a_warning(tmp_path: Path) -> None:
    for word in ("山", "한", "हि", "😀", "\u0378", "\x01", "two\nlines", "$x_1$", ""):
        assert (drawn(word, tmp_path / "x.png") < 128).any()
    # A letter outside of Unicode's writings has no font anywhere.
    np.testing.assert_array_equal(drawn("a\u0378", tmp_path / "x.png"), drawn("a□", tmp_path / "y.png"))
    assert not np.array_equal(drawn("é", tmp_path / "x.png"), drawn("□", tmp_path / "y.png"))
