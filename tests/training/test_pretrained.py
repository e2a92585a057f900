"""Learning from a pretrained network: its head alone, from features made once, or all of it at two rates."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import trine.training.loop as loop
from support.effort import thorough
from support.pretrained import digits, saved_weights
from trine.data import Vectors
from trine.encoders import Encoder, EncoderRecipe, MlpSettings, build_encoder, head_only, load
from trine.errors import SettingError
from trine.evaluation import retrieval
from trine.pipelines import evaluate_run, train_run
from trine.pipelines.split_record import part_of
from trine.report import BaselineKind
from trine.training import AugmentRecipe, LossRecipe, Recipe, SamplerRecipe, TrainingRecipe, fit
from trine.training.schedule import stream_seed


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = saved_weights(tmp_path_factory.mktemp("weights"))
    return Recipe(
        encoder=EncoderRecipe(
            network="test_resnet", weights=str(path), dimension=6, image_size=32, frozen=True
        ),
        sampler=SamplerRecipe(identities=4, items=3),
        training=TrainingRecipe(steps=17, checkpoint_every=4),
    )


def started(recipe: Recipe) -> Encoder:
    return build_encoder(digits(60).items, recipe=recipe.encoder, seed=7)


def test_a_frozen_network_stays_as_it_came_and_its_head_learns(recipe: Recipe, tmp_path: Path) -> None:
    came = started(recipe)
    fitted = fit(digits(60), recipe, out=tmp_path / "run", progress=False)
    trained = load(tmp_path / "run")
    assert trained.fingerprint == fitted.fingerprint
    for name, value in came.network.state_dict().items():
        assert torch.equal(value, trained.network.state_dict()[name]), name
    assert not torch.equal(came.head.weight, trained.head.weight)


def test_it_learns_what_a_head_learns_from_features_computed_before(recipe: Recipe, tmp_path: Path) -> None:
    # Views are of pictures, and the head that is learned apart sees none.
    recipe = replace(recipe, encoder=replace(recipe.encoder, head="principal", views="flip"))
    data, came = digits(60), started(recipe)
    fit(data, recipe, out=tmp_path / "run", progress=False)
    by_hand = head_only(came)
    rows = replace(data, items=Vectors(came.features(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[fit.__module__], "build_encoder", lambda *_, **__: by_hand)
        vectors = replace(recipe, encoder=EncoderRecipe(dimension=6))
        fit(rows, vectors, out=tmp_path / "rows", progress=False)
    found = load(tmp_path / "run")
    assert found.embed(data).std() > 0.1
    torch.testing.assert_close(found.head.weight, by_hand.head.weight, rtol=0, atol=1e-6)
    # The head that was learned apart from it is the encoder's own.
    assert came.head is by_hand.head
    assert found.settings.views == "flip"


def test_an_interrupted_run_of_a_frozen_network_is_resumed(recipe: Recipe, tmp_path: Path) -> None:
    data = digits(60)
    whole = fit(data, recipe, out=tmp_path / "whole", progress=False)

    class CutOffError(Exception):
        pass

    def cut_off(encoder: Encoder, *, step: int) -> None:
        if step >= 8:
            raise CutOffError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "check_finite", cut_off)
        with pytest.raises(CutOffError):
            fit(data, recipe, out=tmp_path / "cut", progress=False)
    resumed = fit(data, recipe, out=tmp_path / "cut", resume=True, progress=False)
    assert resumed.fingerprint == whole.fingerprint


def test_the_best_look_at_validation_items_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    looked: list[np.ndarray] = []

    def metric(embeddings: np.ndarray, labels: np.ndarray) -> float:
        looked.append(embeddings)
        return -float(len(looked))  # the first look is the best

    patient = replace(recipe, training=replace(recipe.training, evaluate_every=4))
    validation = digits(30, first=60)
    encoder = fit(
        digits(60), patient, out=tmp_path / "run", validation=validation, metric=metric, progress=False
    )
    assert len(looked) > 2
    np.testing.assert_allclose(encoder.embed(validation), looked[0], atol=1e-6)
    assert not np.allclose(looked[0], looked[-1], atol=1e-3)


def test_the_principal_head_is_that_of_a_principal_component_analysis(recipe: Recipe) -> None:
    principal = replace(recipe.encoder, head="principal", normalise=False)
    data = digits(60)
    encoder = build_encoder(data.items, recipe=principal)
    expected = PCA(6, svd_solver="full").fit_transform(encoder.features(data))
    found = encoder.embed(data)
    assert expected.std() > 0.01
    between = np.linalg.norm(expected[:, None] - expected[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), between, atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)


def test_a_principal_head_of_few_items_keeps_all_that_tells_others_apart() -> None:
    random = np.random.default_rng(0)
    few, others = (Vectors(random.normal(size=(count, 9)).astype(np.float32)) for count in (5, 20))
    wanted = EncoderRecipe(dimension=9, normalise=False, head="principal", mlp=MlpSettings(hidden=()))
    encoder = build_encoder(few, recipe=wanted)
    found, features = encoder.embed(others), encoder.features(others)
    between = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), between, atol=1e-4)


def test_a_principal_head_needs_as_many_features_as_numbers() -> None:
    rows = Vectors(np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32))
    wanted = EncoderRecipe(dimension=10, head="principal", mlp=MlpSettings(hidden=()))
    with pytest.raises(SettingError, match=r"9 features have fewer components than encoder.dimension 10"):
        build_encoder(rows, recipe=wanted)


def test_the_network_takes_its_share_of_the_learning_rate(recipe: Recipe, tmp_path: Path) -> None:
    moved: dict[float, list[torch.Tensor]] = {}
    for share in (1.0, 0.25):
        whole = replace(
            recipe,
            encoder=replace(recipe.encoder, frozen=False),
            training=replace(
                recipe.training, steps=1, backbone_lr_scale=share, warmup=0.0, schedule="constant"
            ),
        )
        came = build_encoder(digits(60).items, recipe=whole.encoder, seed=stream_seed(whole.seed, "weights"))
        trained = fit(digits(60), whole, out=tmp_path / f"{share}", progress=False)
        pairs = zip(trained.parameters(), came.parameters(), strict=True)
        moved[share] = [(after - before).detach() for after, before in pairs]
    head = 2
    for slow, fast in zip(moved[0.25][:-head], moved[1.0][:-head], strict=True):
        torch.testing.assert_close(slow, 0.25 * fast, rtol=1e-3, atol=1e-6)
    assert max(float(each.abs().max()) for each in moved[1.0][:-head]) > 1e-4
    for slow, fast in zip(moved[0.25][-head:], moved[1.0][-head:], strict=True):
        torch.testing.assert_close(slow, fast)


def test_settings_that_a_frozen_network_cannot_follow_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    untrained = EncoderRecipe(network="test_resnet", frozen=True, pretrained=False)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        (
            {"encoder": EncoderRecipe(frozen=True)},
            r"encoder.network 'auto' is untrained; name a timm model with weights",
        ),
        ({"encoder": untrained}, r"encoder.network 'test_resnet' is untrained"),
        (
            {"training": replace(recipe.training, backbone_lr_scale=0.1)},
            r"training.backbone_lr_scale is 0.1, but a frozen network is not trained",
        ),
        (
            {"augment": AugmentRecipe(flip=0.5)},
            r"augment.flip is 0.5, but a frozen network embeds each image once",
        ),
    )
    for sections, message in wrong:
        with pytest.raises(SettingError, match=message):
            replace(recipe, **sections)
    off = replace(recipe.training, steps=1)
    fit(digits(60), replace(recipe, augment=AugmentRecipe(rotate=0), training=off), out=tmp_path / "run")


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=thorough)])
def test_a_run_is_compared_with_the_pretrained_network(recipe: Recipe, tmp_path: Path, frozen: bool) -> None:
    run = replace(recipe, encoder=replace(recipe.encoder, frozen=frozen), loss=LossRecipe(margin=0.3))
    report = train_run(digits(200), run, out=tmp_path / "run", progress=False)
    assert report.baseline.kind is BaselineKind.PRETRAINED
    assert report.baseline.description in str(report)
    assert report.before is not None
    tested = digits(200).subset(part_of(tmp_path / "run", digits(200), "test")[0])
    rows = started(recipe).features(tested)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = retrieval(rows, tested.labels, distance="euclidean").map_at_r
    assert report.before.retrieval.map_at_r == pytest.approx(expected)
    assert 0.1 < expected < 1
    assert report.after.retrieval.map_at_r != expected
    again = evaluate_run(tmp_path / "run", digits(200))
    assert again.before is not None
    assert again.before.retrieval.map_at_r == pytest.approx(expected)
