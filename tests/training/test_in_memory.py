import numpy as np
import pytest
import torch

from support.runs import rows
from trine.errors import DataError, SettingError
from trine.training import fit, fit_in_memory, load_recipe

SMALL = {
    "encoder.mlp.hidden": [16],
    "encoder.mlp.dropout": 0.2,
    "encoder.dimension": 8,
    "sampler.batch": 16,
    "training.device": "cpu",
}


def recipe_of(**settings):
    return load_recipe(None, overrides=SMALL | {key.replace("__", "."): v for key, v in settings.items()})


@pytest.mark.parametrize(
    "settings",
    [
        {"training__epochs": 3},
        {"training__steps": 12, "training__gradient_clip": 0.1, "loss__memory": 20, "seed": 5},
        {"training__steps": 12, "training__chunk": 4, "encoder__mlp__hidden": []},
        {"training__steps": 12, "training__decay_from": 0.5, "training__late_beta1": 0.3},
        {"training__steps": 12, "curriculum": [{"at": 0.5, "mining": "hard", "identities": 3, "items": 4}]},
    ],
)
def test_ends_with_the_weights_of_a_run_with_a_folder(settings, tmp_path):
    data, recipe = rows([6, 6, 5, 1], spread=0.5), recipe_of(**settings)
    ours, theirs = fit_in_memory(data, recipe), fit(data, recipe, out=tmp_path / "run", progress=False)
    assert ours.fingerprint == theirs.fingerprint
    assert not ours.training


def test_learns_and_leaves_torch_s_generator_alone():
    data = rows([20] * 4, spread=0.5)
    before = torch.get_rng_state()
    encoder = fit_in_memory(data, recipe_of(training__steps=40))
    assert torch.equal(torch.get_rng_state(), before)
    z = encoder.embed(data)
    apart = np.linalg.norm(z[:, None] - z[None], axis=2)
    same = data.labels[:, None] == data.labels[None]
    # Before training they differ by less than a tenth.
    assert apart[~same].mean() > 1.8 * apart[same & (apart > 0)].mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training__precision": "bf16"}, "training.precision is bf16, which training in memory"),
        ({"training__devices": 2}, "training.devices is 2"),
        ({"sampler__confusable": 0.5}, "sampler.confusable is 0.5"),
        ({"training__threads": 1}, "training.threads is 1"),
        ({"training__patience": 2, "data__validation": 0.2}, "leave it at None, or train with"),
    ],
)
def test_refuses_what_needs_a_folder(settings, message):
    with pytest.raises(SettingError, match=message):
        fit_in_memory(rows([6, 6], spread=0.5), recipe_of(**settings))


def test_refuses_identities_of_one_item():
    with pytest.raises(DataError, match="has only one item"):
        fit_in_memory(rows([1, 1, 1], spread=0.5), recipe_of())


def test_says_so_where_the_loss_is_lost():
    settings = {"training__learning_rate": 1e30, "training__steps": 30, "encoder__normalise": False}
    with pytest.raises(SettingError, match="learning_rate"):
        fit_in_memory(rows([6, 6], spread=0.5), recipe_of(**settings))
