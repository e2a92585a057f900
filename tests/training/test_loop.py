"""A run without a folder: the weights of one with a folder, and nothing on disk."""

import numpy as np
import pytest
import torch

from support.runs import rows
from trine.errors import DataError, InputError, SettingError
from trine.training import fit, load_recipe

SMALL = {
    "encoder.mlp.hidden": [16],
    "encoder.mlp.dropout": 0.2,
    "encoder.dimension": 8,
    "sampler.batch": 16,
    "training.device": "cpu",
}


def recipe_of(**settings):
    return load_recipe(None, overrides=SMALL | {key.replace("__", "."): v for key, v in settings.items()})


def nearest_is_alike(embeddings, labels):
    apart = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((labels[apart.argmin(axis=1)] == labels).mean())


@pytest.mark.parametrize(
    "settings",
    [
        {"training__epochs": 3},
        {"training__steps": 12, "training__gradient_clip": 0.1, "loss__memory": 20, "seed": 5},
        {"training__steps": 12, "training__chunk": 4, "encoder__mlp__hidden": []},
        {"training__steps": 12, "training__decay_from": 0.5, "training__late_beta1": 0.3},
        {"training__steps": 12, "curriculum": [{"at": 0.5, "mining": "hard", "identities": 3, "items": 4}]},
        {"training__steps": 12, "training__precision": "bf16", "training__threads": 1},
        {"training__steps": 12, "sampler__confusable": 0.5, "sampler__identities": 2},
    ],
)
def test_it_ends_with_the_weights_of_a_run_with_a_folder(settings, tmp_path, monkeypatch):
    data, recipe = rows([6, 6, 5, 1], spread=0.5), recipe_of(**settings)
    theirs = fit(data, recipe, out=tmp_path / "run", progress=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    ours = fit(data, recipe, out=None)
    assert ours.fingerprint == theirs.fingerprint
    assert not ours.training
    assert not list((tmp_path / "empty").iterdir())


def test_the_best_weights_are_kept_in_memory(tmp_path):
    data = rows([8, 8, 8], spread=0.8)
    recipe = recipe_of(
        training__steps=30, training__patience=3, training__evaluate_every=2, data__validation=0.2
    )
    encoders = [
        fit(data, recipe, out=out, validation=data, metric=nearest_is_alike, progress=False)
        for out in (tmp_path / "run", None)
    ]
    assert encoders[0].fingerprint == encoders[1].fingerprint


def test_it_learns_and_leaves_the_random_state_of_torch_alone():
    data = rows([20] * 4, spread=0.5)
    before = torch.get_rng_state()
    encoder = fit(data, recipe_of(training__steps=40), out=None)
    assert torch.equal(torch.get_rng_state(), before)
    z = encoder.embed(data)
    apart = np.linalg.norm(z[:, None] - z[None], axis=2)
    same = data.labels[:, None] == data.labels[None]
    # Before training the two means differ by less than a tenth.
    assert apart[~same].mean() > 1.8 * apart[same & (apart > 0)].mean()


@pytest.mark.parametrize("wanted", [{"resume": True}, {"training__devices": 2}])
def test_what_needs_a_folder_is_refused(wanted):
    resume = wanted.pop("resume", False)
    with pytest.raises(SettingError, match="without a folder cannot be resumed or shared by processes"):
        fit(rows([6, 6], spread=0.5), recipe_of(**wanted), out=None, resume=resume)


def test_patience_needs_validation_items():
    with pytest.raises(InputError, match="there are no validation items"):
        fit(rows([6, 6], spread=0.5), recipe_of(training__patience=2, data__validation=0.2), out=None)


def test_identities_of_one_item_are_refused():
    with pytest.raises(DataError, match="has only one item"):
        fit(rows([1, 1, 1], spread=0.5), recipe_of(), out=None)


def test_a_loss_that_is_not_finite_is_an_error():
    settings = {"training__learning_rate": 1e30, "training__steps": 30, "encoder__normalise": False}
    with pytest.raises(SettingError, match="learning_rate"):
        fit(rows([6, 6], spread=0.5), recipe_of(**settings), out=None)
