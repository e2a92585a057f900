"""NaN in the loss: the items it comes from are named, and mixed precision may skip a few such steps."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.runs import rows
from trine.encoders import build_encoder
from trine.errors import SettingError
from trine.training import Recipe, SamplerRecipe, TrainingRecipe, fit
from trine.training.data_loader import Batch, BatchLoader
from trine.training.diagnostics.nonfinite import MOST_SKIPPED, OverflowCounter
from trine.training.loop import check_finite
from trine.training.metric_step import MetricStep

DATA = rows([6] * 8, spread=0.5)
RECIPE = Recipe(sampler=SamplerRecipe(identities=8, items=6), training=TrainingRecipe(steps=6, device="cpu"))


def step_of(recipe: Recipe) -> tuple[MetricStep, Batch]:
    encoder = build_encoder(DATA.items, recipe=recipe.encoder)
    batch = Batch(encoder.prepare(DATA.items), torch.from_numpy(DATA.labels), torch.arange(len(DATA)))
    return MetricStep(encoder, recipe=recipe, steps=6, names=DATA.names), batch


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_items_that_are_not_finite_themselves_are_named_first(value: float) -> None:
    """Their batch statistics make all embeddings of the batch NaN; the items alone are named."""
    step, batch = step_of(RECIPE)
    inputs = batch.inputs.clone()
    inputs[[7, 30], 3] = value
    batch = batch._replace(inputs=inputs)
    embeddings = step.embed(batch, step=2)
    assert not torch.isfinite(embeddings).all(dim=1).any()
    with pytest.raises(
        SettingError,
        match=r"^the loss is nan at step 2 \(row 7, row 30: values that are not finite\); fix them in",
    ):
        step.loss(embeddings, batch, step=2)


def test_items_whose_embeddings_are_not_finite_are_named() -> None:
    step, batch = step_of(RECIPE)
    embeddings = step.embed(batch, step=2).detach().clone()
    embeddings[[3, 4, 5, 6, 7, 40], 1] = float("nan")
    with pytest.raises(SettingError) as caught:
        step.loss(embeddings, batch, step=2)
    assert str(caught.value) == (
        "the loss is nan at step 2 (row 3, row 4, row 5, row 6, row 7, ...: embeddings that are not finite); "
        "check these items, or lower training.learning_rate (it is 0.001)"
    )


def test_a_batch_is_named_where_nothing_in_it_is_finite() -> None:
    step, batch = step_of(RECIPE)
    embeddings = torch.full((len(DATA), 4), float("nan"))
    with pytest.raises(
        SettingError,
        match=re.escape(
            "the loss is nan at step 2 (a batch with row 0, row 1, row 2, row 3, row 4, ...); lower "
            "training.learning_rate (it is 0.001) or check these items"
        ),
    ):
        step.loss(embeddings, batch, step=2)


def test_a_run_on_such_an_item_stops_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was finite when the encoder was built, as a file that changes later may be."""
    original = BatchLoader._batch

    def batch(self: BatchLoader, chosen: list[int]) -> Batch:
        made = original(self, chosen)
        inputs = made.inputs.clone()
        inputs[made.positions == 11] = float("nan")
        return made._replace(inputs=inputs)

    monkeypatch.setattr(BatchLoader, "_batch", batch)
    with pytest.raises(SettingError, match=r"\(row 11: values that are not finite\); fix them in the data$"):
        fit(DATA, RECIPE, out=tmp_path)
    assert not (tmp_path / "model").exists()


def test_mixed_precision_in_16_bits_skips_such_a_step() -> None:
    """As torch's scaler does: the weights stay as they are, and the scale is halved."""
    step, batch = step_of(replace(RECIPE, training=replace(RECIPE.training, precision="16")))
    optimiser = torch.optim.AdamW(step.parameter_groups())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = {name: value.clone() for name, value in step.encoder.named_parameters()}
    embeddings = step.embed(batch, step=0) * float("inf")
    loss = step.loss(embeddings, batch, step=0)
    assert not torch.isfinite(loss)
    scaler.scale(loss).backward()
    scaler.step(optimiser)
    scaler.update()
    assert scaler.get_scale() == 512
    assert all(torch.equal(value, before[name]) for name, value in step.encoder.named_parameters())


def test_skipping_without_end_is_an_error() -> None:
    overflows = OverflowCounter()
    for step in range(MOST_SKIPPED - 1):
        overflows.count(step, skipped=True, scale=2.0**-step)
    overflows.count(MOST_SKIPPED, skipped=False, scale=1.0)
    for step in range(MOST_SKIPPED - 1):
        overflows.count(100 + step, skipped=True, scale=2.0**-step)
    with pytest.raises(
        SettingError,
        match=r"^at step 200 the gradient has not been finite for 30 steps in a row, although mixed "
        r"precision scaled it down to .*; set training.precision to bf16 or 32, or lower training",
    ):
        overflows.count(200, skipped=True, scale=2.0**-40)


def test_statistics_that_are_not_finite_are_never_saved() -> None:
    step, _ = step_of(RECIPE)
    check_finite(step.encoder, step=3)
    for name, value in step.encoder.named_buffers():
        if name.endswith("running_mean"):
            value[0] = float("inf")
    with pytest.raises(SettingError, match=r"^after step 3 the weights '.*running_mean' are not finite"):
        check_finite(step.encoder, step=3)
