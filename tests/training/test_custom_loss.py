"""Losses by others: they train as trine's own do, are resumed to the same bits, and are recorded."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn

from support import multiprocess_custom_loss
from support.multiprocess import run_processes
from support.runs import rows
from trine.cli import main
from trine.encoders import Encoder, EncoderRecipe, MlpSettings
from trine.errors import InputError, SettingError
from trine.evaluation import retrieval
from trine.losses import triplet_loss
from trine.pipelines import evaluate_run, train_run
from trine.training import (
    LossRecipe,
    Recipe,
    SamplerRecipe,
    TrainingRecipe,
    fit,
    load_recipe,
    read_findings,
    with_loss,
)
from trine.training.criterion import Criterion
from trine.training.custom_loss import loss_terms
from trine.training.data_loader import Batch
from trine.training.loss_recipe import AddedLossRecipe
from trine.training.metric_step import MetricStep
from trine.training.run_dir import RunDir

DATA = rows([9] * 8, spread=0.9)
RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=6, mlp=MlpSettings((24,), dropout=0.1)),
    sampler=SamplerRecipe(identities=6, items=4),
    training=TrainingRecipe(steps=25, checkpoint_every=4, device="cpu"),
)


def hard(embeddings: Tensor, labels: Tensor) -> Tensor:
    return triplet_loss(embeddings, labels, margin=0.3, mining="hard", reduction="mean")


def same(one: Encoder, other: Encoder) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("chunk", [None, 7])
def test_a_function_trains_to_the_bits_of_the_same_loss_in_the_recipe(
    tmp_path: Path, chunk: int | None
) -> None:
    recipe = replace(RECIPE, training=replace(RECIPE.training, chunk=chunk))
    own = replace(recipe, loss=LossRecipe(margin=0.3, mining="hard", reduction="mean"))
    expected = fit(DATA, own, out=tmp_path / "own", progress=False)
    given = fit(DATA, recipe, out=tmp_path / "given", loss=hard, progress=False)
    assert same(given, expected)
    assert not same(given, fit(DATA, recipe, out=tmp_path / "other", progress=False))


def test_a_loss_and_a_miner_of_pytorch_metric_learning_train(tmp_path: Path) -> None:
    loss, miner = losses.TripletMarginLoss(margin=0.2), miners.TripletMarginMiner(0.2, "semihard")

    def mined(embeddings: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = loss(embeddings, labels, miner(embeddings, labels))
        return found

    longer = replace(RECIPE, training=replace(RECIPE.training, steps=60))
    still = replace(RECIPE, training=replace(RECIPE.training, learning_rate=1e-9))
    untrained = fit(DATA, still, out=tmp_path / "still", loss=mined, progress=False)
    before = retrieval(untrained.embed(DATA), DATA.labels, resamples=0).map_at_r
    assert before < 0.3
    for name, other in (("mined", mined), ("similarity", losses.MultiSimilarityLoss())):
        trained = fit(DATA, longer, out=tmp_path / name, loss=other, progress=False)
        assert retrieval(trained.embed(DATA), DATA.labels, resamples=0).map_at_r > before + 0.1


def test_a_run_says_which_loss_it_was_trained_with_and_claims_no_triplets(tmp_path: Path) -> None:
    out = tmp_path / "run"
    report = train_run(DATA, RECIPE, out=out, loss=losses.MultiSimilarityLoss(), progress=False)
    written = load_recipe(out / "recipe.yaml").loss
    assert written.name == "given"
    assert written.given is not None
    assert written.given.startswith("pytorch_metric_learning.")
    assert written.given.endswith(".MultiSimilarityLoss")
    with (out / "metrics.csv").open(encoding="utf-8") as file:
        logged = [row for row in csv.DictReader(file) if row["loss"]]
    assert float(logged[-1]["loss"]) < float(logged[0]["loss"])
    assert float(logged[-1]["positive_distance"]) < float(logged[-1]["negative_distance"])
    assert {row[key] for row in logged for key in ("mining", "margin", "active", "active_per_item")} == {""}
    assert report.census is None
    assert read_findings(RunDir(out))[0].loss == "given"
    again = evaluate_run(out, DATA, out=tmp_path / "again")
    assert again.after.to_json() == report.after.to_json()
    assert again.census is None


class Killed(BaseException):
    """Ends a run in the middle, as a kill would."""


@pytest.mark.parametrize("killed", [3, 13])
def test_the_parameters_of_a_loss_are_trained_and_resumed_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    def proxies() -> losses.ProxyAnchorLoss:
        torch.manual_seed(3)
        return losses.ProxyAnchorLoss(num_classes=8, embedding_size=6)

    recipe = replace(RECIPE, training=replace(RECIPE.training, chunk=9))
    whole = proxies()
    expected = fit(DATA, recipe, out=tmp_path / "whole", loss=whole, progress=False)
    assert not torch.equal(whole.proxies, proxies().proxies)
    original = MetricStep.loss

    def loss(self: Any, *arguments: Any, step: int) -> Tensor:
        if step >= killed:
            raise Killed
        return original(self, *arguments, step=step)

    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", loss)
        with pytest.raises(Killed):
            fit(DATA, recipe, out=tmp_path / "cut", loss=proxies(), progress=False)
    after = proxies()
    resumed = fit(DATA, recipe, out=tmp_path / "cut", loss=after, resume=True, progress=False)
    assert same(resumed, expected)
    assert torch.equal(after.proxies, whole.proxies)


SUM = LossRecipe(
    margin=0.3,
    added=AddedLossRecipe("pml:ProxyAnchorLoss", weight=0.5, arguments={"margin": 0.2}),
)
"""Proxies beside the triplet loss."""


@pytest.mark.parametrize("loss", [SUM, LossRecipe("classification", arguments={"label_smoothing": 0.1})])
def test_losses_of_a_recipe_are_resumed_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: LossRecipe
) -> None:
    recipe = replace(RECIPE, loss=loss, training=replace(RECIPE.training, chunk=9, loss_lr_scale=10))
    expected = fit(DATA, recipe, out=tmp_path / "whole", progress=False)
    original = MetricStep.loss

    def killed(self: Any, *arguments: Any, step: int) -> Tensor:
        if step >= 13:
            raise Killed
        return original(self, *arguments, step=step)

    with monkeypatch.context() as patched:
        patched.setattr(MetricStep, "loss", killed)
        with pytest.raises(Killed):
            fit(DATA, recipe, out=tmp_path / "cut", progress=False)
    kept = load_recipe(tmp_path / "cut" / "recipe.yaml")
    assert kept == recipe
    assert same(fit(DATA, kept, out=tmp_path / "cut", resume=True, progress=False), expected)
    weights = [torch.load(RunDir(tmp_path / run).last)["loss"] for run in ("whole", "cut")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_sum_of_losses_is_their_weighted_sum_with_numbers_from_0_as_labels() -> None:
    embeddings = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([2, 2, 5, 5, 9, 9])
    recipe = Recipe(loss=replace(SUM, reduction="mean"))
    terms = loss_terms(recipe, None, labels=labels.numpy(), dimension=4)
    batch = Batch(embeddings.detach(), labels, torch.arange(6))
    criterion = Criterion(recipe, steps=9, terms=terms)
    found = criterion.value(embeddings, batch, step=0, references=(None, None, None))
    proxies = terms[0].loss
    assert isinstance(proxies, losses.ProxyAnchorLoss)
    assert (proxies.proxies.shape, proxies.margin) == ((3, 4), 0.2)
    own = triplet_loss(embeddings, labels, margin=0.3, mining="semihard", reduction="mean")
    expected = own + 0.5 * proxies(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    torch.testing.assert_close(found, expected)
    gradient, wanted = (
        torch.autograd.grad(each, embeddings, retain_graph=True)[0] for each in (found, expected)
    )
    torch.testing.assert_close(gradient, wanted)
    assert [each.shape for each in criterion.parameters()] == [(3, 4)]


def test_a_loss_named_on_the_command_line_trains_and_the_model_does_without_it(tmp_path: Path) -> None:
    data, run = tmp_path / "rows.npz", tmp_path / "run"
    np.savez(data, x=DATA.items.rows, y=DATA.labels)  # type: ignore[attr-defined]
    settings = ["loss.name=pml:ProxyAnchorLoss", "loss.arguments.margin=0.2", "loss.distance=cosine"]
    settings += ["training.steps=3", "encoder.dimension=4", "encoder.mlp.hidden=[8]"]
    assert main(["train", str(data), "--out", str(run), "--set", *settings]) == 0
    assert load_recipe(run / "recipe.yaml").loss.arguments == {"margin": 0.2}
    checkpoint = torch.load(RunDir(run).last)
    assert checkpoint["loss"]["proxies"].shape == (8, 4)
    again = (
        "import sys; from trine.data import load; from trine.pipelines import evaluate_run; "
        f"evaluate_run({str(run)!r}, load({str(data)!r})[0]); "
        "assert 'pytorch_metric_learning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", again], check=True)


def test_a_run_is_resumed_with_its_own_loss_alone(tmp_path: Path) -> None:
    fit(DATA, RECIPE, out=tmp_path, loss=hard, progress=False)
    kept = load_recipe(tmp_path / "recipe.yaml")
    assert kept.loss.given is not None
    assert kept.loss.given.endswith("test_custom_loss.hard")
    fit(DATA, kept, out=tmp_path, loss=hard, resume=True, progress=False)
    with pytest.raises(
        SettingError, match=r"loss is .*\.hard, which was passed in Python; pass it again as loss="
    ):
        fit(DATA, kept, out=tmp_path, resume=True, progress=False)
    with pytest.raises(SettingError, match=r"loss is .*\.hard, but .*MultiSimilarityLoss was passed"):
        fit(DATA, kept, out=tmp_path, loss=losses.MultiSimilarityLoss(), resume=True, progress=False)
    with pytest.raises(SettingError, match=r"different settings \(loss.name, loss.given\)"):
        fit(DATA, RECIPE, out=tmp_path, resume=True, progress=False)


def test_a_loss_is_named_by_where_it_is_from() -> None:
    assert with_loss(Recipe(), partial(partial(hard))).loss.given == f"{__name__}.hard"
    assert with_loss(Recipe(), nn.L1Loss()).loss.given == "torch.nn.modules.loss.L1Loss"
    assert with_loss(Recipe(), None) == Recipe()
    once = with_loss(Recipe(), hard)
    assert with_loss(once, hard) == once


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_joined_batch() -> None:
    value, at_rows, at_weights = multiprocess_custom_loss.learned(0, 11)
    found = run_processes(2, "support.multiprocess_custom_loss:part")
    for other, _, weights in found:
        torch.testing.assert_close(other, value)
        torch.testing.assert_close(weights, at_weights)
    # The average over processes, as DistributedDataParallel takes it, is then the gradient of one.
    torch.testing.assert_close(torch.cat([gradient for _, gradient, _ in found]), 2 * at_rows)


HIDDEN = nn.Linear(6, 6)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda x, y: {"loss": x.sum()}, "returned dict, expected one number"),
        (lambda x, y: x.sum(dim=1), r"returned a tensor of shape \(\d+,\), expected one number"),
        (lambda x, y: 0.5, "returned float, expected one number"),
        (lambda x, y: x.detach().sum(), "a number with no gradient to the embeddings"),
        (lambda x, y: HIDDEN(x).sum(), "has 2 trainable tensors that are not registered parameters"),
    ],
)
@pytest.mark.parametrize("chunk", [None, 9])
def test_what_cannot_be_learned_from_has_its_sentence(
    tmp_path: Path, loss: Any, said: str, chunk: int | None
) -> None:
    recipe = replace(RECIPE, training=replace(RECIPE.training, chunk=chunk))
    with pytest.raises(InputError, match=said):
        fit(DATA, recipe, out=tmp_path / "run", loss=loss, progress=False)


def test_settings_of_another_loss_are_refused(tmp_path: Path) -> None:
    for settings, said in (
        (
            LossRecipe(mining="hard"),
            "loss.mining is hard, but it is a setting of the triplet loss, and loss.name is given",
        ),
        (LossRecipe(margin=None), "loss.margin is null, but it is a setting of the triplet or contrast"),
        (LossRecipe(memory=50), "loss.memory is 50, but it is a setting"),
        (LossRecipe(name="contrastive"), "loss is contrastive, but .*hard was passed as loss="),
    ):
        with pytest.raises(SettingError, match=said):
            fit(DATA, replace(RECIPE, loss=settings), out=tmp_path, loss=hard)
    with pytest.raises(InputError, match="loss must be callable with embeddings and labels, given str"):
        fit(DATA, RECIPE, out=tmp_path, loss="hard")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"loss\.name is given, and loss\.given is null"):
        load_recipe(overrides={"loss.name": "given"})
    with pytest.raises(SettingError, match=r"loss\.name is given, but the triplets of this run are listed"):
        fit(DATA, RECIPE, out=tmp_path, loss=hard, triplets=np.array([[0, 1, 20]]))
