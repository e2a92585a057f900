"""`training.chunk`: a run in chunks ends with the weights of a run without, and is resumed like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trine.data import Dataset, ImageArray, Vectors
from trine.encoders import Encoder, EncoderRecipe, MlpSettings, SmallResNetSettings
from trine.errors import SettingError
from trine.training import AugmentRecipe, Recipe, SamplerRecipe, TrainingRecipe, fit, load_recipe, metric_step

RECIPE = Recipe(
    encoder=EncoderRecipe(
        dimension=8,
        small_resnet=SmallResNetSettings(width=8, dropout=0.2),
        mlp=MlpSettings((16,), dropout=0.2),
    ),
    augment=AugmentRecipe(erase=0.3, flip=0.1),
    sampler=SamplerRecipe(identities=6, items=4),
    training=TrainingRecipe(steps=9, checkpoint_every=4, chunk=7),
)


def digits(count: int, *, kind: str = "images") -> Dataset:
    bunch = load_digits()
    pixels = (bunch.images[:count] * 15.9375).astype(np.uint8)
    items = ImageArray(pixels) if kind == "images" else Vectors(pixels.reshape(count, 64).astype(np.float32))
    names = tuple(f"item {i}" for i in range(count))
    return Dataset(items, bunch.target[:count].astype(np.int64), tuple("0123456789"), names, root="digits")


def in_one_graph(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes the step embed the same chunks with one graph over all of them."""
    seen: list[int] = []

    class OneGraph:
        def __init__(self, encoder: Encoder, inputs: torch.Tensor, *, sizes: list[int]) -> None:
            self.encoder, self.parts = encoder, inputs.split(sizes)
            seen.extend(map(len, self.parts))

        def embed(self) -> torch.Tensor:
            return torch.cat([self.encoder(part) for part in self.parts])

        def backward(self) -> None:
            pass

    monkeypatch.setattr(metric_step, "GradientCache", OneGraph)
    return seen


def assert_close(one: Encoder, other: Encoder, tolerance: float) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=tolerance, atol=tolerance, msg=name)


def moved(encoder: Encoder, recipe: Recipe, folder: Path, data: Dataset) -> bool:
    start = fit(data, replace(recipe, training=replace(recipe.training, learning_rate=1e-12)), out=folder)
    return any(
        not torch.allclose(value, start.state_dict()[name], atol=1e-4)
        for name, value in encoder.state_dict().items()
    )


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("changes", [{}, {"gradient_clip": 0.1}, {"precision": "bf16"}])
def test_a_run_in_chunks_ends_as_one_graph_over_the_chunks_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, changes: dict[str, Any]
) -> None:
    data = digits(120, kind=kind)
    recipe = replace(RECIPE, training=replace(RECIPE.training, **changes))
    cached = fit(data, recipe, out=tmp_path / "cached")
    with monkeypatch.context() as patched:
        sizes = in_one_graph(patched)
        plain = fit(data, recipe, out=tmp_path / "plain")
    assert max(sizes) <= 7
    assert min(sizes) >= 4
    assert len(sizes) >= 3 * 9
    assert moved(cached, recipe, tmp_path / "start", data)
    assert_close(plain, cached, 2e-2 if "precision" in changes else 2e-4)
    logs = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("cached", "plain")]
    assert logs[0][:2] == logs[1][:2], "the figures of the first step"
    assert len(logs[0]) == len(logs[1])


def test_without_dropout_and_statistics_the_chunks_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = digits(120, kind="vectors")
    encoder = replace(RECIPE.encoder, mlp=MlpSettings((), dropout=0.0))
    recipe = replace(RECIPE, encoder=encoder)
    whole = fit(data, replace(recipe, training=replace(recipe.training, chunk=None)), out=tmp_path / "whole")
    for chunk in (5, 7, 100):
        changed = replace(recipe, training=replace(recipe.training, chunk=chunk))
        assert_close(whole, fit(data, changed, out=tmp_path / str(chunk)), 1e-5)


class Killed(BaseException):
    pass


def test_a_killed_run_in_chunks_is_resumed_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = digits(120)
    expected = fit(data, RECIPE, out=tmp_path / "whole")
    original = metric_step.MetricStep.loss

    def loss(self: Any, *arguments: Any, **settings: Any) -> torch.Tensor:
        if settings["step"] >= 6:
            raise Killed
        return original(self, *arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(metric_step.MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(data, RECIPE, out=tmp_path / "run")
    resumed = fit(data, RECIPE, out=tmp_path / "run", resume=True)
    assert resumed.fingerprint == expected.fingerprint


def test_chunk_is_a_setting_with_a_range() -> None:
    assert load_recipe(overrides={"training.chunk": 64}).training.chunk == 64
    with pytest.raises(SettingError, match=r"training\.chunk must be an integer >= 2"):
        load_recipe(overrides={"training.chunk": 1})
